"""GradDrop: Algorithm 1, its expected value, published values."""

import numpy as np
import pytest
from keras import ops

import keras_mtl as mtl
from keras_mtl.utils.random import uniform
from tests.balancers import jacobian_oracles as oracles
from tests.balancers import jacobians, samplers


def literal(J, seed, leak=None):
    """The oracle, block by block with the numbers that the method draws."""
    updates = []
    for block in jacobians.cut(J):
        numbers = uniform(ops.arange(block.shape[1]), samplers.Seed(seed))
        numbers = ops.convert_to_numpy(numbers).astype("float64")
        updates.append(oracles.graddrop(block, numbers, leak))
    return np.concatenate(updates)


@pytest.mark.parametrize("leak", [0.0, 0.4, [0.0, 1.0, 0.2, 0.5]])
def test_equals_the_algorithm_on_full_vectors(leak):
    for seed in range(10):
        J = samplers.conflicting(4, seed=seed)
        balancer = mtl.balancers.GradDrop(leak=leak)
        expected = literal(J, seed, np.broadcast_to(leak, 4))
        found = jacobians.update(balancer, J, seed=seed)
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_published_value():
    """TorchJD's documentation has [6, 2, 2]: one of the two results there are."""
    seen = {
        tuple(jacobians.update(mtl.balancers.GradDrop(), samplers.EXAMPLE, seed=seed))
        for seed in range(20)
    }
    assert seen == {(6.0, 2.0, 2.0), (-4.0, 2.0, 2.0)}


@pytest.mark.parametrize("leak", [0.0, 0.5])
def test_the_expected_update_is_the_sum(leak):
    """Each coordinate many times: the mean over uniform numbers is near the sum."""
    J = samplers.conflicting(3, entries=6)
    copies = 20000
    block = np.repeat(J, copies, axis=1)
    numbers = uniform(ops.arange(block.shape[1]), samplers.Seed(3))
    found = mtl.balancers.graddrop_gradient(
        ops.array(block), ops.full((3,), leak, "float64"), ops.cast(numbers, "float64")
    )
    found = ops.convert_to_numpy(found).reshape(6, copies)
    error = np.abs(found.mean(axis=1) - J.sum(axis=0))
    assert np.all(error <= 4 * found.std(axis=1) / copies**0.5 + 1e-12)
    assert found.std(axis=1).max() > 0.1


def test_where_all_agree_it_is_the_sum():
    J = samplers.agreeing(4)
    for sign in (1, -1):
        found = jacobians.update(mtl.balancers.GradDrop(), sign * J)
        np.testing.assert_allclose(found, sign * J.sum(axis=0), atol=1e-12)


def test_without_leak_a_coordinate_has_entries_of_one_sign():
    J = samplers.conflicting(5)
    found = jacobians.update(mtl.balancers.GradDrop(), J)
    positive, negative = np.maximum(J, 0).sum(axis=0), np.minimum(J, 0).sum(axis=0)
    kept = np.isclose(found, positive) | np.isclose(found, negative)
    assert kept.all()
    assert np.isclose(found, positive).any()
    assert np.isclose(found, negative).any()


def test_blocks_and_steps_draw_different_numbers():
    """As the model's seed has it: a new draw for every block."""

    class Draws(samplers.Seed):
        def next(self):
            self.draw[0] += 1
            return super().next()

    J = np.tile([[1.0], [-1.0]], (1, 40))
    found, _ = mtl.balancers.GradDrop().combine(
        [ops.array(J), ops.array(J)],
        ops.array(J @ J.T),
        ops.ones(2),
        ops.ones(2, "bool"),
        {},
        Draws(5),
    )
    assert np.asarray(found[0]).tolist() != np.asarray(found[1]).tolist()
