"""Clothing reviews: rating, recommendation and department from one text.

Three tasks of three kinds: the stars are ordered classes, the recommendation is yes or
no, the department is one of six classes and missing in a few rows. No product is in two
splits. Words are numbered once, by `TextVectorization` in the pipeline; the backbone is
a small network of your own, embeddings and one convolution, trained from scratch.

    python examples/womens_clothing.py                 the table, about 20 minutes
    python examples/womens_clothing.py --seeds 1
    python examples/womens_clothing.py --smoke         a few steps: does it run?
"""

import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from recipe import (
    BestEpoch,
    Results,
    area_under_curve,
    compare,
    load,
    mean_std,
    parsed,
    prepare,
)

import keras_mtl as mtl
from keras_mtl.data import EpochOrder
from keras_mtl.plots import Table, markdown_table

TASKS = ("rating", "recommended", "department")
METRICS = {
    "rating": "rating error (stars)",
    "recommended": "recommended AUC",
    "department": "department accuracy",
}
WORDS, TOKENS = 12_000, 128  # known words; words of a review, the longest has 115
EMBEDDING_DIM, CHANNELS = 64, 128
BATCH_SIZE = 64
LEARNING_RATE = 1e-3
EPOCHS, PATIENCE = 10, 3
# Name of the row: architecture and what `compile` is given.
ROWS = {
    "single-task": ("single", {}),
    "hard sharing": ("hard", {}),
    "hard sharing, uncertainty": ("hard", {"loss_weighting": "uncertainty"}),
    "hard sharing, PCGrad": ("hard", {"balancer": "pcgrad"}),
    "MMoE": ("mmoe", {}),
    "MMoE, uncertainty": ("mmoe", {"loss_weighting": "uncertainty"}),
}
SMOKE_ROWS = ("single-task", "MMoE, uncertainty")


def make_tasks(names):
    stars = ["1", "2", "3", "4", "5"]
    tasks = {
        "rating": {"head": mtl.heads.Ordinal(5, label_names=stars)},
        "recommended": {"head": mtl.heads.BinaryClassification()},
        "department": {"head": mtl.heads.Classification(6), "missing": -1},
    }
    return [mtl.Task(name, metrics=[], **tasks[name]) for name in names]


def make_backbone():
    """Embeddings, one convolution, and its maximum and mean over the text."""
    layers = keras.layers
    words = keras.Input((TOKENS,), dtype="int32", name="words")
    x = layers.Embedding(WORDS, EMBEDDING_DIM, name="embedding")(words)
    x = layers.SpatialDropout1D(0.3, name="embedding_dropout")(x)
    x = layers.Conv1D(CHANNELS, 3, activation="relu", name="convolution")(x)
    highest = layers.GlobalMaxPooling1D(name="maximum")(x)
    mean = layers.GlobalAveragePooling1D(name="mean")(x)
    x = layers.Concatenate(name="both")([highest, mean])
    x = layers.Dropout(0.3, name="dropout")(x)
    return keras.Model(words, {"pooled": x}, name="reviews")


def build(architecture, tasks):
    experts = mtl.architectures.MMoE(4, units=(64,))
    return mtl.build_model(
        make_backbone(),
        make_tasks(tasks),
        architecture=experts if architecture == "mmoe" else "hard",
    )


def load_data(data_dir):
    """The splits as `(words, labels)`: the title and the text, as numbers of words."""
    splits = {
        split: load("womens_clothing", split, data_dir)
        for split in ("train", "validation", "test")
    }
    for columns in splits.values():
        columns["text"] = columns["title"] + " " + columns["text"]
    vectorize = keras.layers.TextVectorization(WORDS, output_sequence_length=TOKENS)
    vectorize.adapt(splits["train"]["text"].tolist())
    return {
        split: (
            np.asarray(vectorize(columns["text"].tolist()), "int32"),
            {task: columns[task] for task in TASKS},
        )
        for split, columns in splits.items()
    }


def scores(model, split):
    """Error in stars, AUC and accuracy, of the tasks that the model has."""
    x, y = split
    served = model.predict_tasks(x, batch_size=512, verbose=0)
    found = {}
    if "rating" in served:
        error = np.abs(served["rating"]["expected"] - y["rating"])
        found["rating"] = float(error.mean())
    if "recommended" in served:
        probability = served["recommended"]["probability"]
        found["recommended"] = area_under_curve(y["recommended"], probability)
    if "department" in served:
        there = y["department"] >= 0
        right = served["department"]["label"] == y["department"]
        found["department"] = float(right[there].mean())
    return found


def constant_scores(splits):
    """What the median of the stars and the largest department reach."""
    train, test = splits["train"][1], splits["test"][1]
    stars = np.abs(test["rating"] - np.median(train["rating"])).mean()
    known = test["department"][test["department"] >= 0]
    largest = np.bincount(train["department"][train["department"] >= 0]).argmax()
    return {
        "rating": float(stars),
        "recommended": 0.5,
        "department": float((known == largest).mean()),
    }


def train(architecture, methods, tasks, splits, seed, arguments, bar):
    """Test scores of the epoch that is best on validation, and the costs."""
    keras.utils.set_random_seed(seed)
    model = build(architecture, tasks)
    model.compile(keras.optimizers.Adam(LEARNING_RATE), **methods)

    def validation(model):
        found = scores(model, splits["validation"])
        # Stars are turned round, to a number that is near those of the others.
        return np.mean([1 - v / 4 if k == "rating" else v for k, v in found.items()])

    best = BestEpoch(validation, PATIENCE, bar)
    order = EpochOrder(seed)
    words, labels = splits["train"]
    data = (words, {task: labels[task] for task in tasks})
    model.fit(
        order.batches(data, BATCH_SIZE).prefetch(4),
        epochs=arguments.epochs,
        callbacks=[order, best],
        shuffle=False,
        verbose=0,
    )
    numbers = {"parameters": model.count_params(), "epoch": best.epoch}
    return scores(model, splits["test"]) | numbers


def table(rows, constant):
    cells = [(*(f"{constant[task]:.3f}" for task in TASKS), "0", "0")]
    for runs in rows.values():
        values = [mean_std([run[task] for run in runs], 3) for task in TASKS]
        seconds = np.mean([run["seconds"] for run in runs])
        cells.append((*values, f"{runs[0]['parameters']:,}", f"{seconds:.0f}"))
    lines = [
        (name, *values)
        for name, values in zip(("always the same", *rows), cells, strict=True)
    ]
    header = ("model", *METRICS.values(), "parameters", "s")
    return markdown_table(Table(header, tuple(lines), num_labels=1))


def main():
    arguments = parsed(__doc__, "womens_clothing", EPOCHS)
    runs = pathlib.Path(arguments.runs)
    settings = {"epochs": arguments.epochs, "smoke": arguments.smoke}
    results = Results(runs / "results.json", settings)
    splits = load_data(prepare("womens_clothing", runs, arguments.smoke))

    def run(architecture, methods, tasks, seed, bar):
        return train(architecture, methods, tasks, splits, seed, arguments, bar)

    rows = {name: ROWS[name] for name in SMOKE_ROWS} if arguments.smoke else ROWS
    found = compare(rows, TASKS, arguments.seeds, results, run)
    text = table(found, constant_scores(splits))
    (runs / "table.md").write_text(text + "\n")
    print(f"\nTest split, products that no model has seen:\n\n{text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
