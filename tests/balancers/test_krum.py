"""Krum: section 4 on full vectors, outliers stay out, published value."""

import numpy as np
import pytest

import keras_mtl as mtl
from tests.balancers import samplers, stateful_oracles


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("num_tasks", "num_byzantine", "num_selected"),
    [(5, 0, 1), (5, 1, 1), (5, 1, 3), (8, 2, 4), (9, 3, 2), (12, 1, 12)],
)
def test_equals_the_rule_on_full_vectors(num_tasks, num_byzantine, num_selected, dtype):
    balancer = mtl.balancers.Krum(num_byzantine, num_selected)
    for seed in range(10):
        J = samplers.conflicting(num_tasks, seed=seed)
        found = samplers.weights(balancer, J, dtype=dtype) @ J
        expected = stateful_oracles.krum(J, num_byzantine, num_selected)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_published_value():
    """TorchJD's documentation: one adversarial row among five."""
    J = np.array(
        [[1.0, 1, 1], [1, 0, 1], [75, -666, 23], [1, 2, 3], [2, 0, 1]], "float64"
    )
    found = samplers.weights(mtl.balancers.Krum(1, num_selected=4), J)
    np.testing.assert_allclose(found, [0.25, 0.25, 0.0, 0.25, 0.25])
    np.testing.assert_allclose(found @ J, [1.25, 0.75, 1.5])


@pytest.mark.parametrize("num_selected", [1, 3])
@pytest.mark.parametrize("num_byzantine", [1, 2, 4])
def test_outliers_are_not_selected(num_byzantine, num_selected):
    """However far they are, alone or together, and the update keeps the direction."""
    num_tasks = 2 * num_byzantine + 3
    balancer = mtl.balancers.Krum(num_byzantine, num_selected)
    rng = np.random.default_rng(5)
    direction = rng.normal(size=20)
    for distance in (20.0, 1e3, 1e6):
        J = direction + 0.1 * rng.normal(size=(num_tasks, 20))
        J[:num_byzantine] -= distance * direction
        found = samplers.weights(balancer, J)
        assert found[:num_byzantine].tolist() == [0] * num_byzantine
        assert found.sum() == pytest.approx(1)
        assert found @ J @ direction > 0


def test_by_hand():
    """On a line: with one neighbour each, 0 and 1 are the nearest pair and tie."""
    J = np.array([[0.0], [1.0], [3.0], [9.0]])
    found = samplers.weights(mtl.balancers.Krum(num_byzantine=0), J[:3])
    np.testing.assert_allclose(found, [0.5, 0.5, 0.0])
    # Two neighbours each: scores 1 + 9, 1 + 4, 4 + 9, 36 + 64.
    found = samplers.weights(mtl.balancers.Krum(num_byzantine=0), J)
    np.testing.assert_allclose(found, [0, 1, 0, 0])
    found = samplers.weights(mtl.balancers.Krum(0, num_selected=2), J)
    np.testing.assert_allclose(found, [0.5, 0.5, 0, 0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equal_gradients_share(dtype):
    J = np.ones((4, 3))
    found = samplers.weights(mtl.balancers.Krum(num_selected=3), J, dtype=dtype)
    np.testing.assert_allclose(found, 0.25)


def test_unlabelled_tasks_are_no_neighbours():
    """Their zero gradients would be the best company of short ones."""
    J = np.array([[5.0], [5.1], [0.1], [5.3], [7.0], [1.0]])
    active = np.array([True, True, True, True, True, False])
    balancer = mtl.balancers.Krum(num_byzantine=1, num_selected=2)
    found = samplers.weights(balancer, J, active=active)
    alone = samplers.weights(balancer, J[:5])
    np.testing.assert_allclose(found[:5], alone)
    assert found[5] == 0


def test_fewer_labelled_tasks_than_neighbours():
    balancer = mtl.balancers.Krum(num_byzantine=1, num_selected=3)
    J = samplers.conflicting(5)
    active = np.array([True, True, False, False, False])
    found = samplers.weights(balancer, J, active=active)
    np.testing.assert_allclose(found, [0.5, 0.5, 0, 0, 0])
