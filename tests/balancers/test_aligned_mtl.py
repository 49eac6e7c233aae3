"""Aligned-MTL: singular values of the full matrix, condition number 1, values."""

import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl.balancers.aligned_mtl import aligned_mtl_weights
from tests.balancers import samplers, solver_oracles

SIZES = (1, 2, 3, 5, 8)
SCALES = ("min", "median", "rmse")


def weights(J, dtype="float64", **config):
    return samplers.weights(mtl.balancers.AlignedMTL(**config), J, dtype=dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-9)])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("num_tasks", SIZES)
def test_equals_the_algorithm_on_full_vectors(num_tasks, scale, dtype, tolerance):
    for seed in range(4):
        J = samplers.conflicting(num_tasks, seed=seed)
        p = np.full(num_tasks, 1 / num_tasks)
        expected = solver_oracles.aligned_mtl(J, p, scale)
        found = weights(J, dtype, scale=scale) @ J
        np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(J).max())


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_what_is_not_there_has_no_length(rank, scale):
    """Five gradients in fewer dimensions: the others' singular value is no minimum."""
    rng = np.random.default_rng(rank)
    J = rng.normal(size=(5, rank)) @ rng.normal(size=(rank, 20))
    expected = solver_oracles.aligned_mtl(J, np.full(5, 0.2), scale)
    np.testing.assert_allclose(weights(J, scale=scale) @ J, expected, atol=1e-7)


@pytest.mark.parametrize("scale", SCALES)
def test_aligned_gradients_have_condition_number_one(scale):
    """The theorem: `Bᵀ J` has one singular value, for `B` of the unit preferences."""
    J = samplers.conflicting(4)
    gram, active = (J @ J.T), np.ones(4, bool)
    rows = [np.array(aligned_mtl_weights(gram, active, e, scale)) for e in np.eye(4)]
    s = np.linalg.svd(np.stack(rows) @ J, compute_uv=False)
    np.testing.assert_allclose(s, s[0], rtol=1e-9)
    if scale == "min":
        assert s[0] == pytest.approx(np.linalg.svd(J, compute_uv=False).min())


def test_published_value():
    """TorchJD's documentation: [0.2133, 0.9673, 0.9673]."""
    found = weights(samplers.EXAMPLE) @ samplers.EXAMPLE
    np.testing.assert_allclose(found, [0.2133, 0.9673, 0.9673], atol=1e-4)


@pytest.mark.parametrize(
    ("scale", "size"), [("min", 1.0), ("median", 2.0), ("rmse", (14 / 3) ** 0.5)]
)
def test_orthogonal_gradients_by_hand(scale, size):
    found = weights(np.diag([2.0, 3.0, 1.0]), scale=scale)
    np.testing.assert_allclose(found, size / 3 / np.array([2, 3, 1]), rtol=1e-9)


def test_preference():
    J, p = samplers.conflicting(3), np.array([0.25, 0.0, 0.75])
    found = weights(J, preference=[1, 0, 3]) @ J
    np.testing.assert_allclose(found, solver_oracles.aligned_mtl(J, p), atol=1e-9)
