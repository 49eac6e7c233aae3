"""MetaBalance, norm proportion, GradNorm, DB-MTL: methods that read norms only."""

import numpy as np
import pytest

import keras_mtl as mtl
from tests.balancers import samplers, stateful_oracles

SIZES = (1, 2, 3, 5, 8)


def jacobians(num_tasks, steps=5):
    return [samplers.conflicting(num_tasks, seed=seed) for seed in range(steps)]


def run(balancer, Js, losses=None, dtype="float64"):
    """Updates of all steps, and the last weights and state."""
    updates, state = [], None
    for number, J in enumerate(Js):
        loss = None if losses is None else losses[number]
        weights, state = samplers.step(balancer, J, loss, state=state, dtype=dtype)
        updates.append(weights @ J)
    return updates, weights, state


# === MetaBalance ===


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-12)]
)
@pytest.mark.parametrize(("relaxation", "beta"), [(0.7, 0.9), (1.0, 0.0), (0.2, 0.5)])
@pytest.mark.parametrize("num_tasks", SIZES)
def test_metabalance_equals_the_algorithm(
    num_tasks, relaxation, beta, dtype, tolerance
):
    target = num_tasks // 2
    balancer = mtl.balancers.MetaBalance(target, relaxation, beta)
    Js = jacobians(num_tasks)
    expected = stateful_oracles.metabalance(Js, target, relaxation, beta)
    found, _, _ = run(balancer, Js, dtype=dtype)
    np.testing.assert_allclose(found, expected, atol=tolerance * 10)


def test_metabalance_brings_all_tasks_to_the_targets_length():
    J = samplers.conflicting(4)
    balancer = mtl.balancers.MetaBalance(target=2, relaxation=1.0)
    _, weights, _ = run(balancer, [J] * 3)
    lengths = weights * np.linalg.norm(J, axis=1)
    np.testing.assert_allclose(lengths, np.linalg.norm(J[2]), rtol=1e-12)


def test_metabalance_by_hand():
    """Lengths 2 and 8; relaxation ½: ½ · 2/8 + ½ = 5/8."""
    J = np.array([[2.0, 0.0], [0.0, 8.0]])
    found = samplers.weights(mtl.balancers.MetaBalance(relaxation=0.5), J)
    np.testing.assert_allclose(found, [1.0, 0.625])


def test_metabalance_without_relaxation_is_the_sum():
    found = samplers.weights(
        mtl.balancers.MetaBalance(relaxation=0.0), samplers.conflicting(3)
    )
    np.testing.assert_allclose(found, 1.0)


def test_metabalance_a_late_task_counts_with_its_own_length():
    """Its running mean is as young as the task, not an average with zeros."""
    J = np.diag([2.0, 8.0])
    balancer = mtl.balancers.MetaBalance(relaxation=1.0, beta=0.9)
    _, state = samplers.step(balancer, J, active=[True, False])
    for _ in range(20):
        _, state = samplers.step(balancer, J, active=[True, False], state=state)
    found, _ = samplers.step(balancer, J, state=state)
    np.testing.assert_allclose(found, [1.0, 0.25], rtol=1e-6)


def test_metabalance_without_its_target_the_first_active_task_stands_in():
    J = np.diag([1.0, 2.0, 8.0])
    balancer = mtl.balancers.MetaBalance(target=0, relaxation=1.0)
    found = samplers.weights(balancer, J, active=[False, True, True])
    np.testing.assert_allclose(found, [0.0, 1.0, 0.25])


# === Norm proportion ===


@pytest.mark.parametrize("num_tasks", SIZES)
def test_norm_proportion_on_full_vectors(num_tasks):
    J = samplers.conflicting(num_tasks)
    lengths = [np.sqrt(sum(x * x for x in row)) for row in J]
    found = samplers.weights(mtl.balancers.NormProportion(), J)
    np.testing.assert_allclose(found, np.array(lengths) / sum(lengths))


def test_norm_proportion_by_hand():
    balancer = mtl.balancers.NormProportion()
    found = samplers.weights(balancer, np.diag([3.0, 1.0, 0.0]))
    np.testing.assert_allclose(found, [0.75, 0.25, 0.0])
    equal = samplers.weights(balancer, np.zeros((4, 2)))
    np.testing.assert_allclose(equal, 0.25)


# === GradNorm ===


@pytest.mark.parametrize("alpha", [0.0, 0.12, 1.5])
@pytest.mark.parametrize("num_tasks", SIZES)
def test_gradnorm_equals_the_algorithm(num_tasks, alpha):
    Js = jacobians(num_tasks)
    losses = np.random.default_rng(1).uniform(0.1, 2.0, (len(Js), num_tasks))
    expected = stateful_oracles.gradnorm(Js, losses, alpha, 0.025)
    balancer = mtl.balancers.GradNorm(alpha, learning_rate=0.025)
    found, _, _ = run(balancer, Js, losses)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_gradnorm_rests_where_the_norms_have_the_wanted_ratios(alpha):
    """Constant gradients and losses: `wᵢ‖gᵢ‖` comes as near to `Ḡ rᵢ^α` as it can.

    The aims have the mean `Ḡ` only for `α` of 0 and 1. Otherwise the sum of the
    distances is lowest where all tasks but one are on their aims.
    """
    J = np.diag([0.5, 1.0, 2.0])
    losses = np.array([0.2, 0.4, 0.6])
    balancer = mtl.balancers.GradNorm(alpha, learning_rate=2e-3)
    step = samplers.compiled_step(balancer)
    _, state = step(J, np.ones(3))
    for _ in range(1000):
        weights, state = step(J, losses, state)
    lengths = weights * np.diag(J)
    off = lengths / lengths.mean() - (losses / losses.mean()) ** alpha
    assert weights.sum() == pytest.approx(3)
    assert np.sum(np.abs(off) < 0.02) >= (2 if alpha == 0.5 else 3)


def test_gradnorm_by_hand():
    """Lengths 1 and 3, mean 2: slopes -½ and 3/2; then rescaled to the sum 2."""
    J = np.diag([1.0, 3.0])
    balancer = mtl.balancers.GradNorm(alpha=1.0, learning_rate=0.1)
    first, state = samplers.step(balancer, J, np.ones(2))
    second, _ = samplers.step(balancer, J, np.ones(2), state=state)
    assert first.tolist() == [1, 1]
    np.testing.assert_allclose(second, np.array([1.05, 0.85]) * 2 / 1.9)


def test_gradnorm_favours_the_slow_task():
    """Equal norms, one loss halved: the other task gains weight."""
    balancer = mtl.balancers.GradNorm()
    _, state = samplers.step(balancer, np.eye(2), np.array([1.0, 10.0]))
    _, state = samplers.step(balancer, np.eye(2), np.array([0.5, 10.0]), state=state)
    found, _ = samplers.step(balancer, np.eye(2), np.array([0.5, 10.0]), state=state)
    assert found[0] < 1 < found[1]


def test_gradnorm_initial_loss_is_that_of_the_first_active_step():
    J, balancer = np.eye(2), mtl.balancers.GradNorm()
    _, state = samplers.step(balancer, J, np.array([4.0, 0.0]), active=[True, False])
    assert np.isnan(state["initial_losses"][1])
    _, state = samplers.step(balancer, J, np.array([2.0, 6.0]), state=state)
    _, state = samplers.step(balancer, J, np.array([1.0, 3.0]), state=state)
    assert state["initial_losses"].tolist() == [4.0, 6.0]


@pytest.mark.parametrize("learning_rate", [0.025, 1.0, 100.0])
@pytest.mark.parametrize("scale", [1e-10, 1.0, 1e10])
def test_gradnorm_weights_stay_positive_at_any_scale(scale, learning_rate):
    balancer = mtl.balancers.GradNorm(learning_rate=learning_rate)
    Js = [scale * J for J in jacobians(4, steps=20)]
    losses = np.random.default_rng(1).uniform(0.1, 2.0, (20, 4))
    _, weights, _ = run(balancer, Js, losses, dtype="float32")
    assert np.all(weights > 0)
    assert weights.sum() == pytest.approx(4, rel=1e-5)
    _, unscaled, _ = run(balancer, jacobians(4, steps=20), losses, dtype="float32")
    if learning_rate < 1:
        np.testing.assert_allclose(weights, unscaled, rtol=1e-4)


# === DB-MTL ===


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)]
)
@pytest.mark.parametrize("num_tasks", SIZES)
def test_db_mtl_equals_the_algorithm(num_tasks, dtype, tolerance):
    rng = np.random.default_rng(num_tasks)
    for J in jacobians(num_tasks):
        losses = 10.0 ** rng.uniform(-4, 4, num_tasks)
        expected = stateful_oracles.db_mtl(J, losses)
        balancer = mtl.balancers.DBMTL()
        found = samplers.step(balancer, J, losses, dtype=dtype)[0] @ J
        scale = np.linalg.norm(J / losses[:, None], axis=1).max()
        np.testing.assert_allclose(found, expected, atol=tolerance * 10 * scale)


def test_db_mtl_all_parts_have_the_same_length():
    J, losses = samplers.conflicting(4), np.array([0.1, 1.0, 10.0, 100.0])
    found = samplers.weights(mtl.balancers.DBMTL(), J, losses)
    lengths = found * np.linalg.norm(J, axis=1)
    longest = (np.linalg.norm(J, axis=1) / losses).max()
    np.testing.assert_allclose(lengths, longest, rtol=1e-6)


def test_db_mtl_does_not_see_the_units_of_a_loss():
    J, losses = samplers.conflicting(3), np.array([0.5, 2.0, 3.0])
    units = np.array([1e3, 1.0, 1e-2])
    balancer = mtl.balancers.DBMTL()
    expected = samplers.weights(balancer, J, losses) @ J
    scaled = units[:, None] * J
    found = samplers.weights(balancer, scaled, units * losses) @ scaled
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_db_mtl_by_hand():
    """d/L = 2 and 4, so both parts get the length 4."""
    J, losses = np.diag([2.0, 1.0]), np.array([1.0, 0.25])
    found = samplers.weights(mtl.balancers.DBMTL(), J, losses)
    np.testing.assert_allclose(found, [2.0, 4.0], rtol=1e-6)
