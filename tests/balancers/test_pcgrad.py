"""PCGrad: Algorithm 1, its properties and published values."""

import collections
import itertools

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_mtl as mtl
from keras_mtl.balancers import pcgrad
from tests.balancers import oracles, samplers


def update(J, order, dtype="float64"):
    J = J.astype(dtype)
    weights = mtl.balancers.pcgrad_weights(ops.array(J @ J.T, dtype), ops.array(order))
    return ops.convert_to_numpy(weights) @ J


def orders(num_tasks, seed):
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(num_tasks) for _ in range(num_tasks)])


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)]
)
@pytest.mark.parametrize("num_tasks", [1, 2, 3, 5, 8])
def test_gram_space_equals_the_algorithm_on_full_vectors(num_tasks, dtype, tolerance):
    for seed in range(10):
        J, order = samplers.conflicting(num_tasks, seed=seed), orders(num_tasks, seed)
        expected = oracles.pcgrad(J, order)
        error = np.abs(update(J, order, dtype) - expected).max()
        assert error <= tolerance * np.abs(J).max() * num_tasks


def test_published_value():
    """TorchJD's documentation: weights [2.2222, 1.5789], update [0.5848, 3.8012, …]."""
    found = samplers.weights(mtl.balancers.PCGrad(), samplers.EXAMPLE)
    np.testing.assert_allclose(found, [2.2222, 1.5789], atol=1e-4)
    np.testing.assert_allclose(
        found @ samplers.EXAMPLE, [0.5848, 3.8012, 3.8012], atol=1e-4
    )


@pytest.mark.parametrize("num_tasks", [1, 2, 5])
def test_without_conflict_it_is_the_sum(num_tasks):
    found = samplers.weights(mtl.balancers.PCGrad(), samplers.agreeing(num_tasks))
    assert found.tolist() == [1] * num_tasks


def test_two_tasks_end_without_conflict():
    """Each projected gradient is orthogonal to the other task's (two tasks)."""
    for seed in range(20):
        J = samplers.conflicting(2, entries=3, seed=seed)
        if J[0] @ J[1] < 0:
            found = samplers.weights(mtl.balancers.PCGrad(), J) @ J
            assert np.all(J @ found > 0)


def test_opposite_gradients_cancel():
    J = samplers.DEGENERATE["opposite, longer"]
    found = samplers.weights(mtl.balancers.PCGrad(), J) @ J
    np.testing.assert_allclose(found, 0, atol=1e-12)


def test_permuted_tasks_and_orders_give_one_update():
    J, order = samplers.conflicting(5), orders(5, 1)
    permutation = np.array([3, 0, 4, 1, 2])
    position = np.argsort(permutation)
    permuted = position[order[permutation]]
    np.testing.assert_allclose(
        update(J[permutation], permuted), update(J, order), atol=1e-12
    )


def test_every_order_is_drawn_and_about_evenly():
    """Three tasks, two orders of the others for each: eight results."""
    J = samplers.conflicting(3, entries=2, seed=11)
    every = collections.Counter()

    @tf.function
    def weights(step):
        seed = samplers.Seed(5, step)
        gram, active = ops.array(J @ J.T), ops.ones(3, "bool")
        return mtl.balancers.PCGrad().weights(gram, None, active, {}, seed)[0]

    for step in range(400):
        every[tuple(weights(tf.constant(step)).numpy().round(4).tolist())] += 1
    possible = collections.Counter()
    pairs = [[[0, 1, 2], [0, 2, 1]], [[1, 0, 2], [1, 2, 0]], [[2, 0, 1], [2, 1, 0]]]
    for order in itertools.product(*pairs):
        weights = mtl.balancers.pcgrad_weights(ops.array(J @ J.T), ops.array(order))
        possible[tuple(ops.convert_to_numpy(weights).round(4).tolist())] += 50
    assert len(possible) > 1
    assert every.keys() == possible.keys()
    for result, expected in possible.items():
        assert abs(every[result] - expected) < 4 * expected**0.5


@pytest.mark.parametrize("num_tasks", [1, 2, 7])
def test_turns_are_the_order_of_the_keys(num_tasks):
    """Equal keys, which are rare, are in the order of the tasks."""
    rng = np.random.default_rng(num_tasks)
    keys = np.float32(rng.integers(0, 4, (num_tasks, num_tasks)) / 4)
    turns = ops.convert_to_numpy(pcgrad._turns(ops.array(keys)))
    order = np.argsort(keys, axis=1, kind="stable")
    assert turns.sum() == num_tasks**2
    assert turns.argmax(axis=2).T.tolist() == order.tolist()
