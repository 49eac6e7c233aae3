"""Multi-MNIST: the left and the right of two overlapping digits, by one LeNet.

The experiment of Sener and Koltun (2018) with their network: two convolutions and a
dense layer are shared, each digit has two dense layers of its own. Beside one network
per digit stand equal weights and methods of loss weighting and gradient balancing, with
the same batches and rate. Every run keeps the epoch that is best on validation, whose
digits are in no training image. The table of three seeds is in `docs/results.md`.

    python examples/multi_mnist.py                  the table, 1.5 hours on one core
    python examples/multi_mnist.py --seeds 1
    python examples/multi_mnist.py --smoke          a few steps: does it run?
"""

import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from keras import layers
from recipe import (
    BestEpoch,
    Results,
    compare,
    load,
    mean_std,
    measured,
    parsed,
    prepare,
)

import keras_mtl as mtl
from keras_mtl.data import EpochOrder, pairs
from keras_mtl.plots import Table, markdown_table

SPLITS = ("train", "validation", "test")
TASKS = ("left", "right")
METRICS = dict.fromkeys(TASKS, "accuracy")
BATCH_SIZE = 256
LEARNING_RATE = 2e-3
EPOCHS = 10
# Name of the row: architecture and what `compile` is given.
ROWS = {
    "single-task": ("single", {}),
    "equal weights": ("hard", {}),
    "uncertainty": ("hard", {"loss_weighting": "uncertainty"}),
    "MGDA": ("hard", {"balancer": "mgda"}),
    "PCGrad": ("hard", {"balancer": "pcgrad"}),
    "CAGrad": ("hard", {"balancer": "cagrad"}),
    "Nash-MTL": ("hard", {"balancer": "nash_mtl"}),
}
SMOKE_ROWS = ("single-task", "Nash-MTL")


def make_backbone():
    """LeNet up to its first dense layer, as in the paper."""
    image = keras.Input((36, 36, 1), name="image")
    x = image
    for index, filters in enumerate((10, 20)):
        x = layers.Conv2D(filters, 5, name=f"conv_{index}")(x)
        x = layers.MaxPooling2D(name=f"pool_{index}")(x)
        x = layers.ReLU(name=f"relu_{index}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(50, activation="relu", name="dense")(x)
    return keras.Model(image, {"pooled": x}, name="lenet")


def build(tasks):
    head = mtl.heads.Classification(10, hidden_units=(50,), dropout=0.5)
    return mtl.build_model(make_backbone(), [mtl.Task(name, head) for name in tasks])


def train(methods, tasks, splits, seed, arguments, bar):
    """Test accuracies of the epoch that is best on validation."""
    keras.utils.set_random_seed(seed)
    model = build(tasks)
    order = EpochOrder(seed)
    columns = {name: splits["train"][name] for name in ("image", *tasks)}
    data = order.batches(columns, BATCH_SIZE)
    steps = len(data) * arguments.epochs
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    options = mtl.BalancingOptions(scale="sum") if "balancer" in methods else None
    model.compile(keras.optimizers.Adam(rate), balancing=options, **methods)

    def score(model):
        return np.mean(list(measured(model, splits["validation"], METRICS).values()))

    best = BestEpoch(score, arguments.epochs, bar)
    model.fit(
        pairs(data, labels=tasks).prefetch(4),
        epochs=arguments.epochs,
        callbacks=[order, best],
        shuffle=False,
        verbose=0,
    )
    return measured(model, splits["test"], METRICS) | {
        "parameters": model.count_params(),
        "epoch": best.epoch,
        "validation": float(best.best),
    }


def table(rows):
    """Markdown: a line per row, accuracies in per cent, mean ± std over the seeds."""
    lines = []
    for name, runs in rows.items():
        cells = [mean_std([100 * run[task] for run in runs], 2) for task in TASKS]
        both = [50 * (run["left"] + run["right"]) for run in runs]
        seconds = mean_std([run["seconds"] for run in runs], 0)
        parameters = f"{runs[0]['parameters']:,}"
        lines.append((name, *cells, mean_std(both, 2), parameters, seconds))
    header = ("model", "left, %", "right, %", "mean, %", "parameters", "seconds")
    return markdown_table(Table(header, tuple(lines), num_labels=1))


def main():
    arguments = parsed(__doc__, "multi_mnist", EPOCHS)
    runs = pathlib.Path(arguments.runs)
    settings = {"epochs": arguments.epochs, "smoke": arguments.smoke}
    results = Results(runs / "results.json", settings)
    data_dir = prepare("multi_mnist", runs, arguments.smoke)
    splits = {split: load("multi_mnist", split, data_dir) for split in SPLITS}

    def run(architecture, methods, tasks, seed, bar):
        return train(methods, tasks, splits, seed, arguments, bar)

    rows = {name: ROWS[name] for name in SMOKE_ROWS} if arguments.smoke else ROWS
    text = table(compare(rows, TASKS, arguments.seeds, results, run))
    (runs / "table.md").write_text(text + "\n")
    print(f"\nTest split, {arguments.seeds} seed(s):\n\n{text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
