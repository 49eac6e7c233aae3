"""Digits on a canvas, shared in several ways: hard, cross-stitch and MTAN.

Three tasks on one image: which digit, where, and how thick its stroke is. The ways to
share stand beside one model per task, on the same backbone, with the same batches,
steps and equal weights. A run is the better of two learning rates, at its best epoch,
both chosen on validation by the mean of the tasks' scores; a model for one task alone
chooses for that task. The seconds are those of both rates.

    python examples/digits_sharing.py              the table, ten minutes or more a seed
    python examples/digits_sharing.py --smoke      a few steps: does it run?
"""

import argparse
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from recipe import BestEpoch, Results, compare, load, mean_std, measured, prepare

import keras_mtl as mtl
from keras_mtl.data import EpochOrder, pairs
from keras_mtl.plots import Table, markdown_table

SPLITS = ("train", "validation", "test")
BATCH_SIZE = 64
LEARNING_RATES = (1e-3, 3e-3)
# Metric of every task; of the last one, less is better.
METRICS = {"digit": "accuracy", "box": "iou", "stroke": "mae"}
# Name of the row: architecture and what `compile` is given.
ROWS = {
    "single-task": ("single", {}),
    "hard sharing": ("hard", {}),
    "cross-stitch": ("cross_stitch", {}),
    "MTAN": ("mtan", {}),
}


def build(architecture, tasks):
    heads = {
        "digit": mtl.heads.Classification(10),
        "box": mtl.heads.BoundingBox(image_size=(48, 48)),
        "stroke": mtl.heads.Regression(),
    }
    return mtl.build_model(
        mtl.backbones.ConvNet(input_shape=(48, 48, 1)),
        [mtl.Task(name, heads[name]) for name in tasks],
        architecture="hard" if architecture == "single" else architecture,
    )


def score(model, columns):
    """Mean of accuracy, IoU and 1 less the stroke's error over its deviation."""
    found = measured(model, columns, METRICS)
    if "stroke" in found:
        found["stroke"] = 1 - found["stroke"] / columns["stroke"].std()
    return np.mean(list(found.values()))


def train(architecture, methods, tasks, splits, rate, seed, arguments, bar):
    """Test metrics of the epoch that is best on validation, with one rate."""
    keras.utils.set_random_seed(seed)
    model = build(architecture, tasks)
    order = EpochOrder(seed)
    columns = {name: splits["train"][name] for name in ("image", *tasks)}
    data = order.batches(columns, BATCH_SIZE)
    decay = keras.optimizers.schedules.CosineDecay(rate, len(data) * arguments.epochs)
    model.compile(keras.optimizers.Adam(decay), **methods)
    best = BestEpoch(lambda m: score(m, splits["validation"]), arguments.epochs, bar)
    model.fit(
        pairs(data, labels=tasks).prefetch(4),
        epochs=arguments.epochs,
        callbacks=[order, best],
        shuffle=False,
        verbose=0,
    )
    found = measured(model, splits["test"], METRICS)
    return found | {
        "parameters": model.count_params(),
        "learning_rate": rate,
        "epoch": best.epoch,
        "validation": float(best.best),
    }


def table(rows):
    """Markdown: a line per way to share, mean ± std over the seeds."""
    lines = []
    for name, runs in rows.items():
        cells = [mean_std([run[task] for run in runs], 3) for task in METRICS]
        seconds = mean_std([run["seconds"] for run in runs], 0)
        lines.append((name, *cells, f"{runs[0]['parameters']:,}", seconds))
    header = (
        "model",
        "digit accuracy ↑",
        "box IoU ↑",
        "stroke error, pixels ↓",
        "parameters",
        "seconds",
    )
    return markdown_table(Table(header, tuple(lines), num_labels=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument(
        "--learning-rates", type=float, nargs="+", default=list(LEARNING_RATES)
    )
    parser.add_argument("--runs", default="runs/digits_sharing", help="their folder")
    parser.add_argument("--smoke", action="store_true", help="a few steps only")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.seeds = arguments.epochs = 1
        arguments.learning_rates = arguments.learning_rates[:1]
    runs = pathlib.Path(arguments.runs)
    settings = {
        "epochs": arguments.epochs,
        "learning_rates": arguments.learning_rates,
        "smoke": arguments.smoke,
    }
    results = Results(runs / "results.json", settings)
    data_dir = prepare("digits_on_canvas", runs, arguments.smoke)
    splits = {split: load("digits_on_canvas", split, data_dir) for split in SPLITS}

    def run(architecture, methods, tasks, seed, bar):
        options = (seed, arguments, bar)
        found = [
            train(architecture, methods, tasks, splits, rate, *options)
            for rate in arguments.learning_rates
        ]
        return max(found, key=lambda numbers: numbers["validation"])

    text = table(compare(ROWS, tuple(METRICS), arguments.seeds, results, run))
    (runs / "table.md").write_text(text + "\n")
    print(f"\nTest split, {arguments.seeds} seed(s):\n\n{text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
