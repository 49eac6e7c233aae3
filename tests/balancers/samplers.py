"""Jacobians of task gradients that the tests of balancers share."""

import numpy as np
import tensorflow as tf
from keras import ops

# The example of the documentation of TorchJD, and what its balancers make of it.
EXAMPLE = np.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])


def conflicting(num_tasks, entries=20, seed=0):
    """Gradients of different lengths, many of them opposed."""
    rng = np.random.default_rng(seed)
    J = rng.normal(size=(num_tasks, entries)) + 0.4 * rng.normal(size=entries)
    return J * rng.uniform(0.5, 2.0, size=(num_tasks, 1))


def agreeing(num_tasks, entries=20, seed=0):
    """Gradients with positive inner products only."""
    return np.abs(conflicting(num_tasks, entries, seed)) + 0.1


def _degenerate():
    row = conflicting(1)[0]
    three = conflicting(3)
    yield "one task", row[None]
    yield "one zero gradient", np.stack([row, 0 * row, -2 * row + 1])
    yield "one task, zero", 0 * row[None]
    yield "all zero", 0 * three
    yield "equal", np.stack([row, row, row])
    yield "opposite", np.stack([row, -row])
    yield "opposite, longer", np.stack([row, -3 * row])
    yield "rank one", np.outer([1.0, -2.0, 0.5, 3.0], row)
    yield "hull holds zero", three - three.mean(axis=0)
    yield "nearly parallel", row + 1e-7 * three
    yield "tiny", 1e-10 * three
    yield "huge", 1e10 * three
    yield "tiny and huge", three * np.array([[1e-10], [1.0], [1e10]])


DEGENERATE = dict(_degenerate())


class Seed:
    """What the model gives a balancer: a draw per call, here always the same."""

    def __init__(self, base, step=0):
        self.draw = [base, step]

    def next(self):
        return ops.stack([ops.cast(part, "int64") for part in self.draw])


def step(
    balancer,
    J,
    losses=None,
    active=None,
    seed=7,
    dtype="float64",
    state=None,
    second=None,
):
    """Task weights of the gradients `J`, and the next state, as NumPy.

    With `second`, the gradients of another batch part, the Gram matrix is the one
    between the two.
    """
    num_tasks = len(J)
    active = np.ones(num_tasks, bool) if active is None else np.asarray(active)
    losses = np.linspace(0.5, 2.0, num_tasks) if losses is None else losses
    J = np.where(active[:, None], J, 0.0).astype(dtype)
    second = J if second is None else np.where(active[:, None], second, 0.0)
    found, state = balancer.weights(
        ops.array(J @ second.astype(dtype).T, dtype),
        ops.array(losses, dtype),
        ops.array(active),
        balancer.init_state(num_tasks) if state is None else state,
        Seed(seed),
    )
    state = {key: ops.convert_to_numpy(value) for key, value in state.items()}
    return ops.convert_to_numpy(found), state


def compiled_step(balancer):
    """The like of `step` for many steps: one trace, all tasks active, in float64."""
    graph = tf.function(
        lambda gram, losses, state: balancer.weights(
            gram, losses, tf.ones(tf.shape(losses), "bool"), state, Seed(7)
        )
    )

    def compute(J, losses=None, state=None, second=None):
        gram = tf.constant(J @ (J if second is None else second).T, "float64")
        losses = np.linspace(0.5, 2.0, len(J)) if losses is None else losses
        state = balancer.init_state(len(J)) if state is None else state
        state = {key: tf.constant(value, "float64") for key, value in state.items()}
        found, state = graph(gram, tf.constant(losses, "float64"), state)
        return found.numpy(), {key: value.numpy() for key, value in state.items()}

    return compute


def weights(balancer, J, losses=None, active=None, seed=7, dtype="float64"):
    """Task weights of the gradients `J` in the first step, as NumPy."""
    return step(balancer, J, losses, active, seed, dtype)[0]
