"""Rendered scenes: surface and depth of every pixel, and the number of objects.

The scenes are SYNTHETIC (see the card of `rendered_scenes`): numbers compare ways to
share and say nothing about photographs. One backbone is shared in three ways, hard
sharing, MTAN and NDDR, beside one model per task, and beside no model: the class, depth
and count that are best without looking at the image. All are trained with the same
batches, steps, rate and equal weights; the epoch is chosen on validation, by the mean
of the tasks' scores, so a model for one task alone chooses for that task. Parameters
are all that a row trains, decoders included.

    python examples/scenes.py                 table and picture, some ten minutes
    python examples/scenes.py --seeds 3       mean and deviation
    python examples/scenes.py --smoke         a few steps: does it run?
"""

import argparse
import dataclasses
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from recipe import BestEpoch, Results, compare, mean_std

import keras_mtl as mtl
from keras_mtl.data import EpochOrder, pairs
from keras_mtl.data.datasets.rendered_scenes import SIDE, SURFACES, ScenesConfig
from keras_mtl.plots import (
    comparison_table,
    map_rows,
    markdown_table,
    save_png,
    text_table,
)

SPLITS = ("train", "validation", "test")
TASKS = ("surface", "depth", "count")
BATCH_SIZE = 32
LEARNING_RATE = 2e-3
# What `evaluate` calls a metric, and what the table does.
METRICS = {
    "surface": {"mean_iou": "mean IoU ↑"},
    "depth": {"mae": "error, metres ↓", "relative_error": "relative error ↓"},
    "count": {"mae": "error, objects ↓"},
}
# Name of the row: architecture and what `compile` is given.
ROWS = {
    "single-task": ("single", {}),
    "hard sharing": ("hard", {}),
    "MTAN": ("mtan", {}),
    "NDDR": ("nddr", {}),
}
PICTURED = 3  # scenes of the picture


def load_data(runs, smoke):
    """The splits as dicts of NumPy columns."""
    config = ScenesConfig(train=96, validation=24, test=32) if smoke else ScenesConfig()
    data_dir = str(runs / "data") if smoke else None
    builder = tfds.builder("rendered_scenes", data_dir=data_dir, config=config)
    builder.download_and_prepare()
    return {
        split: tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1))
        for split in SPLITS
    }


def build(architecture, tasks, columns):
    decoder = {"hidden_units": (32, 16)}
    heads = {
        "surface": mtl.heads.Segmentation(
            len(SURFACES), (SIDE, SIDE), label_names=list(SURFACES), **decoder
        ),
        "depth": mtl.heads.Depth.for_labels(columns["depth"], **decoder),
        "count": mtl.heads.Regression.for_labels(columns["count"], hidden_units=(32,)),
    }
    return mtl.build_model(
        mtl.backbones.ConvNet((SIDE, SIDE, 3), filters=(16, 32, 64), pooling="average"),
        [mtl.Task(name, heads[name]) for name in tasks],
        architecture="hard" if architecture == "single" else architecture,
    )


def batches(columns, tasks):
    names = ("image", *tasks)
    data = tf.data.Dataset.from_tensor_slices({name: columns[name] for name in names})
    return pairs(data.batch(100), labels=tasks)


def measure(model, columns):
    """The metrics of the tasks that the model has, as `"task metric"`."""
    logs = model.evaluate(
        batches(columns, model.task_names), verbose=0, return_dict=True
    )
    return {
        f"{task} {metric}": logs[f"{task}_{metric}"]
        for task in model.task_names
        for metric in METRICS[task]
    }


def score(model, columns):
    """Mean over tasks: the IoU, and 1 less the error over the labels' deviation."""
    found = measure(model, columns)
    parts = {
        "surface": lambda: found["surface mean_iou"],
        "depth": lambda: 1 - found["depth mae"] / columns["depth"].std(),
        "count": lambda: 1 - found["count mae"] / columns["count"].std(),
    }
    return np.mean([parts[task]() for task in model.task_names])


def train(architecture, methods, tasks, splits, seed, arguments, bar):
    """Test metrics of the epoch that is best on validation."""
    keras.utils.set_random_seed(seed)
    columns = splits["train"]
    model = build(architecture, tasks, columns)
    order = EpochOrder(seed)
    data = order.batches(
        {name: columns[name] for name in ("image", *tasks)}, BATCH_SIZE
    )
    steps = len(data) * arguments.epochs
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    model.compile(keras.optimizers.Adam(rate), **methods)
    best = BestEpoch(lambda m: score(m, splits["validation"]), arguments.epochs, bar)
    model.fit(
        pairs(data, labels=tasks).prefetch(4),
        epochs=arguments.epochs,
        callbacks=[order, best],
        shuffle=False,
        verbose=0,
    )
    if seed == 0:
        save_predictions(model, architecture, splits["test"], arguments.runs)
    found = measure(model, splits["test"])
    return found | {"parameters": model.count_params(), "epoch": best.epoch}


def save_predictions(model, architecture, columns, runs):
    """Writes what a model says of the first scenes, a file for each task."""
    images = columns["image"][:PICTURED].astype("float32") / 255
    served = model.predict_tasks(images, verbose=0)
    for task, part in (("surface", "label"), ("depth", "depth"), ("count", "value")):
        if task in served:
            np.save(f"{runs}/{architecture}_{task}.npy", served[task][part])


def without_image(train, test):
    """Metrics of the best class and depth of every place, and of the best count."""
    classes = [(train["surface"] == c).sum(axis=0) for c in range(len(SURFACES))]
    iou = keras.metrics.MeanIoU(len(SURFACES))
    found = np.argmax(classes, axis=0)
    iou.update_state(test["surface"], np.broadcast_to(found, test["surface"].shape))
    depth = np.abs(np.median(train["depth"], axis=0) - test["depth"])
    return {
        "surface mean_iou": float(iou.result()),
        "depth mae": depth.mean(),
        "depth relative_error": (depth / test["depth"]).mean(),
        "count mae": np.abs(np.median(train["count"]) - test["count"]).mean(),
    }


def table(rows):
    """A line per task and metric, a column per model; parameters and seconds below."""
    results = {
        name: {
            task: {
                words: [run[f"{task} {metric}"] for run in runs]
                for metric, words in METRICS[task].items()
            }
            for task in TASKS
        }
        for name, runs in rows.items()
    }
    made = comparison_table(results)
    parameters = [f"{runs[0].get('parameters', 0):,}" for runs in rows.values()]
    seconds = [
        mean_std([r.get("seconds", 0) for r in runs], 0) for runs in rows.values()
    ]
    cost = (("all", "parameters", *parameters), ("all", "seconds", *seconds))
    return dataclasses.replace(made, rows=(*made.rows, *cost))


def picture(columns, runs):
    """Predictions of all models beside the truth, two rows per scene."""
    rows = []
    for scene in range(PICTURED):
        objects = int(columns["count"][scene])
        surface = {"image": columns["image"][scene]}
        surface["true surface"] = columns["surface"][scene, :, :, 0]
        depth = {"": None, f"true depth, {objects} objects": columns["depth"][scene]}
        for name, (architecture, _) in ROWS.items():
            found = {t: np.load(f"{runs}/{architecture}_{t}.npy")[scene] for t in TASKS}
            surface[name] = found["surface"]
            depth[f"{name}, {found['count']:.1f}"] = found["depth"]
        rows += [surface, depth]
    return map_rows(
        rows,
        label_names=SURFACES,
        unit="metres",
        title="First scenes of the test split (synthetic)",
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--runs", default="runs/scenes", help="folder of results")
    parser.add_argument("--smoke", action="store_true", help="a few steps only")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.seeds = arguments.epochs = 1
    runs = pathlib.Path(arguments.runs)
    settings = {"epochs": arguments.epochs, "smoke": arguments.smoke}
    results = Results(runs / "results.json", settings)
    splits = load_data(runs, arguments.smoke)

    def run(architecture, methods, tasks, seed, bar):
        return train(architecture, methods, tasks, splits, seed, arguments, bar)

    found = {"no image": [without_image(splits["train"], splits["test"])]}
    found |= compare(ROWS, TASKS, arguments.seeds, results, run)
    made = table(found)
    (runs / "table.md").write_text(markdown_table(made) + "\n")
    save_png(picture(splits["test"], runs), runs / "predictions.png")
    print(f"\nTest split, synthetic scenes, {arguments.seeds} seed(s):\n")
    print(text_table(made))
    print(f"\nPredictions beside the truth: {runs / 'predictions.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
