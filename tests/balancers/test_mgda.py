"""MGDA: optimality conditions, descent for all tasks, published values."""

import numpy as np
import pytest

import keras_mtl as mtl
from tests.balancers import oracles, samplers

SIZES = (1, 2, 3, 5, 8)


def jacobians(num_tasks):
    """Short and long gradients: with few entries the hull often holds zero."""
    for seed, entries in enumerate((2, 3, 5, 20, 50, 3, 5)):
        yield samplers.conflicting(num_tasks, entries, seed)


@pytest.mark.parametrize("num_tasks", SIZES)
def test_optimality_conditions(num_tasks):
    """`G w >= wᵀ G w` in every entry, with equality where the weight is positive."""
    for J in jacobians(num_tasks):
        w = samplers.weights(mtl.balancers.MGDA(), J)
        gram = J @ J.T
        slack = gram @ w - w @ gram @ w
        tolerance = 1e-9 * gram.max()
        assert np.all(w >= 0)
        assert w.sum() == pytest.approx(1)
        assert np.all(slack >= -tolerance)
        assert np.all(np.abs(slack[w > 1e-7]) <= tolerance)


@pytest.mark.parametrize("num_tasks", SIZES)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-9)])
def test_every_task_descends_or_nothing_moves(num_tasks, dtype, tolerance):
    """The theorem of Désidéri, 2012: `gᵢ · d >= ‖d‖²` for every task."""
    for J in jacobians(num_tasks):
        update = samplers.weights(mtl.balancers.MGDA(), J, dtype=dtype) @ J
        scale = (J @ J.T).max()
        assert np.all(J @ update >= update @ update - tolerance * scale)


@pytest.mark.parametrize("num_tasks", SIZES[1:])
def test_as_short_as_scipys(num_tasks):
    for J in list(jacobians(num_tasks))[:5]:
        found = samplers.weights(mtl.balancers.MGDA(), J) @ J
        best = np.linalg.norm(oracles.mgda(J))
        assert np.linalg.norm(found) <= best * (1 + 1e-6) + 1e-6 * np.abs(J).max()


@pytest.mark.parametrize(
    ("J", "expected"),
    [
        (samplers.EXAMPLE, [0.0, 1.0, 1.0]),  # TorchJD's documentation
        ([[2.0, 0.0], [0.0, 2.0]], [1.0, 1.0]),
        ([[1.0, 0.0], [3.0, 1.0]], [1.0, 0.0]),
        ([[1.0, 1.0], [-1.0, 1.0], [0.0, 5.0]], [0.0, 1.0]),
        ([[1.0, 0.0], [-2.0, 0.0]], [0.0, 0.0]),
    ],
)
def test_by_hand(J, expected):
    J = np.array(J)
    found = samplers.weights(mtl.balancers.MGDA(), J) @ J
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("normalization", "divisor"),
    [
        ("none", lambda J, losses: np.ones(len(J))),
        ("l2", lambda J, losses: np.linalg.norm(J, axis=1)),
        ("loss", lambda J, losses: losses),
        ("loss+", lambda J, losses: losses * np.linalg.norm(J, axis=1)),
    ],
)
def test_normalisations(normalization, divisor):
    """Weights are sought for the divided gradients, and applied to the others."""
    J, losses = samplers.conflicting(4), np.array([0.2, 3.0, 1.0, 7.0])
    balancer = mtl.balancers.MGDA(normalization=normalization)
    divided = J / divisor(J, losses)[:, None]
    np.testing.assert_allclose(
        samplers.weights(balancer, J, losses),
        samplers.weights(mtl.balancers.MGDA(), divided),
        atol=1e-8,
    )
