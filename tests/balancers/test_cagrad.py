"""CAGrad: the dual by scipy, the primal's properties, published values."""

import numpy as np
import pytest

import keras_mtl as mtl
from tests.balancers import oracles, samplers

SIZES = (1, 2, 3, 5, 8)


def update(J, c, rescale=0, dtype="float64"):
    balancer = mtl.balancers.CAGrad(c=c, rescale=rescale)
    return samplers.weights(balancer, J, dtype=dtype) @ J


@pytest.mark.parametrize("c", [0.2, 0.4, 0.8])
@pytest.mark.parametrize("num_tasks", SIZES)
def test_equals_the_algorithm_on_full_vectors(num_tasks, c):
    for seed in range(3):
        J = samplers.conflicting(num_tasks, seed=seed)
        expected = oracles.cagrad(J, c)
        np.testing.assert_allclose(
            update(J, c), expected, atol=1e-4 * np.linalg.norm(expected)
        )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("c", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("num_tasks", SIZES)
def test_best_of_its_ball_for_the_worst_task(num_tasks, c, dtype):
    """`‖d - g₀‖ <= c ‖g₀‖`, and no point of that ball has a better worst task."""
    rng = np.random.default_rng(num_tasks)
    for seed, entries in enumerate((2, 3, 5, 20)):
        J = samplers.conflicting(num_tasks, entries, seed)
        mean = J.mean(axis=0)
        radius = c * np.linalg.norm(mean)
        found = update(J, c, dtype=dtype)
        assert np.linalg.norm(found - mean) <= radius * (1 + 1e-4)
        directions = rng.normal(size=(2000, entries))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        others = mean + radius * directions
        tolerance = 1e-4 * radius * np.linalg.norm(J, axis=1).max()
        assert (others @ J.T).min(axis=1).max() <= (J @ found).min() + tolerance


@pytest.mark.parametrize("num_tasks", SIZES)
@pytest.mark.parametrize("rescale", [0, 1, 2])
def test_without_a_ball_it_is_the_mean(num_tasks, rescale):
    J = samplers.conflicting(num_tasks)
    found = samplers.weights(mtl.balancers.CAGrad(c=0.0, rescale=rescale), J)
    np.testing.assert_allclose(found, 1 / num_tasks, atol=1e-12)


@pytest.mark.parametrize("c", [0.4, 1.0])
def test_rescaling(c):
    J = samplers.conflicting(3)
    plain = update(J, c)
    np.testing.assert_allclose(update(J, c, rescale=1), plain / (1 + c**2), rtol=1e-9)
    np.testing.assert_allclose(update(J, c, rescale=2), plain / (1 + c), rtol=1e-9)


def test_published_value():
    """TorchJD's documentation, c = 0.5: weights [0.7041, 0.5], no rescaling."""
    balancer = mtl.balancers.CAGrad(c=0.5, rescale=0)
    found = samplers.weights(balancer, samplers.EXAMPLE)
    np.testing.assert_allclose(found, [0.7041, 0.5], atol=1e-4)
    np.testing.assert_allclose(
        found @ samplers.EXAMPLE, [0.1835, 1.2041, 1.2041], atol=1e-4
    )


def test_orthogonal_gradients_by_hand():
    """g₀ = (½, ½), w = (½, ½): ½ + c ½ for both tasks, over 1 + c²."""
    found = samplers.weights(mtl.balancers.CAGrad(c=0.5), np.eye(2))
    np.testing.assert_allclose(found, [0.6, 0.6], atol=1e-9)


@pytest.mark.parametrize("eps", [1e-2, 1e-4, 1e-6, 0.0])
@pytest.mark.parametrize("c", [0.5, 1.0])
def test_near_a_pareto_stationary_point_it_stays_in_the_ball(eps, c):
    """There ‖g_w‖ is rounding noise in float32."""
    rng = np.random.default_rng(3)
    for _ in range(5):
        J = rng.normal(size=(3, 50))
        J = (J - J.mean(axis=0)) * rng.uniform(0.5, 2, size=(3, 1))
        J = J + eps * rng.normal(size=50)
        mean = J.mean(axis=0)
        found = update(J, c, dtype="float32")
        distance = np.linalg.norm(found - mean) / np.linalg.norm(mean)
        assert distance <= c * (1 + 1e-3)


@pytest.mark.parametrize("num_tasks", [4, 9])
def test_gradients_of_very_different_lengths(num_tasks):
    """The worst-off task is a short one; the long ones must not hide it."""
    rng = np.random.default_rng(17)
    for _ in range(10):
        J = rng.normal(size=(num_tasks, 2 * num_tasks))
        J = J * 10.0 ** rng.uniform(-3, 3, size=(num_tasks, 1))
        mean, c = J.mean(axis=0), 0.5
        weights = samplers.weights(mtl.balancers.CAGrad(c, rescale=0), J)
        found = weights @ J
        w = weights - 1 / num_tasks  # along the solution of the dual
        g_w = w / w.sum() @ J
        dual = g_w @ mean + c * np.linalg.norm(mean) * np.linalg.norm(g_w)
        # Strong duality: the worst task gains what the dual promises.
        assert (J @ found).min() == pytest.approx(dual, rel=1e-4)
