"""What it takes to trace a training step, per task.

    python benchmarks/trace_time.py            # a few minutes
    python benchmarks/trace_time.py --quick    # does it run?

A step with a balancer has one backward pass per task in its graph, so its tracing
takes longer with every task. Measured here is the CPU time of the first
`train_on_batch` over that of the second: Python's tracing, TensorFlow's optimization of
the graph, and nothing of the step itself. Each round makes a new model; the first is
thrown away, since it pays for what Keras and TensorFlow load late. The goal is that a
task of the largest case costs at most twice what one of the smallest does.
"""

import argparse
import sys
import time

import numpy as np
import setting_tensorflow  # noqa: F401 before TensorFlow
import workloads
from tqdm import tqdm

from keras_mtl.plots import Table, markdown_table

_GOAL = 2.0
_CASES = {"mlp": (2, 8, 32), "cnn": (2, 3, 8), "transformer": (2, 4)}


def seconds(case: str, variant: str) -> float:
    """CPU time of the first training step over that of the second."""
    model = workloads.compiled(case, variant)
    x, y = next(iter(workloads.batches(case, variant)))
    times = []
    for _ in range(2):
        start = time.process_time()
        model.train_on_batch(x, y)
        times.append(time.process_time() - start)
    return times[0] - times[1]


def measure(name: str, sizes: tuple[int, ...], variant: str, rounds: int, bar) -> list:
    """A row per number of tasks."""
    found = {}
    for num_tasks in sizes:
        values = []
        for _ in range(rounds + 1):
            values.append(seconds(f"{name}-{num_tasks}", variant))
            bar.update()
        found[num_tasks] = np.median(values[1:])
    per_task = {k: v / k for k, v in found.items()}
    smallest = per_task[sizes[0]]
    return [
        (
            f"{name}-{k}",
            f"{found[k]:.2f}",
            f"{value:.3f}",
            f"{value / smallest:.2f}",
            f"≤ {_GOAL}: {'yes' if value / smallest <= _GOAL else 'no'}",
        )
        for k, value in per_task.items()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--variant", default="pcgrad", help="as in step_time.py")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="does it run?")
    options = parser.parse_args()
    cases = {"mlp": (2, 3)} if options.quick else _CASES
    rounds = 1 if options.quick else options.rounds
    rows = []
    total = sum(map(len, cases.values())) * (rounds + 1)
    with tqdm(total=total, unit="trace") as bar:
        for name, sizes in cases.items():
            rows += measure(name, sizes, options.variant, rounds, bar)
    header = ("case", "first step, s", "per task, s", "÷ fewest tasks", "goal")
    print(markdown_table(Table(header, tuple(rows), num_labels=1)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
