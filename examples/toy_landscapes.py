"""Toy landscapes where the answer is known: which methods reach the Pareto front?

Two losses of a point in the plane, from several starts, all steps of a run in one
`tf.function`:

    concave   1 - exp(-‖x ∓ 1/√2‖²) (Lin et al., 2019): no weighted sum has its minimum
              inside of this front, so equal weights end near one of its ends
    convex    two ellipses that cross: the front is a curve between their middles
    starts    the toy of CAGrad (Liu et al., 2021), with the first loss times 0.1 and
              the five starts of FAMO (Liu et al., 2023): walls, ravines and tasks of
              different scale; Adam with a rate of 0.001 as in the papers

    python examples/toy_landscapes.py --jit                 100,000 steps of everything
    python examples/toy_landscapes.py --methods equal,mgda --landscapes starts
    python examples/toy_landscapes.py --smoke               a few steps: does it run?

Runs that end on the front, of five (50,000 steps on the first two landscapes):

                                        equal    pcgrad    mgda    cagrad
    concave                             5        5         5       5
    convex                              5        5         5       5
    starts, 50,000 steps (FAMO's)       4        4         5       4
    starts, 100,000 steps (CAGrad's)    4        5         5       5

Equal weights stay in the ravine below the start (9, 9); PCGrad and CAGrad leave it, but
slowly. On the concave front equal weights and CAGrad slide to its ends, PCGrad and MGDA
stop inside. With Adam, whose steps do not shorten with the gradient, MGDA drifts along
the front of the five starts to an end.
"""

import argparse
import dataclasses
import os
import pathlib
import sys
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

import keras_mtl as mtl
from keras_mtl.plots import Table, save_png, text_table
from keras_mtl.plots.figure import COLOURS, new_figure

METHODS = ("equal", "pcgrad", "mgda", "cagrad", "nash_mtl", "famo")
TASKS = ("first", "second")


@dataclasses.dataclass(frozen=True)
class Landscape:
    """Two losses of a point in the plane.

    Args:
        losses: Function of `x` and `y`, of the package `math` (NumPy or TensorFlow).
        starts: Points to start from.
        front: Function that returns points of the Pareto set in order, shape `(n, 2)`.
        rate: Step size.
        adam: Adam's update, else gradient descent with a rate that falls to zero.
        minimum: Lower bounds of the losses, which FAMO asks for.
        box: Half the width of the picture.
        tolerance: Distance from the Pareto set that still counts as on it.
    """

    losses: Callable
    starts: tuple
    front: Callable
    rate: float
    adam: bool
    minimum: tuple
    box: float
    tolerance: float

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Distances of points from the Pareto set."""
        front = self.front()
        start, way = front[:-1], np.diff(front, axis=0)
        off = np.asarray(points, "float64")[:, None] - start
        share = np.clip((off * way).sum(2) / (way**2).sum(1), 0, 1)
        return np.linalg.norm(off - share[:, :, None] * way, axis=2).min(axis=1)


def concave_losses(x, y, math):
    middle = 2**-0.5
    return (
        1 - math.exp(-((x - middle) ** 2) - (y - middle) ** 2),
        1 - math.exp(-((x + middle) ** 2) - (y + middle) ** 2),
    )


def concave_front():
    return np.linspace(-1, 1, 201)[:, None] * np.full(2, 2**-0.5)


def convex_losses(x, y, math):
    del math
    first = 0.5 * ((x - 1) ** 2 + 6 * (y - 1) ** 2)
    second = 0.5 * (6 * (x + 1) ** 2 + (y + 1) ** 2)
    return first, second


def convex_front():
    """Where the gradients of `share` and `1 - share` parts of the losses cancel."""
    share = np.linspace(0, 1, 2001)
    x = (share - 6 * (1 - share)) / (share + 6 * (1 - share))
    y = (6 * share - (1 - share)) / (6 * share + (1 - share))
    return np.stack([x, y], axis=1)


def starts_losses(x, y, math):
    """Equations of the appendix of CAGrad, in the signs of the authors' code."""
    floor, wall = 5e-6, math.tanh(y)
    upper = math.maximum(math.tanh(y / 2), 0.0)
    lower = math.maximum(-math.tanh(y / 2), 0.0)
    first = math.log(math.maximum(math.abs(wall - (x + 7) / 2), floor)) + 6
    second = math.log(math.maximum(math.abs((7 - x) / 2 - wall), floor)) + 6
    bowl = (y + 8) ** 2 / 100 - 20
    first = upper * first + lower * ((x - 7) ** 2 / 10 + bowl)
    second = upper * second + lower * ((x + 7) ** 2 / 10 + bowl)
    return first * 0.1, second


def starts_front():
    """For every x in [-7, 7] the y where the two gradients are opposite.

    In x they cancel for the shares (7 ± x) / 14; that leaves one equation in y.
    """
    x = np.linspace(-7, 7, 281)
    low, high = np.full_like(x, -12.0), np.full_like(x, -8.0)
    for _ in range(60):
        y = (low + high) / 2
        slope = (np.tanh(y / 2) ** 2 - 1) / 2
        value = (49 - x**2) / 10 + (y + 8) ** 2 / 100 - 20
        rising = (y + 8) / 50 * -np.tanh(y / 2) + value * slope > 0
        low, high = np.where(rising, low, y), np.where(rising, y, high)
    return np.stack([x, y], axis=1)


SPREAD = ((-0.9, 0.6), (-0.2, 0.9), (0.8, -0.3), (0.3, -1.0), (1.2, 1.1))
LANDSCAPES = {
    "concave": Landscape(
        concave_losses, SPREAD, concave_front, 0.1, False, (0, 0), 1.5, 0.01
    ),
    "convex": Landscape(
        convex_losses, SPREAD, convex_front, 0.02, False, (0, 0), 1.5, 0.01
    ),
    "starts": Landscape(
        starts_losses,
        ((-8.5, 7.5), (0.0, 0.0), (9.0, 9.0), (-7.5, -0.5), (9.0, -1.0)),
        starts_front,
        0.001,
        True,
        (-2.1, -21),
        11,
        0.1,
    ),
}


class TensorFlowMath:
    """The functions of NumPy's names that the losses use."""

    abs, exp, log, maximum, tanh = tf.abs, tf.exp, tf.math.log, tf.maximum, tf.tanh


class Draws:
    """The random numbers of a step, as the model gives them to a method."""

    def __init__(self, step):
        self.step = tf.cast(step, "int64")

    def next(self):
        return tf.stack([tf.constant(7, "int64"), self.step])


class Equal:
    """The plain step: the two gradients added."""

    def start(self):
        return {}

    def update(self, gradients, losses, state, step):
        del losses, step
        return gradients[0] + gradients[1], state

    def after(self, losses, state):
        del losses
        return state


class Balanced(Equal):
    """A gradient balancer, by way of the Gram matrix of the two gradients."""

    def __init__(self, balancer):
        self.balancer = balancer

    def start(self):
        return self.balancer.init_state(len(TASKS))

    def update(self, gradients, losses, state, step):
        jacobian = tf.stack(gradients)
        gram = mtl.linalg.gram_matrix([jacobian])
        active = tf.ones(len(TASKS), "bool")
        weights, state = self.balancer.weights(
            gram, tf.stack(losses), active, state, Draws(step)
        )
        return tf.linalg.matvec(jacobian, weights, transpose_a=True), state


class Weighted(Equal):
    """A loss weighting without variables of its own."""

    def __init__(self, weighting):
        self.weighting = weighting

    def start(self):
        tasks = tuple(mtl.Task(name, mtl.heads.Regression()) for name in TASKS)
        variables, state = self.weighting.init(tasks)
        if variables:
            raise ValueError("a loss weighting with variables needs a model")
        return state

    def update(self, gradients, losses, state, step):
        active, losses = tf.ones(len(TASKS), "bool"), tf.stack(losses)
        with tf.GradientTape() as tape:
            tape.watch(losses)
            objective, state = self.weighting.objective(
                losses, active, {}, state, Draws(step)
            )
        weights = tape.gradient(objective, losses)
        return tf.linalg.matvec(tf.stack(gradients), weights, transpose_a=True), state

    def after(self, losses, state):
        if getattr(self.weighting, "second_forward", False):
            active = tf.ones(len(TASKS), "bool")
            state = self.weighting.after_step(losses(), active, state)
        return state


def make_method(name, landscape):
    """The method of a name: "equal", a balancer or a loss weighting."""
    if name == "equal":
        return Equal()
    if name in mtl.balancers.registry.names():
        balancer = mtl.balancers.get(name)
        if not hasattr(balancer, "weights"):
            raise ValueError(f"{name} needs the gradients of a model")
        return Balanced(balancer)
    config = {}
    if name == "famo":
        minimum = dict(zip(TASKS, map(float, landscape.minimum), strict=True))
        config = {"minimum": minimum, "decay": 0.0}  # as in the authors' toy
    return Weighted(mtl.weightings.get({"class_name": name, "config": config}))


def make_step(landscape, method, steps):
    """A function from step, point, Adam's means and state to the next of each."""

    def losses_at(point):
        x, y = tf.unstack(point)
        return landscape.losses(x, y, TensorFlowMath)

    def one_step(step, point, mean, square, state):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(point)
            losses = losses_at(point)
        gradients = [tape.gradient(loss, point) for loss in losses]
        update, state = method.update(gradients, losses, state, step)
        if landscape.adam:
            count = tf.cast(step + 1, "float32")
            mean = mean + 0.1 * (update - mean)
            square = square + 0.001 * (update**2 - square)
            unbiased = tf.sqrt(square / (1 - 0.999**count)) + 1e-8
            update = mean / (1 - 0.9**count) / unbiased
        else:
            # Some methods' updates do not get shorter near the front.
            update = update * (1 - tf.cast(step, "float32") / steps)
        point = point - landscape.rate * update
        state = method.after(lambda: tf.stack(losses_at(point)), state)
        return step + 1, point, mean, square, state

    return one_step


def first(method, start):
    """What `make_step`'s function gets at the first step."""
    zeros = tf.zeros_like(start)
    state = tf.nest.map_structure(lambda v: tf.constant(v, "float32"), method.start())
    return tf.constant(0), start, zeros, zeros, state


def make_run(landscape, method, steps, jit):
    """A traced function from a start to the points after every step."""
    one_step = make_step(landscape, method, steps)

    def body(now, points):
        now = one_step(*now)
        return now, points.write(now[0] - 1, now[1])

    @tf.function(jit_compile=jit, autograph=False)
    def run(start):
        points = tf.TensorArray("float32", steps, element_shape=(2,))
        return tf.while_loop(
            lambda now, points: now[0] < steps,
            body,
            (first(method, start), points),
            maximum_iterations=steps,
        )[1].stack()

    return run


def trajectories(landscape, name, steps, jit):
    """Points of all runs, shape `(starts, steps + 1, 2)`."""
    run = make_run(landscape, make_method(name, landscape), steps, jit)
    starts = np.array(landscape.starts, "float32")
    return np.stack([np.vstack([start, run(tf.constant(start))]) for start in starts])


def draw(found):
    """A picture with a row per landscape and a column per method."""
    names = list(dict.fromkeys(name for _, name in found))
    rows = list(dict.fromkeys(row for row, _ in found))
    figure = new_figure(2.4 * len(names) + 0.4, 2.5 * len(rows) + 0.3)
    grid = figure.subplots(len(rows), len(names), squeeze=False)
    for (row, name), paths in found.items():
        axes = grid[rows.index(row), names.index(name)]
        landscape = LANDSCAPES[row]
        line = np.linspace(-landscape.box, landscape.box, 160)
        first, second = landscape.losses(*np.meshgrid(line, line), np)
        axes.contour(line, line, first + second, 14, colors="#cccccc", linewidths=0.6)
        axes.plot(*landscape.front().T, color="#7F7F7F", linewidth=5, alpha=0.6)
        for path, colour in zip(paths, COLOURS, strict=False):
            thinned = path[:: max(1, len(path) // 2000)]
            axes.plot(*thinned.T, color=colour, linewidth=1.2)
            axes.plot(*path[0], "o", color=colour, markersize=4)
            axes.plot(*path[-1], "*", color="black", markersize=7)
        axes.set(xlim=(line[0], line[-1]), ylim=(line[0], line[-1]), xticks=[])
        axes.set(yticks=[], title=f"{row}: {name}" if name == names[0] else name)
    return figure


def parsed(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    known = mtl.balancers.registry.names() + mtl.weightings.registry.names()
    default = [name for name in METHODS if name in ("equal", *known)]
    parser.add_argument(
        "--methods", default=",".join(default), help="by commas (default: %(default)s)"
    )
    parser.add_argument(
        "--landscapes", default=",".join(LANDSCAPES), help="(default: %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--jit", action="store_true", help="compile with XLA")
    parser.add_argument("--output", default="runs/toy_landscapes.png", help="the PNG")
    parser.add_argument("--smoke", action="store_true", help="a few steps only")
    options = parser.parse_args(arguments)
    options.steps = 20 if options.smoke else options.steps
    for field, choices in (("methods", ("equal", *known)), ("landscapes", LANDSCAPES)):
        names = getattr(options, field).split(",")
        if unknown := sorted(set(names) - set(choices)):
            parser.error(f"unknown {field} {unknown}; expected some of {list(choices)}")
        setattr(options, field, names)
    return options


def main(arguments=None):
    options = parsed(arguments)
    found, rows = {}, []
    total = len(options.landscapes) * len(options.methods)
    for row in options.landscapes:
        landscape = LANDSCAPES[row]
        for name in options.methods:
            began = time.monotonic()
            paths = trajectories(landscape, name, options.steps, options.jit)
            found[row, name] = paths
            distances = landscape.distance(paths[:, -1])
            on_front = f"{(distances <= landscape.tolerance).sum()} of {len(paths)}"
            ends = " ".join(f"({x:.2f}, {y:.2f})" for x, y in paths[:, -1])
            rows.append((row, name, on_front, f"{distances.max():.4f}", ends))
            seconds = time.monotonic() - began
            print(f"[{len(rows)}/{total}] {row}, {name}: {seconds:.1f} s", flush=True)
    header = ("landscape", "method", "on the front", "largest distance", "ends")
    print(f"\nAfter {options.steps:,} steps:\n")
    print(text_table(Table(header, tuple(rows))))
    path = pathlib.Path(options.output)
    save_png(draw(found), path)
    print(f"\nTrajectories: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
