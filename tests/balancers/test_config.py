"""ConFIG: the paper's equations, equal cosines, values."""

import numpy as np
import pytest

import keras_mtl as mtl
from tests.balancers import samplers, solver_oracles

SIZES = (1, 2, 3, 5, 8)


def weights(J, dtype="float64", preference=None):
    return samplers.weights(mtl.balancers.ConFIG(preference), J, dtype=dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-9)])
@pytest.mark.parametrize("entries", [3, 20])
@pytest.mark.parametrize("num_tasks", SIZES)
def test_equals_the_equations_on_full_vectors(num_tasks, entries, dtype, tolerance):
    """With three entries and more tasks, the cosines are least squares."""
    for seed in range(5):
        J = samplers.conflicting(num_tasks, entries, seed)
        expected = solver_oracles.config(J, np.ones(num_tasks))
        found = weights(J, dtype) @ J
        size = np.linalg.norm(J, axis=1).sum()
        np.testing.assert_allclose(found, expected, atol=tolerance * size)


@pytest.mark.parametrize("preference", [None, [1, 1, 1, 1], [1, 2, 3, 4]])
def test_cosines_to_all_gradients_are_equal_or_as_wanted(preference):
    J = samplers.conflicting(4) * np.array([[1e-3], [1.0], [1e2], [1e4]])
    update = weights(J, preference=preference) @ J
    cosines = J @ update / np.linalg.norm(J, axis=1) / np.linalg.norm(update)
    wanted = np.ones(4) if preference is None else np.array(preference)
    assert cosines[0] > 0
    np.testing.assert_allclose(cosines, cosines[0] * wanted, rtol=1e-7)


@pytest.mark.parametrize("num_tasks", SIZES)
def test_as_long_as_the_projections_together(num_tasks):
    J = samplers.conflicting(num_tasks)
    update = weights(J) @ J
    length = np.linalg.norm(update)
    assert (J @ update).sum() / length == pytest.approx(length)


def test_published_value():
    """TorchJD's documentation: [0.1588, 2.0706, 2.0706]."""
    found = weights(samplers.EXAMPLE) @ samplers.EXAMPLE
    np.testing.assert_allclose(found, [0.1588, 2.0706, 2.0706], atol=1e-4)


def test_orthogonal_gradients_by_hand():
    """b̂ = (1, 1)/√2 and Σ gᵢ · b̂ = 4/√2: the update is (2, 2)."""
    found = weights(np.diag([3.0, 1.0])) @ np.diag([3.0, 1.0])
    np.testing.assert_allclose(found, [2.0, 2.0], atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nothing_moves_where_gradients_are_opposite(dtype):
    row = samplers.conflicting(1)[0]
    assert weights(np.stack([row, -3 * row]), dtype).tolist() == [0, 0]
