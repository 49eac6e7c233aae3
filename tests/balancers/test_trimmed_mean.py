"""TrimmedMean: its definition, corrupted tasks, published values."""

import numpy as np
import pytest

import keras_mtl as mtl
from tests.balancers import jacobian_oracles as oracles
from tests.balancers import jacobians, samplers


@pytest.mark.parametrize(
    ("num_tasks", "trim_number"), [(1, 0), (3, 0), (3, 1), (6, 1), (6, 2), (9, 4)]
)
def test_equals_the_definition(num_tasks, trim_number):
    balancer = mtl.balancers.TrimmedMean(trim_number)
    for seed in range(5):
        J = samplers.conflicting(num_tasks, seed=seed)
        expected = oracles.trimmed_mean(J, trim_number)
        np.testing.assert_allclose(jacobians.update(balancer, J), expected, atol=1e-12)


def test_published_value():
    """TorchJD's documentation: [1.5, 2.5]."""
    J = np.array([[1e11, 3.0], [1.0, -1e11], [-1e10, 1e10], [2.0, 2.0]])
    found = jacobians.update(mtl.balancers.TrimmedMean(1), J)
    np.testing.assert_allclose(found, [1.5, 2.5])


@pytest.mark.parametrize("corrupted", [1e12, -1e12])
def test_corrupted_tasks_cannot_leave_the_range_of_the_others(corrupted):
    J = samplers.conflicting(7)
    sound = J[2:]
    J[:2] = corrupted * np.abs(J[:2])
    found = jacobians.update(mtl.balancers.TrimmedMean(2), J)
    assert np.all(found <= sound.max(axis=0))
    assert np.all(found >= sound.min(axis=0))
    mean = jacobians.update(mtl.balancers.TrimmedMean(0), J)
    assert np.abs(mean).min() > np.abs(sound).max()


def test_nothing_dropped_is_the_mean():
    J = samplers.conflicting(4)
    found = jacobians.update(mtl.balancers.TrimmedMean(0), J)
    np.testing.assert_allclose(found, J.mean(axis=0), atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_too_few_active_tasks_give_the_median(count):
    J = samplers.conflicting(5)
    active = np.arange(5) < count
    found = jacobians.update(mtl.balancers.TrimmedMean(2), J, actives=[active])
    np.testing.assert_allclose(found, np.median(J[active], axis=0), atol=1e-12)
