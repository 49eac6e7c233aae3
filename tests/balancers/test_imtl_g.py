"""IMTL-G: the paper's closed form, equal projections, values."""

import numpy as np
import pytest

import keras_mtl as mtl
from tests.balancers import samplers, solver_oracles

SIZES = (1, 2, 3, 5, 8)


def weights(J, dtype="float64"):
    return samplers.weights(mtl.balancers.IMTLG(), J, dtype=dtype)


def unit(J):
    return J / np.linalg.norm(J, axis=1, keepdims=True)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-3), ("float64", 1e-9)])
@pytest.mark.parametrize("num_tasks", SIZES)
def test_equals_the_algorithm_on_full_vectors(num_tasks, dtype, tolerance):
    for seed in range(5):
        J = samplers.conflicting(num_tasks, seed=seed)
        np.testing.assert_allclose(
            weights(J, dtype) @ J,
            solver_oracles.imtl_g(J),
            atol=tolerance * np.abs(J).max(),
        )


@pytest.mark.parametrize("num_tasks", SIZES)
def test_projections_on_all_unit_gradients_are_equal(num_tasks):
    J = samplers.conflicting(num_tasks) * 10.0 ** np.arange(num_tasks)[:, None]
    found = weights(J)
    assert found.sum() == pytest.approx(1)
    projections = unit(J) @ (found @ J)
    np.testing.assert_allclose(projections, projections[0], rtol=1e-7)


def test_published_value():
    """TorchJD's documentation: [0.0767, 1, 1]."""
    found = weights(samplers.EXAMPLE) @ samplers.EXAMPLE
    np.testing.assert_allclose(found, [0.0767, 1.0, 1.0], atol=1e-4)


def test_parallel_gradients_share():
    """A task counted twice: the same direction, and no infinite weights."""
    J = samplers.conflicting(3)
    once, twice = weights(J) @ J, weights(J[[0, 1, 2, 2]]) @ J[[0, 1, 2, 2]]
    np.testing.assert_allclose(unit(twice[None]), unit(once[None]), atol=1e-9)
    found = weights(J[[0, 1, 2, 2]])
    assert found[2] == pytest.approx(found[3])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nothing_moves_where_no_projections_are_equal(dtype):
    J = samplers.conflicting(2)[0]
    found = weights(np.stack([J, -3 * J]), dtype)
    assert found.tolist() == [0, 0]
