"""UPGrad: projections by NNLS in full vectors, its three properties, values."""

import numpy as np
import pytest

import keras_mtl as mtl
from tests.balancers import samplers, solver_oracles

SIZES = (1, 2, 3, 5, 8)


def weights(J, dtype="float64", preference=None):
    return samplers.weights(mtl.balancers.UPGrad(preference), J, dtype=dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-8)])
@pytest.mark.parametrize("entries", [2, 5, 20])
@pytest.mark.parametrize("num_tasks", SIZES)
def test_equals_the_projections_of_full_vectors(num_tasks, entries, dtype, tolerance):
    for seed in range(3):
        J = samplers.conflicting(num_tasks, entries, seed)
        if dtype == "float32" and entries <= num_tasks:
            J = samplers.agreeing(num_tasks, entries, seed) - 0.5
        expected = solver_oracles.upgrad(J, np.full(num_tasks, 1 / num_tasks))
        found = weights(J, dtype) @ J
        if entries <= num_tasks:  # singular: the update is right to √rounding
            tolerance = max(tolerance, 3e-3 if dtype == "float32" else 3e-6)
        np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(J).max())


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 3e-6), ("float64", 1e-9)])
@pytest.mark.parametrize("num_tasks", SIZES)
def test_no_task_loses(num_tasks, dtype, tolerance):
    """Non-conflicting, for hulls that hold zero, too."""
    for seed, entries in enumerate((2, 3, 5, 20, 50)):
        J = samplers.conflicting(num_tasks, entries, seed)
        w = weights(J, dtype)
        slack = tolerance * (np.linalg.norm(J, axis=1) * w).sum()
        assert np.all(J @ (w @ J) >= -slack * np.linalg.norm(J, axis=1))


@pytest.mark.parametrize("num_tasks", SIZES)
def test_without_conflict_it_is_the_mean(num_tasks):
    found = weights(samplers.agreeing(num_tasks))
    np.testing.assert_allclose(found, 1 / num_tasks, rtol=1e-12)


def test_linear_in_the_scale_of_each_task():
    """Linear under scaling: `A(diag(c) J)` is linear in `c`."""
    J, c = samplers.conflicting(4, 6), np.array([0.1, 1.0, 5.0, 30.0])

    def update(factors):
        return weights(factors[:, None] * J) @ (factors[:, None] * J)

    np.testing.assert_allclose(update(c + 1), update(c) + update(np.ones(4)), atol=1e-9)
    np.testing.assert_allclose(update(3 * c), 3 * update(c), atol=1e-9)


def test_published_value():
    """TorchJD's documentation, to its regularisation of 1e-4."""
    found = weights(samplers.EXAMPLE) @ samplers.EXAMPLE
    np.testing.assert_allclose(found, [0.2929, 1.9004, 1.9004], atol=1e-3)
    np.testing.assert_allclose(found, [0.2924, 1.9006, 1.9006], atol=1e-4)


def test_two_tasks_by_hand():
    """Each is moved off the other: (1, 0) becomes (½, ½), (-1, 1) becomes (0, 1)."""
    J = np.array([[1.0, 0.0], [-1.0, 1.0]])
    np.testing.assert_allclose(weights(J) @ J, [0.25, 0.75], atol=1e-9)


@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_preference(scale):
    """Only the ratios count, and a task without one still may not lose."""
    J, p = samplers.conflicting(3, 5, seed=2), np.array([0.25, 0.0, 0.75])
    found = weights(J, preference=list(scale * p)) @ J
    np.testing.assert_allclose(found, solver_oracles.upgrad(J, p), atol=1e-8)
    assert (J @ found).min() >= -1e-9
