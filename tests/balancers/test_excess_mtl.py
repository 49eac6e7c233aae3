"""ExcessMTL: the paper's equations over several steps, its idea, values by hand."""

import numpy as np
import pytest

import keras_mtl as mtl
from tests.balancers import jacobian_oracles as oracles
from tests.balancers import jacobians, samplers


def weights(state):
    powers = np.exp(state["log_weights"])
    return powers / powers.sum()


@pytest.mark.parametrize("eta", [0.01, 0.5, 3.0])
@pytest.mark.parametrize("num_tasks", [1, 2, 5])
def test_equals_the_equations_over_steps(num_tasks, eta):
    steps = jacobians.steps(num_tasks, count=6)
    updates, _ = jacobians.run(mtl.balancers.ExcessMTL(eta), steps)
    np.testing.assert_allclose(updates, oracles.excess_mtl(steps, eta), atol=1e-11)


def test_steps_by_hand():
    """Equal at first; then e = 4/√5 over 1 for the first, 1/√2 for the second task."""
    first, second = np.eye(2), np.diag([2.0, 1.0])
    updates, _ = jacobians.run(mtl.balancers.ExcessMTL(1.0), [first, second])
    np.testing.assert_allclose(updates[0], [0.5, 0.5], atol=1e-12)
    powers = np.exp([4 / 5**0.5, 1 / 2**0.5])
    w = powers / powers.sum()
    np.testing.assert_allclose(updates[1], w * [2.0, 1.0], atol=1e-12)


def test_the_task_that_converges_loses_weight():
    """Task 0 shrinks, task 1 stays: its weight grows from step to step."""
    J = samplers.conflicting(2)
    steps = [J * np.array([[0.5**t], [1.0]]) for t in range(8)]
    shares = [
        weights(jacobians.run(mtl.balancers.ExcessMTL(0.5), steps[:n])[1])[1]
        for n in range(1, 9)
    ]
    assert np.all(np.diff(shares) > 0)


def test_scaled_gradients_get_the_same_weights():
    steps, scales = jacobians.steps(3), np.array([[1e-6], [1.0], [1e6]])
    balancer = mtl.balancers.ExcessMTL(0.5)
    _, plain = jacobians.run(balancer, steps)
    _, scaled = jacobians.run(balancer, [J * scales for J in steps])
    np.testing.assert_allclose(weights(scaled), weights(plain), rtol=1e-9)


def test_weights_stay_finite_over_many_and_huge_steps():
    """The smaller of two weights falls below what an exponent can hold."""
    J = samplers.conflicting(2)
    steps = [J] + [J * np.array([[1e6], [1e-6]])] * 40
    for dtype in ("float32", "float64"):
        updates, state = jacobians.run(mtl.balancers.ExcessMTL(2.0), steps, dtype=dtype)
        assert np.all(np.isfinite(updates[-1]))
        assert np.all(np.isfinite(state["log_weights"]))
        np.testing.assert_allclose(updates[-1], steps[-1][0], rtol=1e-5)
