"""Census-Income: who earns over 50,000 dollars, and who never married.

The benchmark of the MMoE paper. Ways to share (one model per task, hard sharing, MMoE,
PLE), each with equal weights and with gradient balancers, on the standard split; a
tenth of train is the validation set, which alone decides the epoch that is kept. All
models see the same batches, with embeddings of the same width.

Three columns of the data nearly tell who is married: the tax filer status and the two
household columns. Published results use them, so the first table does; the second is
that of models that do not see them.

    python examples/census_income.py                     the tables, about two hours
    python examples/census_income.py --seeds 1 --balancers pcgrad
    python examples/census_income.py --smoke             a few steps: does it run?

Runs that are in `--runs`/results.json already are not run again.
"""

import argparse
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from recipe import (
    BestEpoch,
    Results,
    area_under_curve,
    compare,
    load,
    mean_std,
    prepare,
)

import keras_mtl as mtl
from keras_mtl.data import EpochOrder
from keras_mtl.data.datasets.census_income import INPUTS, LEAKS, MONEY
from keras_mtl.plots import Table, markdown_table

TASKS = ("income", "never_married")
SPLITS = {"train": "train[:90%]", "validation": "train[90%:]", "test": "test"}
EMBEDDING_DIM = 8
BATCH_SIZE = 1024
LEARNING_RATE = 1e-3
EPOCHS, PATIENCE = 12, 3


def build(architecture, columns, tasks):
    """A model of the architecture.

    The experts of MMoE and PLE read the embeddings, hard sharing has a stack of layers
    in their place, and each task has a tower on top.
    """
    experts = {
        "mmoe": mtl.architectures.MMoE(8, units=(64, 64)),
        "ple": mtl.architectures.PLE(2, shared_experts=2, task_experts=2, units=(64,)),
    }
    backbone = mtl.backbones.Tabular.for_table(
        columns,
        embedding_dim=EMBEDDING_DIM,
        units=() if architecture in experts else (256, 128),
    )
    head = mtl.heads.BinaryClassification(hidden_units=(64,))
    return mtl.build_model(
        backbone,
        [mtl.Task(name, head, metrics=[]) for name in tasks],
        architecture=experts.get(architecture, "hard"),
    )


def load_data(data_dir):
    """The splits as `(columns, labels)`, amounts of money as their logarithm."""
    splits = {}
    for split, cut in SPLITS.items():
        table = load("census_income", cut, data_dir)
        columns = {name: table[name] for name in INPUTS}
        columns |= {name: np.log1p(table[name]) for name in MONEY}
        splits[split] = (columns, {name: table[name] for name in TASKS})
    return splits


def without(splits, names):
    """The same data without some of the columns."""
    return {
        split: ({name: v for name, v in columns.items() if name not in names}, labels)
        for split, (columns, labels) in splits.items()
    }


def scores(model, split):
    """AUC of each task of the model."""
    columns, labels = split
    # Keras takes strings only from a data set.
    batches = tf.data.Dataset.from_tensor_slices(columns).batch(8192)
    logits = model.predict(batches, verbose=0)
    return {
        task: area_under_curve(labels[task], logits[task][:, 0])
        for task in model.task_names
    }


def train(architecture, methods, tasks, splits, seed, arguments, bar):
    """Test AUC per task of the epoch that is best on validation, and the costs."""
    keras.utils.set_random_seed(seed)
    columns, labels = splits["train"]
    model = build(architecture, columns, tasks)
    model.compile(keras.optimizers.Adam(arguments.learning_rate), **methods)

    def validation(model):
        return np.mean(list(scores(model, splits["validation"]).values()))

    best = BestEpoch(validation, PATIENCE, bar)
    order = EpochOrder(seed)
    batches = order.batches(
        (columns, {task: labels[task] for task in tasks}), BATCH_SIZE
    )
    model.fit(
        batches.prefetch(4),
        epochs=arguments.epochs,
        callbacks=[order, best],
        shuffle=False,
        verbose=0,
    )
    return scores(model, splits["test"]) | {
        "parameters": model.count_params(),
        "epoch": best.epoch,
        "validation": best.best,
    }


def compared(balancers):
    """Rows of the table: architecture and what `compile` is given."""
    # Weights that add up to those of equal weighting, so that one rate fits all.
    options = mtl.BalancingOptions(scale="sum")
    rows = {("single-task", "equal"): ("single", {})}
    for architecture, name in (
        ("hard", "hard sharing"),
        ("mmoe", "MMoE"),
        ("ple", "PLE"),
    ):
        rows[name, "equal"] = (architecture, {})
        for balancer in balancers:
            methods = {"balancer": balancer, "balancing": options}
            rows[name, balancer] = (architecture, methods)
    return {", ".join(names): row for names, row in rows.items()}


def table(rows):
    """Markdown: a line per way to share and balance, mean ± std over the seeds."""
    lines = []
    for name, runs in rows.items():
        cells = [mean_std([run[task] for run in runs], 4) for task in TASKS]
        seconds = np.mean([run["seconds"] for run in runs])
        lines.append(
            (
                *name.split(", "),
                *cells,
                f"{runs[0]['parameters']:,}",
                f"{seconds:.0f}",
            )
        )
    header = ("sharing", "weights", "income AUC", "marital AUC", "parameters", "s")
    return markdown_table(Table(header, tuple(lines)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="at most")
    parser.add_argument("--learning-rate", type=float, default=LEARNING_RATE)
    parser.add_argument("--balancers", nargs="*", default=["pcgrad", "cagrad"])
    parser.add_argument(
        "--runs", default="runs/census_income", help="folder of results"
    )
    parser.add_argument("--smoke", action="store_true", help="a few steps only")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.seeds = arguments.epochs = 1
        arguments.balancers = ["pcgrad"]
    runs = pathlib.Path(arguments.runs)
    settings = {
        "learning_rate": arguments.learning_rate,
        "epochs": arguments.epochs,
        "smoke": arguments.smoke,
    }
    results = Results(runs / "results.json", settings)
    splits = load_data(prepare("census_income", runs, arguments.smoke))
    groups = {"all columns": splits, "without leaks": without(splits, LEAKS)}
    rows = compared(arguments.balancers)
    if arguments.smoke:
        del groups["all columns"]
        some = ("single-task, equal", "hard sharing, pcgrad", "PLE, equal")
        rows = {name: rows[name] for name in some}
    tables = {}
    for group, data in groups.items():

        def run(architecture, methods, tasks, seed, bar, data=data):
            return train(architecture, methods, tasks, data, seed, arguments, bar)

        found = compare(rows, TASKS, arguments.seeds, results, run, group)
        tables[group] = table(found)
    text = "\n\n".join(f"### Test split, {k}\n\n{v}" for k, v in tables.items())
    (runs / "table.md").write_text(text + "\n")
    print(f"\n{text}\n\nThe columns left out of the second: {', '.join(LEAKS)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
