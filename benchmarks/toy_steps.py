"""What balancing adds to a step that costs next to nothing: the two-task toy.

    python benchmarks/toy_steps.py                         # graph and XLA, all methods
    python benchmarks/toy_steps.py --methods pcgrad --turns 15
    python benchmarks/toy_steps.py --quick                 # does it run?

50,000 steps of the five-start toy of `examples/toy_landscapes.py` in one `tf.function`,
as ratios to the same loop with the two gradients added. Both compute the two gradients
and take Adam's step (`--sgd`: a plain one); the method computes the Gram matrix, its
weights by the code for any number of tasks, and the combination besides. See
`README.md` beside this file for what was measured.
"""

import argparse
import dataclasses
import pathlib
import sys
import time

import numpy as np
import setting_tensorflow  # noqa: F401 before TensorFlow
import tensorflow as tf
from tqdm import tqdm

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "examples"))
import toy_landscapes as toys

import keras_mtl as mtl
from keras_mtl.plots import Table, markdown_table

GOALS = {"pcgrad": 1.5, "cagrad": 1.5, "nash_mtl": 3.0}
MODES = {"graph": False, "XLA": True}


def make_loop(name: str, steps: int, jit: bool, adam: bool):
    """A traced function from a start that takes all steps, and returns the last point.

    The start is an argument: with a constant one XLA makes of the plain loop code that
    is twenty times slower, and every ratio looks good.
    """
    landscape = dataclasses.replace(toys.LANDSCAPES["starts"], adam=adam)
    method = toys.make_method(name, landscape)
    one_step = toys.make_step(landscape, method, steps)

    @tf.function(jit_compile=jit, autograph=False)
    def loop(start):
        return tf.while_loop(
            lambda step, *_: step < steps,
            one_step,
            toys.first(method, start),
            maximum_iterations=steps,
        )[1]

    return loop


def seconds(loop, calls: int) -> np.ndarray:
    """CPU seconds of the process and wall seconds of some calls."""
    start = tf.constant(toys.LANDSCAPES["starts"].starts[0])
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(calls):
        loop(start).numpy()
    return np.array([time.process_time() - cpu, time.perf_counter() - wall])


def measure(name: str, options: argparse.Namespace, jit: bool) -> dict[str, np.ndarray]:
    """CPU and wall seconds per step, in turns: plain, method, plain, method …"""
    loops = {
        kind: make_loop(kind, options.steps, jit, not options.sgd)
        for kind in ("equal", name)
    }
    calls = {}
    for kind, loop in loops.items():
        seconds(loop, 1)  # traces
        calls[kind] = max(1, round(options.seconds / max(seconds(loop, 1)[0], 1e-6)))
    found: dict[str, list] = {kind: [] for kind in loops}
    for _ in range(options.turns):
        for kind, loop in loops.items():
            spent = seconds(loop, calls[kind])
            found[kind].append(spent / calls[kind] / options.steps)
    return {kind: np.array(values) for kind, values in found.items()}


def row(mode: str, name: str, found: dict[str, np.ndarray]) -> tuple[str, ...]:
    """A row of the table: medians over the turns, and the quartiles of the ratio."""
    plain, method = (np.median(found[kind][:, 0]) * 1e6 for kind in ("equal", name))
    cpu, wall = (found[name] / found["equal"]).T
    low, ratio, high = np.quantile(cpu, [0.25, 0.5, 0.75])
    goal = GOALS.get(name)
    met = "" if goal is None else f"≤ {goal}: {'yes' if high <= goal else 'no'}"
    return (
        *(mode, name, f"{plain:.2f}", f"{method:.2f}"),
        *(f"{ratio:.2f}", f"{low:.2f} – {high:.2f}", f"{np.median(wall):.2f}", met),
    )


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = mtl.balancers.registry.names() + mtl.weightings.registry.names()
    default = [name for name in toys.METHODS if name in known]
    parser.add_argument("--methods", default=",".join(default), help="by commas")
    parser.add_argument("--modes", default=",".join(MODES), help="by commas")
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument(
        "--seconds", type=float, default=0.3, help="about the CPU time of one turn"
    )
    parser.add_argument("--sgd", action="store_true", help="without Adam")
    parser.add_argument("--quick", action="store_true", help="no figures")
    options = parser.parse_args(arguments)
    if options.quick:
        options.steps, options.turns, options.seconds = 100, 2, 0.01
    for field, choices in (("methods", known), ("modes", MODES)):
        names = getattr(options, field).split(",")
        if unknown := sorted(set(names) - set(choices)):
            parser.error(f"unknown: {unknown}; expected some of {', '.join(choices)}")
        setattr(options, field, names)
    return options


def main(arguments: list[str] | None = None) -> int:
    """Measures and prints the table."""
    options = parsed(arguments)
    rows = []
    with tqdm(total=len(options.modes) * len(options.methods)) as progress:
        for mode in options.modes:
            for name in options.methods:
                progress.set_description(f"{mode}, {name}")
                rows.append(row(mode, name, measure(name, options, MODES[mode])))
                progress.update()
    header = (
        *("compiled", "method", "plain, µs", "method, µs"),
        *("CPU ratio", "quartiles", "wall ratio", "goal"),
    )
    print(markdown_table(Table(header, tuple(rows))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
