"""Census-Income: who earns over 50,000 dollars, and who never married.

The benchmark of the MMoE paper. Ways to share (one model per task, hard sharing, MMoE,
PLE), each with equal weights and with gradient balancers, on the standard split; a
tenth of train is the validation set, which alone decides the epoch that is kept. All
models see the same batches, with embeddings of the same width.

Three columns of the data nearly tell who is married: the tax filer status and the two
household columns. Published results use them, so the first table does; the second is
that of models that do not see them.

    python examples/census_income.py                     the tables, about an hour
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
from recipe import (
    BestEpoch,
    Results,
    area_under_curve,
    codes,
    compare,
    load,
    mean_std,
    prepare,
    vocabulary,
)

import keras_mtl as mtl
from keras_mtl.data import EpochOrder
from keras_mtl.data.datasets.census_income import CATEGORICAL, LEAKS, MONEY, NUMERIC
from keras_mtl.plots import Table, markdown_table

TASKS = ("income", "never_married")
SPLITS = {"train": "train[:90%]", "validation": "train[90%:]", "test": "test"}
EMBEDDING_DIM = 8
BATCH_SIZE = 1024
LEARNING_RATE = 1e-3
EPOCHS, PATIENCE = 12, 3


def build(architecture, inputs, tasks):
    """A model of the architecture; sizes are such that all have similar many weights.

    The experts of MMoE and PLE read the embeddings, hard sharing has a stack of layers
    in their place, and each task has a tower on top.
    """
    experts = {
        "mmoe": mtl.architectures.MMoE(8, units=(64, 64)),
        "ple": mtl.architectures.PLE(2, shared_experts=2, task_experts=2, units=(64,)),
    }
    backbone = mtl.backbones.Tabular(
        **inputs,
        embedding_dim=EMBEDDING_DIM,
        units=() if architecture in experts else (256, 128),
    )
    tower = {"hidden_units": (64,)}
    return mtl.build_model(
        backbone,
        [
            mtl.Task(name, mtl.heads.BinaryClassification(**tower), metrics=[])
            for name in tasks
        ],
        architecture=experts.get(architecture, "hard"),
    )


def load_data(data_dir):
    """The splits as `(x, y)`, and the arguments of `Tabular`.

    Strings become integers here, once, and not in the model at every step.
    """
    splits, inputs = {}, {"numeric": {}, "categorical": {}}
    known = {}
    for split, cut in SPLITS.items():
        columns = load("census_income", cut, data_dir)
        x = {}
        for name in NUMERIC:
            values = columns[name]
            x[name] = np.log1p(values) if name in MONEY else values
            if split == "train":
                inputs["numeric"][name] = [x[name].mean(), max(x[name].var(), 1e-6)]
        for name in CATEGORICAL:
            if split == "train":
                known[name] = vocabulary(columns[name])
                inputs["categorical"][name] = list(range(len(known[name])))
            x[name] = codes(columns[name], known[name])
        x = {name: values[:, None] for name, values in x.items()}
        splits[split] = (x, {name: columns[name] for name in TASKS})
    return splits, inputs


def without(splits, inputs, names):
    """The same data without some of the columns."""
    splits = {
        split: ({name: v for name, v in x.items() if name not in names}, y)
        for split, (x, y) in splits.items()
    }
    kept = {
        kind: {name: v for name, v in columns.items() if name not in names}
        for kind, columns in inputs.items()
    }
    return splits, kept


def scores(model, split):
    """AUC of each task of the model."""
    x, y = split
    logits = model.predict(x, batch_size=8192, verbose=0)
    return {
        task: area_under_curve(y[task], logits[task][:, 0]) for task in model.task_names
    }


def train(architecture, methods, tasks, splits, inputs, seed, arguments, bar):
    """Test AUC per task of the epoch that is best on validation, and the weights."""
    keras.utils.set_random_seed(seed)
    model = build(architecture, inputs, tasks)
    model.compile(keras.optimizers.Adam(arguments.learning_rate), **methods)

    def validation(model):
        return np.mean(list(scores(model, splits["validation"]).values()))

    best = BestEpoch(validation, PATIENCE, bar)
    order = EpochOrder(seed)
    x, y = splits["train"]
    batches = order.batches((x, {task: y[task] for task in tasks}), BATCH_SIZE)
    model.fit(
        batches.prefetch(4),
        epochs=arguments.epochs,
        callbacks=[order, best],
        shuffle=False,
        verbose=0,
    )
    found = scores(model, splits["test"])
    return found | {
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
        arguments.balancers = arguments.balancers[:1]
    runs = pathlib.Path(arguments.runs)
    settings = {
        "learning_rate": arguments.learning_rate,
        "epochs": arguments.epochs,
        "smoke": arguments.smoke,
    }
    results = Results(runs / "results.json", settings)
    splits, inputs = load_data(prepare("census_income", runs, arguments.smoke))
    datasets = {
        "all columns": (splits, inputs),
        "without leaks": without(splits, inputs, LEAKS),
    }
    rows = compared(arguments.balancers)
    tables = {}
    for group, (splits, inputs) in datasets.items():

        def run(architecture, methods, tasks, seed, bar, data=(splits, inputs)):
            return train(architecture, methods, tasks, *data, seed, arguments, bar)

        found = compare(rows, TASKS, arguments.seeds, results, run, group)
        tables[group] = table(found)
    text = "\n\n".join(f"### Test split, {k}\n\n{v}" for k, v in tables.items())
    (runs / "table.md").write_text(text + "\n")
    print(f"\n{text}\n\nThe columns left out of the second: {', '.join(LEAKS)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
