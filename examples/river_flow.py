"""River flow RF1: eight sensors, one task each, 48 hours ahead.

From the flow at eight sites, now and at seven times up to 60 hours ago, the models tell
by which part of it the flow will have changed in 48 hours; its level differs too much
between the training and the test period. The measure is that of the literature on this
set, aRRMSE: the root of a task's squared error over that of the training mean, averaged
over tasks. The flow of now, taken as the forecast, is the baseline.

    python examples/river_flow.py                 the table, some minutes
    python examples/river_flow.py --smoke         a few steps: does it run?
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
    compare,
    load,
    mean_std,
    parsed,
    prepare,
    with_options,
)

import keras_mtl as mtl
from keras_mtl.data import EpochOrder
from keras_mtl.data.datasets.river_flow_rf1 import SENSORS
from keras_mtl.plots import Table, markdown_table

SPLITS = ("train", "validation", "test")
BATCH_SIZE = 64
LEARNING_RATE = 1e-4  # more, and the first epochs are the best
EPOCHS, PATIENCE = 40, 10
# Name of the row: architecture and what `compile` is given.
ROWS = {
    "single-task": ("single", {}),
    "hard sharing": ("hard", {}),
    "hard sharing, uncertainty": ("hard", {"loss_weighting": "uncertainty"}),
    "hard sharing, PCGrad": ("hard", {"balancer": "pcgrad"}),
    "hard sharing, PCGrad at every 10th step": (
        "hard",
        {"balancer": "pcgrad", "balancing": {"every": 10}},
    ),
    "hard sharing, UPGrad": ("hard", {"balancer": "upgrad"}),
    "MMoE": ("mmoe", {}),
    "MMoE, PCGrad": ("mmoe", {"balancer": "pcgrad"}),
}
SMOKE_ROWS = ("hard sharing, PCGrad at every 10th step", "MMoE")


def load_data(data_dir):
    """The splits as dicts of columns, with "inputs": the past relative to now."""
    splits = {split: load("river_flow_rf1", split, data_dir) for split in SPLITS}
    for columns in splits.values():
        flow = columns["flow"]
        # Before the first hour of a file nothing was measured: no change since then.
        past = np.where(np.isnan(flow), 0.0, flow / flow[:, -1:] - 1.0)[:, :-1]
        columns["inputs"] = past.reshape(len(flow), -1).astype("float32")
    scale = splits["train"]["inputs"].std(axis=0)
    for columns in splits.values():
        # Floods that train has not seen are no more than its largest.
        columns["inputs"] = np.clip(columns["inputs"] / scale, -3.0, 3.0)
    return splits


def changes(columns):
    """Labels: by which part the flow of each sensor changes, in 48 hours."""
    change = columns["flow_48h"] / columns["flow"][:, -1] - 1.0
    return {sensor: change[:, index] for index, sensor in enumerate(SENSORS)}


def build(architecture, tasks, splits):
    labels = changes(splits["train"])
    experts = mtl.architectures.MMoE(4, units=(64,))
    return mtl.build_model(
        mtl.backbones.MLP(
            splits["train"]["inputs"].shape[1:], units=(128, 64), dropout=0.2
        ),
        [
            mtl.Task(name, mtl.heads.Regression.for_labels(labels[name]), metrics=[])
            for name in tasks
        ],
        architecture=experts if architecture == "mmoe" else "hard",
    )


def errors(forecast, columns, mean):
    """RRMSE of each sensor: squared error over that of the training mean, rooted."""
    flow = columns["flow_48h"]
    model = np.square(forecast - flow).sum(axis=0)
    return np.sqrt(model / np.square(flow - mean).sum(axis=0))


def forecast(model, columns):
    """Flow in 48 hours, of the sensors that the model has; the others as now."""
    flow = columns["flow"][:, -1].copy()
    served = model.predict_tasks(columns["inputs"], batch_size=512, verbose=0)
    for index, sensor in enumerate(SENSORS):
        if sensor in served:
            flow[:, index] *= 1.0 + served[sensor]["value"]
    return flow


def train(architecture, methods, tasks, splits, seed, arguments, bar):
    """Test errors of the epoch that is best on validation, and the costs."""
    keras.utils.set_random_seed(seed)
    model = build(architecture, tasks, splits)
    methods = with_options(methods, scale="sum")
    model.compile(keras.optimizers.Adam(LEARNING_RATE), **methods)
    mean = splits["train"]["flow_48h"].mean(axis=0)
    places = [SENSORS.index(task) for task in tasks]

    def measure(model, split):
        columns = splits[split]
        return errors(forecast(model, columns), columns, mean)[places]

    best = BestEpoch(lambda m: -measure(m, "validation").mean(), PATIENCE, bar)
    order = EpochOrder(seed)
    labels = changes(splits["train"])
    data = (splits["train"]["inputs"], {task: labels[task] for task in tasks})
    model.fit(
        order.batches(data, BATCH_SIZE).prefetch(4),
        epochs=arguments.epochs,
        callbacks=[order, best],
        shuffle=False,
        verbose=0,
    )
    found = dict(zip(tasks, measure(model, "test").tolist(), strict=True))
    return found | {"parameters": model.count_params()}


def table(rows, splits):
    columns, mean = splits["test"], splits["train"]["flow_48h"].mean(axis=0)
    now = errors(columns["flow"][:, -1], columns, mean)
    lines = [("the flow of now", f"{now.mean():.3f}", *(f"{v:.2f}" for v in now), "0")]
    for name, runs in rows.items():
        average = [np.mean([run[sensor] for sensor in SENSORS]) for run in runs]
        each = [np.mean([run[sensor] for run in runs]) for sensor in SENSORS]
        lines.append(
            (
                name,
                mean_std(average, 3),
                *(f"{value:.2f}" for value in each),
                f"{runs[0]['parameters']:,}",
            )
        )
    header = ("model", "aRRMSE", *SENSORS, "parameters")
    return markdown_table(Table(header, tuple(lines), num_labels=1))


def main():
    arguments = parsed(__doc__, "river_flow", EPOCHS)
    runs = pathlib.Path(arguments.runs)
    settings = {"epochs": arguments.epochs, "smoke": arguments.smoke}
    results = Results(runs / "results.json", settings)
    splits = load_data(prepare("river_flow_rf1", runs, arguments.smoke))

    def run(architecture, methods, tasks, seed, bar):
        return train(architecture, methods, tasks, splits, seed, arguments, bar)

    rows = {name: ROWS[name] for name in SMOKE_ROWS} if arguments.smoke else ROWS
    found = compare(rows, SENSORS, arguments.seeds, results, run)
    text = table(found, splits)
    (runs / "table.md").write_text(text + "\n")
    print(f"\nTest period, RRMSE by sensor (below 1: better than the mean):\n\n{text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
