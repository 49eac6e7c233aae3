"""LatestGradients: the literal rule on remembered gradients, and its limit."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_mtl as mtl
from tests.balancers import jacobians, oracles, samplers
from tests.training import problems


def make(inner, window=None):
    return mtl.balancers.LatestGradients(inner, window)


INNER = pytest.mark.parametrize("inner", ["pcgrad", "db_mtl", "gradnorm"])


@INNER
def test_tasks_in_every_batch_give_the_balancers_own_steps(inner):
    """One without state, one that uses losses, one that remembers."""
    steps = jacobians.steps(3)
    updates, _ = jacobians.run(make(inner), steps)
    own, state, losses = mtl.balancers.get(inner), None, np.linspace(0.5, 2.0, 3)
    for J, update in zip(steps, updates, strict=True):
        weights, state = samplers.step(own, J, losses=losses, state=state)
        np.testing.assert_allclose(update, weights @ J, atol=1e-12)


@INNER
@pytest.mark.parametrize("window", [None, 2, 7])
def test_one_task_per_batch_is_the_literal_rule(inner, window):
    """In random order, so that some tasks leave the window and come back."""
    num_tasks, rng = 3, np.random.default_rng(1)
    turns = rng.integers(0, num_tasks, size=20)
    steps = jacobians.steps(num_tasks, count=len(turns))
    losses = np.linspace(0.5, 2.0, num_tasks)
    actives = [np.arange(num_tasks) == turn for turn in turns]
    updates, _ = jacobians.run(make(inner, window), steps, losses, actives)
    own, state, last = mtl.balancers.get(inner), None, {}
    for time, (turn, J) in enumerate(zip(turns, steps, strict=True)):
        last[turn] = (time, J[turn])
        young = {
            task: gradient
            for task, (seen, gradient) in last.items()
            if time - seen < (window or num_tasks)
        }
        latest = np.zeros_like(J)
        for task, gradient in young.items():
            latest[task] = gradient
        active = np.isin(np.arange(num_tasks), list(young))
        weights, state = samplers.step(
            own, latest, losses=np.where(active, losses, 0), active=active, state=state
        )
        np.testing.assert_allclose(updates[time], weights @ latest, atol=1e-11)


def test_by_hand():
    """MGDA on (2, 0), then on that and (0, 1): weights (1/5, 4/5)."""
    J = np.diag([2.0, 1.0])
    actives = [[True, False], [False, True], [False, True]]
    updates, state = jacobians.run(make("mgda"), [J] * 3, actives=actives, split=1)
    np.testing.assert_allclose(updates[:2], [[2.0, 0.0], [0.4, 0.8]], atol=1e-9)
    # The first gradient is two steps old then, and out of the window of two.
    np.testing.assert_allclose(updates[2], [0.0, 1.0], atol=1e-9)
    np.testing.assert_array_equal(state["steps_ago"], [2, 0])


class Mean(mtl.balancers.Balancer):
    """Equal weights, the incremental aggregated gradient of the paper."""

    def weights(self, gram, losses, active, state, seed):
        share = ops.cast(active, gram.dtype)
        return share / ops.sum(share), state


CURVATURE = np.array([[1.0, 4.0], [3.0, 1.0]])
CENTRES = np.array([[1.0, 0.0], [-1.0, 1.0]])


def descend(balancer, steps=400, learning_rate=0.05):
    """Two quadratics in turn: where it stays, over the last two steps."""

    @tf.function(autograph=False)
    def one_step(x, active, state):
        J = tf.where(active[:, None], CURVATURE * (x - CENTRES), 0.0)
        gram = tf.matmul(J, J, transpose_b=True)
        losses = tf.ones(2, "float64")
        (update,), state = balancer.combine(
            [J], gram, losses, active, state, samplers.Seed(0)
        )
        return x - learning_rate * update, state

    x, path = tf.constant([2.0, 2.0], "float64"), []
    state = jacobians.initial(balancer, np.zeros((2, 2)), split=2)
    for time in range(steps):
        x, state = one_step(x, tf.range(2) == time % 2, state)
        path.append(x.numpy())
    return path[-2:]


def test_the_mean_converges_where_one_tasks_steps_circle():
    """The theorem of the paper, at a constant learning rate."""
    best = np.array([(1.0 - 3.0) / 4.0, 1.0 / 5.0])  # of the sum of both
    found = descend(make(Mean()))
    np.testing.assert_allclose(found, [best, best], atol=1e-8)
    one, other = descend(make(Mean(), window=1))
    assert np.linalg.norm(one - other) > 0.02


def test_mgda_ends_where_no_direction_helps_both():
    one, other = descend(make("mgda"))
    assert np.linalg.norm(one - other) < 1e-6
    gradients = CURVATURE * (other - CENTRES)
    assert np.linalg.norm(oracles.mgda(gradients)) < 1e-5


def test_configuration_keeps_the_inner_balancer():
    balancer = make({"class_name": "cagrad", "config": {"c": 0.3}}, window=4)
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(balancer)))
    copy = keras.saving.deserialize_keras_object(config)
    assert (copy.balancer.c, copy.window) == (0.3, 4)


def test_fit_on_batches_of_one_task(float64):
    """Shared variables move by both tasks, from the second step on; heads by theirs."""
    names = ("price", "sold")
    x, y = problems.data()
    model = problems.model(names)
    model.compile(keras.optimizers.SGD(0.1), balancer=make(Mean()))
    gradients = {}
    for name in names:
        labels = {n: y[n] if n == name else np.full_like(y[n], np.nan) for n in names}
        before = problems.weights(model)
        plain = problems.model(names)
        plain.set_weights(model.get_weights())
        plain.compile(keras.optimizers.SGD(0.1))
        plain.train_on_batch(x, labels)
        end = problems.weights(plain)
        gradients[name] = {path: (before[path] - end[path]) / 0.1 for path in before}
        model.train_on_batch(x, labels)
    for path, value in problems.weights(model).items():
        expected = gradients["sold"][path]
        if not path.startswith(names):
            expected = (expected + gradients["price"][path]) / 2
        moved = (before[path] - value) / 0.1
        np.testing.assert_allclose(moved, expected, atol=1e-12, err_msg=path)
        if not path.startswith("price"):
            assert np.abs(moved).max() > 1e-3
