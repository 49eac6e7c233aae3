"""Thirty targets and 4.6 % of the labels: one model of all beside a model for each.

From the text of a molecule (hashed pieces of one to five characters of its SMILES, no
chemistry package) the models tell how strongly it acts on 30 targets. Beside the shared
models stand, per target, a ridge regression on the same features, a network of a
thirtieth of the width (so that the thirty together have the parameters of one shared
model), and a wide one (seven times as many). Every network keeps its best epoch on
validation, every ridge regression its best penalty; a network of one target chooses for
that target, a shared one by the mean over targets. A molecule has 1.4 labels on
average: 95 % of the labels are NaN, in every batch.

    python examples/molecule_ace.py                 table and picture, 1.5 hours
    python examples/molecule_ace.py --seeds 1       half an hour
    python examples/molecule_ace.py --smoke         a few steps: does it run?

Measured with three seeds (the table is in `docs/results.md`): mean test RMSE 0.775 of
ridge, 0.780 of narrow and 0.745 of wide networks per target, 0.740 of the shared model,
0.737 with IMTL-G, 0.746 where its weights are computed at every tenth step only. So at
the same number of parameters the shared model is far better; against the wide networks
it gains for 13 to 19 of the 30 targets, about half. No loss or gradient was not finite.
With 16 epochs the shared models stood behind the wide networks; their best epoch on
validation was the last one, so they got 32, after test scores had been seen.
"""

import math
import os
import pathlib
import sys
import zlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from keras import layers, ops
from recipe import (
    BestEpoch,
    Results,
    compare,
    load,
    mean_std,
    parsed,
    prepare,
    with_options,
)

import keras_mtl as mtl
from keras_mtl.data import EpochOrder
from keras_mtl.data.datasets.molecule_ace import TARGETS
from keras_mtl.plots import Table, markdown_table, save_png
from keras_mtl.plots import figure as figures

SPLITS = ("train", "validation", "test")
BUCKETS, LONGEST = 2048, 5
WIDTH = 510  # of the shared model; divisible by the number of targets
WIDTH_ALONE = 128
LEARNING_RATE, DROPOUT = 1e-3, 0.5
EPOCHS, PATIENCE = 32, 8
# A target has few molecules: its own model takes small batches.
BATCH_SIZES = {"shared": 128, "alone": 32}
PENALTIES = np.logspace(0, 4, 9)
ALONE = "one per target, wide"
# Name of the row: kind of model, width and what `compile` is given.
ROWS = {
    "one per target, narrow": ("alone", WIDTH // len(TARGETS), {}),
    ALONE: ("alone", WIDTH_ALONE, {}),
    "shared": ("shared", WIDTH, {}),
    "shared, uncertainty": ("shared", WIDTH, {"loss_weighting": "uncertainty"}),
    "shared, IMTL-G": ("shared", WIDTH, {"balancer": "imtl_g"}),
    "shared, IMTL-G at every 10th step": (
        "shared",
        WIDTH,
        {"balancer": "imtl_g", "balancing": {"every": 10}},
    ),
}
SMOKE_ROWS = ("one per target, narrow", ALONE, "shared, IMTL-G")


def piece_counts(smiles):
    """How often each hashed piece of one to five characters occurs, `(n, BUCKETS)`."""
    counts = np.zeros((len(smiles), BUCKETS), np.uint8)
    for row, text in enumerate(smiles):
        text = text.encode()
        buckets = [
            zlib.crc32(text[start : start + length]) % BUCKETS
            for length in range(1, LONGEST + 1)
            for start in range(len(text) - length + 1)
        ]
        found = np.bincount(buckets, minlength=BUCKETS)
        counts[row] = np.minimum(found, np.iinfo(np.uint8).max)
    return counts


def load_data(data_dir):
    """The splits as dicts of "counts" and "labels", standardised by train's "scale"."""
    columns = {split: load("molecule_ace", split, data_dir) for split in SPLITS}
    train = columns["train"]["activity"]
    mean, scale = np.nanmean(train, axis=0), np.nanstd(train, axis=0)
    return {
        split: {
            "counts": piece_counts(values["smiles"]),
            "labels": (values["activity"] - mean) / scale,
            "scale": scale,
        }
        for split, values in columns.items()
    }


def of_target(columns, target):
    """Counts and labels of the molecules that are labelled for one target."""
    there = np.isfinite(columns["labels"][:, target])
    return columns["counts"][there], columns["labels"][there, target]


def errors(found, labels, scale):
    """Root of the mean squared error over the labels there are, in units of scale."""
    return np.sqrt(np.nanmean(np.square(found - labels), axis=0)) * scale


def ridge(splits):
    """Errors by target of the ridge regression of the best penalty."""
    found = [ridge_of_target(splits, target) for target in range(len(TARGETS))]
    validation, test = zip(*found, strict=True)
    parameters = len(TARGETS) * (BUCKETS + 1)
    return {"validation": validation, "test": test, "parameters": parameters}


def ridge_of_target(splits, target):
    """Validation and test error of the best ridge regression of one target.

        w = (X'X + penalty I)⁻¹ X'y = X'(XX' + penalty I)⁻¹ y

    with centred columns; XX' is small, because a target has few molecules.
    """
    data = {}
    for split, columns in splits.items():
        counts, labels = of_target(columns, target)
        data[split] = np.log1p(counts.astype("float32")), labels
    inputs, labels = data["train"]
    centre, level = inputs.mean(axis=0), labels.mean()
    inputs = inputs - centre
    values, vectors = np.linalg.eigh((inputs @ inputs.T).astype("float64"))
    turned = vectors.T @ (labels - level)

    def error(split, penalty):
        dual = vectors @ (turned / (np.maximum(values, 0.0) + penalty))
        inputs_there, labels = data[split]
        found = (inputs_there - centre) @ (inputs.T @ dual) + level
        return float(errors(found, labels, splits[split]["scale"][target]))

    best = min(PENALTIES, key=lambda penalty: error("validation", penalty))
    return error("validation", best), error("test", best)


def make_backbone(width):
    counts = keras.Input((BUCKETS,), dtype="uint8", name="counts")
    x = ops.log1p(ops.cast(counts, "float32"))
    x = layers.Dense(width, activation="relu", name="dense")(x)
    x = layers.Dropout(DROPOUT, name="dropout")(x)
    return keras.Model(counts, {"pooled": x}, name="pieces")


def build(tasks, width, methods):
    """A compiled model for some tasks, whose labels are standardised already."""
    model = mtl.build_model(
        make_backbone(width),
        [mtl.Task(name, mtl.heads.Regression(), metrics=[]) for name in tasks],
    )
    methods = with_options(methods, scope="features", scale="sum")
    model.compile(keras.optimizers.Adam(LEARNING_RATE), **methods)
    return model


def fit(model, data, score, seed, batch_size, epochs, bar=None):
    """Trains, and keeps the variables of the best epoch; gives the callback."""
    order, best = EpochOrder(seed), BestEpoch(score, PATIENCE, bar)

    def rate(epoch):
        return LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * epoch / epochs))

    model.fit(
        order.batches(data, batch_size).prefetch(4),
        epochs=epochs,
        callbacks=[order, best, keras.callbacks.LearningRateScheduler(rate)],
        shuffle=False,
        verbose=0,
    )
    return best


def train_shared(width, methods, splits, seed, epochs, bar):
    """Errors by target of one model for all."""
    model = build(TARGETS, width, methods)

    def measure(split):
        columns = splits[split]
        found = model.predict(columns["counts"], batch_size=512, verbose=0)
        found = np.concatenate([found[target] for target in TARGETS], axis=1)
        return errors(found, columns["labels"], columns["scale"])

    train = splits["train"]
    labels = dict(zip(TARGETS, train["labels"].T, strict=True))
    best = fit(
        model,
        (train["counts"], labels),
        lambda _: -measure("validation").mean(),
        seed,
        BATCH_SIZES["shared"],
        epochs,
        bar,
    )
    return {
        "validation": measure("validation").tolist(),
        "test": measure("test").tolist(),
        "epoch": best.epoch,
        "nonfinite": int(np.sum(model.balancing_state["nonfinite"])),
        "parameters": model.count_params(),
    }


def train_alone(width, splits, seed, epochs, bar):
    """Errors by target of a model for each, and the parameters of all of them.

    One model is compiled, and goes back to its start for every target.
    """
    model = build(["activity"], width, {})
    model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    start = [variable.numpy() for variable in variables]
    found = {"validation": [], "test": [], "parameters": 0}
    for target, name in enumerate(TARGETS):
        bar.set_postfix_str(name)
        for variable, value in zip(variables, start, strict=True):
            variable.assign(value)
        data = {split: of_target(columns, target) for split, columns in splits.items()}

        def measure(split, data=data, target=target):
            counts, labels = data[split]
            outputs = model.predict_on_batch(counts)["activity"][:, 0]
            return float(errors(outputs, labels, splits[split]["scale"][target]))

        counts, labels = data["train"]
        fit(
            model,
            (counts, {"activity": labels}),
            lambda _, measure=measure: -measure("validation"),
            seed,
            BATCH_SIZES["alone"],
            epochs,
        )
        for split in ("validation", "test"):
            found[split].append(measure(split))
        found["parameters"] += model.count_params()
    return found


def mean_errors(runs):
    """Test error of each target, mean over the seeds."""
    return np.mean([run["test"] for run in runs], axis=0)


def table(rows):
    lines = []
    for name, runs in rows.items():
        average = mean_std([np.mean(run["test"]) for run in runs], 4)
        better = [
            "" if name == other else str(np.sum(mean_errors(runs) < mean_errors(there)))
            for other, there in ((ALONE, rows[ALONE]), ("ridge", rows["ridge"]))
        ]
        seconds = mean_std([run["seconds"] for run in runs], 0)
        parameters = f"{runs[0]['parameters']:,}"
        lines.append((name, average, *better, parameters, seconds))
    header = (
        *("model", "mean test RMSE ↓", f"targets better than {ALONE!r}"),
        *("than ridge", "parameters", "seconds"),
    )
    return markdown_table(Table(header, tuple(lines), num_labels=1))


def picture(rows, shared, num_labels):
    """How much less the errors are than those of a model per target."""
    order = np.argsort(num_labels)
    alone = mean_errors(rows[ALONE])
    gain = (alone - mean_errors(rows[shared]))[order]
    figure = figures.new_figure(7.5, 7.5)
    axes = figure.subplots()
    places = np.arange(len(order))
    colours = np.where(gain > 0, figures.COLOURS[0], figures.COLOURS[1])
    axes.barh(places, gain, color=colours, height=0.65, label=shared)
    of_ridge = (alone - mean_errors(rows["ridge"]))[order]
    axes.plot(of_ridge, places, "kd", markersize=4, label="ridge")
    figures.tidy(axes, f"Test RMSE less than with {ALONE!r}; right is better")
    axes.locator_params(axis="x", integer=False)
    axes.margins(y=0.01)
    names = [f"{TARGETS[i]} ({num_labels[i]:,})" for i in order]
    axes.set_yticks(places, names)
    axes.set_xlabel("RMSE of minus log concentration (targets: training labels)")
    axes.legend(frameon=False, fontsize=9)
    return figure


def main():
    arguments = parsed(__doc__, "molecule_ace", EPOCHS)
    runs = pathlib.Path(arguments.runs)
    settings = {"epochs": arguments.epochs, "smoke": arguments.smoke}
    results = Results(runs / "results.json", settings)
    splits = load_data(prepare("molecule_ace", runs, arguments.smoke))

    def run(kind, options, tasks, seed, bar):
        keras.utils.set_random_seed(seed)
        width, methods = options
        if kind == "alone":
            return train_alone(width, splits, seed, arguments.epochs, bar)
        return train_shared(width, methods, splits, seed, arguments.epochs, bar)

    rows = {
        name: (kind, (width, methods))
        for name, (kind, width, methods) in ROWS.items()
        if name in SMOKE_ROWS or not arguments.smoke
    }
    found = {"ridge": [results.get("ridge", lambda: ridge(splits))]}
    found |= compare(rows, TARGETS, arguments.seeds, results, run)
    text = table(found)
    (runs / "table.md").write_text(text + "\n")
    shared = [name for name in found if name.startswith("shared")]
    best = min(
        shared, key=lambda name: np.mean([run["validation"] for run in found[name]])
    )
    num_labels = np.isfinite(splits["train"]["labels"]).sum(axis=0)
    save_png(picture(found, best, num_labels), runs / "gains.png")
    print(f"\nTest split, {arguments.seeds} seed(s):\n\n{text}")
    print(f"\nBest on validation: {best}. Target by target: {runs / 'gains.png'}")
    lost = sum(run["nonfinite"] for name in shared for run in found[name])
    print(f"Losses or gradients that were not finite: {lost}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
