"""MoCo: Algorithm 1 over several steps, its limit, values by hand."""

import numpy as np
import pytest
from keras import ops

import keras_mtl as mtl
from keras_mtl.linalg import simplex_projection
from tests.balancers import jacobian_oracles as oracles
from tests.balancers import jacobians, samplers
from tests.balancers import oracles as gram_oracles


@pytest.mark.parametrize("projection", ["simplex", "softmax"])
@pytest.mark.parametrize("num_tasks", [1, 2, 3, 6])
def test_equals_the_algorithm_over_steps(num_tasks, projection):
    for seed, (beta, gamma, rho) in enumerate([(0.5, 0.1, 0.0), (0.1, 0.01, 0.3)]):
        steps = jacobians.steps(num_tasks, count=6, seed=seed)
        balancer = mtl.balancers.MoCo(beta, gamma, rho, projection)
        updates, _ = jacobians.run(balancer, steps)
        expected = oracles.moco(steps, beta, gamma, rho, projection)
        np.testing.assert_allclose(updates, expected, atol=1e-11)


def test_steps_by_hand():
    """Two tasks along two axes; the average of step 1 is half of the gradient."""
    J = np.array([[2.0, 0.0], [0.0, 4.0]])
    balancer = mtl.balancers.MoCo(beta=0.5, gamma=0.1)
    (first, second), _ = jacobians.run(balancer, [J, J])
    # Y = diag(1, 2), w = (½ - 0.05, ½ - 0.2) = (0.45, 0.3), each + 0.125.
    np.testing.assert_allclose(first, [0.575 * 1.0, 0.425 * 2.0], atol=1e-12)
    # Y = diag(1.5, 3), w - 0.1 (2.25 · 0.575, 9 · 0.425), each + θ.
    moved = np.array([0.575 - 0.129375, 0.425 - 0.3825])
    weights = moved + (1 - moved.sum()) / 2
    np.testing.assert_allclose(second, weights * [1.5, 3.0], atol=1e-12)


def test_constant_gradients_lead_to_the_min_norm_point():
    """And the running averages to the gradients, by a factor 1 - β per step."""
    J = samplers.conflicting(3)
    balancer = mtl.balancers.MoCo(beta=0.3, gamma=0.02)
    updates, _ = jacobians.run(balancer, [J] * 400)
    np.testing.assert_allclose(updates[-1], gram_oracles.mgda(J), atol=1e-5)
    _, early = jacobians.run(balancer, [J] * 5)
    np.testing.assert_allclose(
        early["average_0"], (1 - 0.7**5) * J[:, : jacobians.SPLIT]
    )


def test_averages_take_out_noise():
    """The point of the method: the weights of noisy gradients settle."""
    J = samplers.conflicting(3)
    rng = np.random.default_rng(0)
    noisy = [J + 2.0 * rng.normal(size=J.shape) for _ in range(300)]
    spread = {}
    for beta in (1.0, 0.05):
        updates, _ = jacobians.run(mtl.balancers.MoCo(beta, gamma=0.01), noisy)
        spread[beta] = np.linalg.norm(np.std(updates[100:], axis=0))
    assert spread[0.05] < 0.5 * spread[1.0]


@pytest.mark.parametrize("num_tasks", [1, 2, 5, 16])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e12])
def test_projection_is_the_nearest_point(num_tasks, scale):
    rng = np.random.default_rng(num_tasks)
    for _ in range(20):
        v = scale * rng.normal(size=num_tasks)
        active = rng.random(num_tasks) < 0.8
        found = ops.convert_to_numpy(
            simplex_projection(ops.array(v), ops.array(active))
        )
        assert not found[~active].any()
        if active.any():
            expected = oracles.nearest_on_simplex(v[active] - v[active].max())
            np.testing.assert_allclose(found[active], expected, atol=1e-12)
