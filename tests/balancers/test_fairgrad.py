"""FairGrad: the α-fair utilities in full vectors, its limits, values."""

import numpy as np
import pytest

import keras_mtl as mtl
from tests.balancers import samplers, solver_oracles

SIZES = (1, 2, 3, 5, 8)
ALPHAS = (0.5, 1.0, 2.0, 5.0)


def weights(J, alpha, dtype="float64"):
    return samplers.weights(mtl.balancers.FairGrad(alpha=alpha), J, dtype=dtype)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("num_tasks", SIZES)
def test_equals_the_fair_update_on_full_vectors(num_tasks, alpha):
    for seed in range(3):
        J = samplers.conflicting(num_tasks, seed=seed)
        expected = solver_oracles.alpha_fair(J, alpha)
        for dtype, tolerance in (("float32", 1e-4), ("float64", 1e-6)):
            np.testing.assert_allclose(
                weights(J, alpha, dtype) @ J,
                expected,
                atol=tolerance * np.linalg.norm(expected),
            )


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("num_tasks", SIZES)
def test_equation_of_the_paper(num_tasks, alpha):
    J = samplers.conflicting(num_tasks)
    w = weights(J, alpha)
    assert np.all(w > 0)
    np.testing.assert_allclose(J @ (w @ J), w ** (-1 / alpha), rtol=1e-7)


def test_one_is_the_solution_of_nash():
    J = samplers.conflicting(5)
    nash = samplers.weights(mtl.balancers.NashMTL(max_norm=None), J)
    np.testing.assert_allclose(weights(J, 1.0), nash, rtol=1e-12)


@pytest.mark.parametrize("length", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("alpha", [0.1, *ALPHAS, 10.0])
def test_one_task_by_hand(length, alpha):
    """`d² w = w^(-1/α)`, so `w = d^(-2α / (1 + α))`."""
    (found,) = weights(np.array([[0.0, length]]), alpha)
    assert found == pytest.approx(length ** (-2 * alpha / (1 + alpha)), rel=1e-9)


def test_large_alpha_cares_for_the_worst_off_and_small_for_the_sum():
    J = samplers.conflicting(3, seed=1)

    def gains(alpha):
        update = weights(J, alpha) @ J
        return J @ update / np.linalg.norm(update)

    least = [gains(alpha).min() for alpha in (0.1, 0.5, 1.0, 2.0, 10.0)]
    total = [gains(alpha).sum() for alpha in (0.1, 0.5, 1.0, 2.0, 10.0)]
    assert least == sorted(least)
    assert total == sorted(total, reverse=True)
    steepest = np.linalg.norm(J.sum(axis=0))
    assert gains(0.01).sum() == pytest.approx(steepest, rel=1e-2)
    shortest = solver_oracles.min_norm_point(J)
    assert gains(200.0).min() == pytest.approx(np.linalg.norm(shortest), rel=1e-2)
