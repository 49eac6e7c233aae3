"""What the algebra of each balancer costs, and what that is of a training step.

    python benchmarks/method_time.py                     # minutes
    python benchmarks/method_time.py --steps steps.json  # beside steps of step_time.py
    python benchmarks/method_time.py --quick             # does it run?

A method of the Gram matrix differs from another only by what it computes from the K×K
matrix. So its step is PCGrad's, plus the difference of the two: measured here once per
method and K instead of a process per method, case and round. `--steps` takes the JSON
of `step_time.py --variants pcgrad` and gives the ratio to PCGrad's fastest step at
each K. See `README.md` beside this file for what was measured.
"""

import argparse
import json
import pathlib
import sys
import time

import numpy as np
import setting_tensorflow  # noqa: F401 before TensorFlow
import tensorflow as tf
from tqdm import tqdm

import keras_mtl as mtl
from keras_mtl.plots import Table, markdown_table

_GOAL = 1.10
_MATRICES = 8


class Draws:
    """The random numbers of a step, as the model gives them to a method."""

    def __init__(self, step):
        self.step = tf.cast(step, "int64")

    def next(self):
        return tf.stack([tf.constant(7, "int64"), self.step])


def of_gram() -> list[str]:
    """Names of the balancers that need a Gram matrix only, with PCGrad first."""
    balancers = {
        name: mtl.balancers.get(name) for name in mtl.balancers.registry.names()
    }
    names = [k for k, v in balancers.items() if isinstance(v, mtl.balancers.Balancer)]
    return sorted(names, key=lambda name: (name != "pcgrad", name))


def gram_matrices(num_tasks: int) -> np.ndarray:
    """Some Gram matrices of task gradients that differ in length and conflict."""
    rng = np.random.default_rng(num_tasks)
    shape = (_MATRICES, num_tasks, 2 * num_tasks)
    gradients = rng.normal(size=shape) + 0.3 * rng.normal(
        size=(_MATRICES, 1, 2 * num_tasks)
    )
    gradients *= np.exp(rng.normal(size=(_MATRICES, num_tasks, 1)))
    return (gradients @ gradients.transpose(0, 2, 1)).astype("float32")


def make_loop(balancer, num_tasks: int):
    """A traced function that computes task weights so often as it is told to.

    Without a balancer it does everything else: the difference is the method.
    """
    grams = tf.constant(gram_matrices(num_tasks))
    losses = tf.constant(np.linspace(0.5, 2.0, num_tasks), "float32")
    active = tf.Variable(tf.ones(num_tasks, "bool"), trainable=False)

    def one_step(step, total, state):
        gram = grams[step % _MATRICES]
        weights = tf.linalg.diag_part(gram)
        if balancer is not None:
            weights, state = balancer.weights(
                gram, losses, active.read_value(), state, Draws(step)
            )
        return step + 1, total + weights, state

    @tf.function(autograph=False)
    def loop(steps):
        state = balancer.init_state(num_tasks) if balancer is not None else {}
        state = {key: _as_the_model_keeps_it(value) for key, value in state.items()}
        start = (tf.constant(0), tf.zeros(num_tasks), state)
        return tf.while_loop(lambda step, *_: step < steps, one_step, start)[1]

    return loop


def _as_the_model_keeps_it(value):
    value = tf.convert_to_tensor(value)
    return tf.cast(value, "float32") if value.dtype.is_floating else value


def microseconds(loop, steps: int) -> float:
    """CPU time of a step of the loop."""
    start = time.process_time()
    loop(tf.constant(steps)).numpy()
    return (time.process_time() - start) / steps * 1e6


def measure(names: list[str], num_tasks: int, options, progress: tqdm) -> dict:
    """Median CPU microseconds per call by method, of all turns."""
    loops = {"": make_loop(None, num_tasks)}
    steps = {}
    for name in names:
        loops[name] = make_loop(mtl.balancers.get(name), num_tasks)
    for name, loop in loops.items():
        progress.set_postfix_str(f"{num_tasks} tasks, {name}")
        microseconds(loop, 2)  # traces
        once = microseconds(loop, 20)
        steps[name] = int(np.clip(options.seconds * 1e6 / once, 20, 20_000))
        progress.update()
    found: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(options.turns):
        for name, loop in loops.items():
            found[name].append(microseconds(loop, steps[name]))
    medians = {name: float(np.median(values)) for name, values in found.items()}
    return {name: medians[name] - medians[""] for name in names}


def fastest_steps(path: pathlib.Path) -> dict[int, float]:
    """Microseconds of PCGrad's fastest step by number of tasks, over all workloads."""
    found: dict[int, float] = {}
    for case, result in json.loads(path.read_text()).items():
        num_tasks = int(case.rpartition("-")[2])
        turns = [r["seconds"]["pcgrad"] for r in result["rounds"]]
        step = float(np.median(np.concatenate(turns))) * 1e6
        found[num_tasks] = min(step, found.get(num_tasks, step))
    return found


def table(found: dict[int, dict], steps: dict[int, float]) -> str:
    """Microseconds per method and K, and the ratio of the steps where known."""
    header = ["method"]
    for num_tasks in found:
        header.append(f"K = {num_tasks}, µs")
        if num_tasks in steps:
            header.append(f"step ÷ PCGrad's {steps[num_tasks] / 1000:.1f} ms")
    rows = []
    for name in next(iter(found.values())):
        row = [name]
        for num_tasks, times in found.items():
            row.append(f"{times[name]:.0f}")
            if num_tasks in steps:
                ratio = 1 + (times[name] - times["pcgrad"]) / steps[num_tasks]
                row.append(f"{ratio:.3f}" + (" !" if ratio > _GOAL else ""))
        rows.append(tuple(row))
    return markdown_table(Table(tuple(header), tuple(rows)))


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", default=",".join(of_gram()), help="by commas")
    parser.add_argument("--tasks", default="2,8,32", help="numbers by commas")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.1, help="CPU time of a turn")
    parser.add_argument("--steps", type=pathlib.Path, help="JSON of step_time.py")
    parser.add_argument("--quick", action="store_true", help="no figures")
    options = parser.parse_args(arguments)
    options.methods = options.methods.split(",")
    if unknown := sorted(set(options.methods) - set(of_gram())):
        parser.error(f"unknown: {unknown}; expected some of {', '.join(of_gram())}")
    if "pcgrad" not in options.methods:
        options.methods.insert(0, "pcgrad")
    options.tasks = [int(number) for number in options.tasks.split(",")]
    if options.quick:
        options.tasks, options.turns, options.seconds = [2], 1, 0.001
    return options


def main(arguments: list[str] | None = None) -> int:
    """Measures and prints the table."""
    options = parsed(arguments)
    steps = fastest_steps(options.steps) if options.steps else {}
    with tqdm(total=len(options.tasks) * (len(options.methods) + 1)) as progress:
        found = {
            num_tasks: measure(options.methods, num_tasks, options, progress)
            for num_tasks in options.tasks
        }
    print(table(found, steps))
    return 0


if __name__ == "__main__":
    sys.exit(main())
