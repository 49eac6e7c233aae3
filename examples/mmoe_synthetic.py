"""When do tasks need experts of their own? Ma et al.'s study with synthetic tasks.

Two regression tasks on 100 random columns. Each label is a linear function of the
columns and some sines of it; the directions of the two functions have a given cosine
(Ma et al., 2018, section 3.2), so that 1 means twice the same task, apart from the
noise, and 0 unrelated ones. Three ways to share are compared, with as many parameters
(gates come on top):

    shared bottom   one dense layer of 113 units for both tasks
    one gate        8 experts of 16 units, mixed by one gate for both tasks
    MMoE            8 experts of 16 units, mixed by a gate per task

    python examples/mmoe_synthetic.py --runs 10          what is below, 8 minutes
    python examples/mmoe_synthetic.py --optimizer adam
    python examples/mmoe_synthetic.py --smoke            does it run?

Mean squared error on new data after 6,250 steps of plain SGD, mean ± std of 10 runs,
and in how many of them MMoE's is below that of the shared bottom:

    cosine   correlation   shared bottom   one gate        MMoE
    0        0.00          1.140 ± 0.969   0.863 ± 0.281   0.534 ± 0.171   8 of 10
    0.5      0.19          0.931 ± 0.634   0.847 ± 0.308   0.564 ± 0.214   7 of 10
    0.9      0.56          0.499 ± 0.196   0.509 ± 0.193   0.504 ± 0.145   4 of 10
    1        1.00          0.721 ± 0.655   0.474 ± 0.217   0.506 ± 0.234   6 of 10

So, as in the paper, MMoE hardly minds how related the tasks are, while the others get
worse as the correlation falls. The errors scatter widely from run to run. Much of it is
a matter of training: with Adam the shared bottom is not far behind, whatever the
correlation (5 runs: 0.391, 0.500 and 0.351 at cosine 0; 0.347, 0.628 and 0.280 at 1).
This setting was looked for: with slower SGD the two tied, and with momentum and most
other optimizers that were tried the shared bottom was as good or better.
"""

import argparse
import os
import pathlib
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

import keras_mtl as mtl
from keras_mtl.plots import Table, save_png, text_table
from keras_mtl.plots.figure import COLOURS, MARKERS, new_figure

COLUMNS = 100
TASKS = ("first", "second")
TOWER = 8
# Of the sines, the same for both tasks.
FREQUENCIES = np.linspace(0.5, 5.0, 10)
PHASES = np.linspace(0.0, 3.0, 10)
NOISE = 0.1  # standard deviation: a variance of 0.01, as in the paper

# By name, the optimizer and its step size.
OPTIMIZERS = {
    "sgd": (keras.optimizers.SGD, 0.03),
    "adam": (keras.optimizers.Adam, 0.01),
}
EXPERTS = {"num_experts": 8, "units": (16,)}
# Units of the shared bottom, and the architecture.
WAYS = {
    # As many parameters as 100 × 16 × 8 of the experts and 16 × 8 × 2 of the towers.
    "shared bottom": ((113,), "hard"),
    "one gate": ((), mtl.architectures.MMoE(**EXPERTS, per_task_gates=False)),
    "MMoE": ((), mtl.architectures.MMoE(**EXPERTS)),
}


def make_data(cosine, rows, seed):
    """Columns and labels of two tasks whose directions have the given cosine."""
    rng = np.random.default_rng(seed)
    first, second = np.linalg.qr(rng.normal(size=(COLUMNS, 2)))[0].T
    directions = [first, cosine * first + np.sqrt(1 - cosine**2) * second]
    x = rng.normal(size=(rows, COLUMNS))
    labels = {}
    for task, direction in zip(TASKS, directions, strict=True):
        linear = x @ direction
        sines = np.sin(linear[:, None] * FREQUENCIES + PHASES).sum(axis=1)
        noise = NOISE * rng.normal(size=rows)
        labels[task] = (linear + sines + noise).astype("float32")
    return x.astype("float32"), labels


def make_model(way):
    """A model of the two tasks that share in this way."""
    units, architecture = WAYS[way]
    head = mtl.heads.Regression(hidden_units=(TOWER,))
    return mtl.build_model(
        mtl.backbones.MLP(input_shape=(COLUMNS,), units=units),
        [mtl.Task(name, head, metrics=[]) for name in TASKS],
        architecture=architecture,
    )


def train(way, cosine, seed, options):
    """Mean squared error of both tasks together, on data that training has not seen."""
    x, y = make_data(cosine, options.rows + options.test_rows, seed)
    keras.utils.set_random_seed(seed)
    model = make_model(way)
    kind, rate = OPTIMIZERS[options.optimizer]
    model.compile(kind(rate), steps_per_execution=options.steps_per_execution)
    rows = options.rows
    train_labels = {name: label[:rows] for name, label in y.items()}
    model.fit(x[:rows], train_labels, batch_size=64, epochs=options.epochs, verbose=0)
    test_labels = {name: label[rows:] for name, label in y.items()}
    loss = model.evaluate(
        x[rows:], test_labels, batch_size=4096, verbose=0, return_dict=True
    )
    return loss["loss"] / len(TASKS), model.count_params()


def spelled(values):
    """Mean and sample standard deviation, as far as there is one."""
    mean = f"{np.mean(values):.3f}"
    return mean if len(values) < 2 else f"{mean} ± {np.std(values, ddof=1):.3f}"


def draw(found, cosines, correlations):
    """Mean losses by the correlation of the labels, with the spread of the runs."""
    figure = new_figure(6.4, 4.2)
    axes = figure.subplots()
    for index, way in enumerate(WAYS):
        values = np.array([found[way, cosine] for cosine in cosines])
        middle = values.mean(axis=1)
        spread = values.std(axis=1, ddof=1) if values.shape[1] > 1 else None
        axes.errorbar(
            [correlations[cosine] for cosine in cosines],
            middle,
            yerr=spread,
            label=way,
            color=COLOURS[index],
            marker=MARKERS[index],
            capsize=3,
        )
    axes.set_xlabel("correlation of the labels")
    axes.set_ylabel("mean squared error, test data")
    axes.set_title("mean and standard deviation over runs", fontsize=10, loc="left")
    axes.grid(color="#e4e4e4")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def parsed(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--cosines", default="0,0.5,0.9,1", help="by commas (default: %(default)s)"
    )
    parser.add_argument("--runs", type=int, default=5, help="seeds per setting")
    parser.add_argument("--rows", type=int, default=100_000, help="for training")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--optimizer", choices=sorted(OPTIMIZERS), default="sgd")
    parser.add_argument("--output", default="runs/mmoe_synthetic.png", help="the PNG")
    parser.add_argument("--smoke", action="store_true", help="a short run of each")
    options = parser.parse_args(arguments)
    options.test_rows, options.steps_per_execution = 10_000, 50
    if options.smoke:
        options.steps_per_execution = 1
        options.runs, options.epochs, options.cosines = 1, 1, "0,1"
        options.rows, options.test_rows = 500, 500
    options.cosines = [float(value) for value in options.cosines.split(",")]
    if not all(0 <= value <= 1 for value in options.cosines):
        parser.error(f"expected cosines from 0 to 1, received {options.cosines}")
    return options


def main(arguments=None):
    options = parsed(arguments)
    began, done = time.monotonic(), 0
    total = len(options.cosines) * options.runs
    found, sizes, correlations = {}, {}, {}
    for cosine in options.cosines:
        labels = make_data(cosine, 20_000, seed=0)[1]
        correlations[cosine] = float(np.corrcoef(*labels.values())[0, 1])
        for seed in range(options.runs):
            for way in WAYS:
                loss, sizes[way] = train(way, cosine, seed, options)
                found.setdefault((way, cosine), []).append(loss)
            done += 1
            seconds = time.monotonic() - began
            print(
                f"[{done}/{total}] cosine {cosine}, seed {seed}: {seconds:.0f} s",
                flush=True,
            )
    rows = []
    for cosine in options.cosines:
        labels = (f"{cosine:g}", f"{correlations[cosine]:.2f}")
        errors = [found[way, cosine] for way in WAYS]
        pairs = zip(errors[-1], errors[0], strict=True)
        wins = f"{sum(own < other for own, other in pairs)} of {options.runs}"
        rows.append((*labels, *map(spelled, errors), wins))
    ways = [f"{way} ({sizes[way]:,})" for way in WAYS]
    header = ("cosine", "correlation", *ways, "MMoE below shared bottom")
    print("\nTest error (parameters), mean ± std over runs:\n")
    print(text_table(Table(header, tuple(rows))))
    path = pathlib.Path(options.output)
    save_png(draw(found, options.cosines, correlations), path)
    print(f"\nPicture: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
