"""Nash-MTL: the bargaining problem by Newton in full vectors, its axioms, values."""

import numpy as np
import pytest

import keras_mtl as mtl
from tests.balancers import samplers, solver_oracles

SIZES = (1, 2, 3, 5, 8)
PLAIN = mtl.balancers.NashMTL(max_norm=None)


def weights(J, dtype="float64", **config):
    return samplers.weights(mtl.balancers.NashMTL(**config), J, dtype=dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-6)])
@pytest.mark.parametrize("num_tasks", SIZES)
def test_equals_the_bargaining_solution_on_full_vectors(num_tasks, dtype, tolerance):
    for seed in range(4):
        J = samplers.conflicting(num_tasks, seed=seed)
        expected = solver_oracles.alpha_fair(J, alpha=1)
        found = samplers.weights(PLAIN, J, dtype=dtype) @ J
        np.testing.assert_allclose(
            found, expected, atol=tolerance * np.linalg.norm(expected)
        )


@pytest.mark.parametrize("num_tasks", SIZES)
def test_claim_of_the_paper(num_tasks):
    """`G w = 1 / w` with positive weights, hence gains for all and norm √K."""
    J = samplers.conflicting(num_tasks)
    w = samplers.weights(PLAIN, J)
    assert np.all(w > 0)
    np.testing.assert_allclose(J @ (w @ J) * w, 1, rtol=1e-8)
    assert np.linalg.norm(w @ J) == pytest.approx(num_tasks**0.5)


def test_scales_of_the_losses_do_not_matter():
    """The axiom of invariance to affine transformations."""
    J, factors = samplers.conflicting(4), np.array([1e-6, 3.0, 1e4, 0.2])
    expected = samplers.weights(PLAIN, J)
    found = samplers.weights(PLAIN, J * factors[:, None])
    np.testing.assert_allclose(found * factors, expected, rtol=1e-9)


@pytest.mark.parametrize("num_tasks", SIZES)
def test_no_other_update_of_that_length_gains_more(num_tasks):
    rng = np.random.default_rng(num_tasks)
    J = samplers.conflicting(num_tasks)
    best = weights(J) @ J
    others = best + 0.3 * rng.normal(size=(500, J.shape[1]))
    others /= np.linalg.norm(others, axis=1, keepdims=True) / np.linalg.norm(best)
    gains = np.maximum(others @ J.T, 1e-300)
    assert np.log(gains).sum(axis=1).max() < np.log(J @ best).sum()


def test_published_value():
    """TorchJD's documentation: [0.0542, 0.7061, 0.7061], to the accuracy of ECOS."""
    np.testing.assert_allclose(
        weights(samplers.EXAMPLE) @ samplers.EXAMPLE,
        [0.0542, 0.7061, 0.7061],
        atol=2e-4,
    )


@pytest.mark.parametrize("cosine", [-0.99, -0.5, 0.0, 0.7, 1.0])
def test_two_tasks_by_hand(cosine):
    """`w_i = 1 / (d_i √(1 + c))`."""
    J = np.array([[3.0, 0.0], [0.5 * cosine, 0.5 * (1 - cosine**2) ** 0.5]])
    expected = 1 / np.array([3.0, 0.5]) / (1 + cosine) ** 0.5
    np.testing.assert_allclose(samplers.weights(PLAIN, J), expected, rtol=1e-8)


@pytest.mark.parametrize("max_norm", [0.1, 1.0, 100.0])
def test_the_norm_is_limited(max_norm):
    J = samplers.conflicting(4)
    found, plain = weights(J, max_norm=max_norm), samplers.weights(PLAIN, J)
    np.testing.assert_allclose(found, plain * min(1.0, max_norm / 2.0), rtol=1e-8)


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e3), ("float64", 2e6)])
def test_a_pareto_stationary_point_leaves_the_weights_bounded(dtype, bound):
    """There is no solution; the combination that vanishes is approached."""
    J = np.array([[2.0, 0.0], [-1.0, 0.0]])
    found = weights(J, dtype=dtype)
    assert np.all(found > 0)
    assert np.all(found <= bound)
    np.testing.assert_allclose(found[1] / found[0], 2, rtol=1e-5)
