"""DualProj: the projection by NNLS in full vectors, optimality, values."""

import numpy as np
import pytest

import keras_mtl as mtl
from tests.balancers import samplers, solver_oracles

SIZES = (1, 2, 3, 5, 8)


def weights(J, dtype="float64", preference=None):
    return samplers.weights(mtl.balancers.DualProj(preference), J, dtype=dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-8)])
@pytest.mark.parametrize("num_tasks", SIZES)
def test_equals_the_projection_of_full_vectors(num_tasks, dtype, tolerance):
    for seed in range(5):
        J = samplers.conflicting(num_tasks, seed=seed)
        expected = solver_oracles.dualproj(J, np.full(num_tasks, 1 / num_tasks))
        found = weights(J, dtype) @ J
        np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(J).max())


@pytest.mark.parametrize("num_tasks", SIZES)
def test_no_task_loses_and_nothing_nearer_can_say_so(num_tasks):
    rng = np.random.default_rng(num_tasks)
    for seed, entries in enumerate((3, 5, 20)):
        J = samplers.conflicting(num_tasks, entries, seed)
        found, mean = weights(J) @ J, J.mean(axis=0)
        assert (J @ found).min() >= -1e-8
        others = found + 0.5 * rng.normal(size=(2000, entries))
        others = others[(others @ J.T).min(axis=1) >= 0]
        distance = np.linalg.norm(found - mean)
        assert np.all(np.linalg.norm(others - mean, axis=1) >= distance - 1e-8)


@pytest.mark.parametrize("num_tasks", SIZES)
def test_without_conflict_it_is_the_mean(num_tasks):
    found = weights(samplers.agreeing(num_tasks))
    np.testing.assert_allclose(found, 1 / num_tasks, rtol=1e-12)


def test_published_value():
    """TorchJD's documentation, to its regularisation of 1e-4."""
    found = weights(samplers.EXAMPLE) @ samplers.EXAMPLE
    np.testing.assert_allclose(found, [0.5563, 1.1109, 1.1109], atol=1e-3)


def test_two_tasks_by_hand():
    """The mean (-1, ½) would harm the first task: (0, ½) harms none."""
    J = np.array([[1.0, 0.0], [-3.0, 1.0]])
    found = weights(J)
    np.testing.assert_allclose(found, [1.5, 0.5], atol=1e-9)
    np.testing.assert_allclose(found @ J, [0.0, 0.5], atol=1e-9)


def test_preference():
    J, p = samplers.conflicting(3, 5, seed=2), np.array([0.25, 0.0, 0.75])
    found = weights(J, preference=[1, 0, 3]) @ J
    np.testing.assert_allclose(found, solver_oracles.dualproj(J, p), atol=1e-8)
