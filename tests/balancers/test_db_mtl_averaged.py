"""DB-MTL with averaging: Algorithm 1 over several steps, equal lengths, by hand."""

import numpy as np
import pytest

import keras_mtl as mtl
from tests.balancers import jacobian_oracles as oracles
from tests.balancers import jacobians, samplers


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("num_tasks", [1, 2, 5])
def test_equals_the_algorithm_over_steps(num_tasks, beta):
    steps = jacobians.steps(num_tasks, count=5)
    losses = np.linspace(0.1, 3.0, num_tasks)
    balancer = mtl.balancers.DBMTLAveraged(beta)
    updates, _ = jacobians.run(balancer, steps, losses)
    expected = oracles.db_mtl(steps, losses, beta)
    # The authors' 1e-8 beside the loss is in ours, too, and not in the paper.
    np.testing.assert_allclose(updates, expected, rtol=1e-6)


def test_step_by_hand():
    """Gradients of logs (3, 0) and (0, 8), a tenth of them; both of length 0.8."""
    J, losses = np.array([[6.0, 0.0], [0.0, 4.0]]), np.array([2.0, 0.5])
    found = jacobians.update(mtl.balancers.DBMTLAveraged(0.9), J, losses=losses)
    np.testing.assert_allclose(found, [0.8, 0.8], rtol=1e-6)


def test_every_task_is_as_long_as_the_longest():
    J, losses = samplers.conflicting(4), np.array([0.1, 1.0, 2.0, 5.0])
    update, state = jacobians.run(mtl.balancers.DBMTLAveraged(), [J], losses)
    average = np.concatenate([state["average_0"], state["average_1"]], axis=1)
    lengths = np.linalg.norm(average, axis=1)
    longest = average * (lengths.max() / lengths)[:, None]
    np.testing.assert_allclose(update[0], longest.sum(axis=0), rtol=1e-10)


def test_scaled_losses_change_nothing():
    """Gradient and loss of a task times 1000: its log has the same gradient."""
    steps, losses = jacobians.steps(3), np.array([0.5, 1.0, 2.0])
    scales = np.array([1e3, 1.0, 1e-2])
    balancer = mtl.balancers.DBMTLAveraged()
    plain, _ = jacobians.run(balancer, steps, losses)
    scaled = [J * scales[:, None] for J in steps]
    found, _ = jacobians.run(balancer, scaled, losses * scales)
    np.testing.assert_allclose(found, plain, rtol=1e-5)
