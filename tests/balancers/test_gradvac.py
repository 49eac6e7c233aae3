"""GradVac: equations 2 and 3 on full vectors, the target is met, published values."""

import numpy as np
import pytest
from keras import ops

import keras_mtl as mtl
from tests.balancers import samplers, stateful_oracles


def orders(num_tasks, seed):
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(num_tasks) for _ in range(num_tasks)])


def compute(J, order, target, beta=0.1, dtype="float64"):
    """The update, and the next target."""
    J = J.astype(dtype)
    weights, target = mtl.balancers.gradvac_weights(
        ops.array(J @ J.T, dtype), ops.array(order), ops.array(target, dtype), beta
    )
    return ops.convert_to_numpy(weights) @ J, ops.convert_to_numpy(target)


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 2e-5), ("float64", 1e-11)]
)
@pytest.mark.parametrize("num_tasks", [1, 2, 3, 5, 8])
def test_equals_the_equations_on_full_vectors(num_tasks, dtype, tolerance):
    """Over some steps, so that the targets differ."""
    for seed in range(4):
        target = expected_target = np.zeros((num_tasks, num_tasks))
        for number in range(4):
            J = samplers.conflicting(num_tasks, seed=10 * seed + number)
            J = J + 2.0 * (number % 2)  # in turns agreeing, so that targets rise
            order = orders(num_tasks, seed + number)
            expected, expected_target = stateful_oracles.gradvac(
                J, order, expected_target, 0.5
            )
            found, target = compute(J, order, target, 0.5, dtype)
            scale = tolerance * np.abs(J).max() * num_tasks**2
            np.testing.assert_allclose(found, expected, atol=scale)
            np.testing.assert_allclose(target, expected_target, atol=tolerance)


@pytest.mark.parametrize("aim", [-0.5, 0.0, 0.3, 0.9])
def test_the_altered_gradient_has_the_target_cosine(aim):
    """The law of sines behind equation 2, for two tasks."""
    for seed in range(10):
        J = samplers.conflicting(2, entries=4, seed=seed)
        gram, order = ops.array(J @ J.T), ops.array([[1, 0], [1, 0]])
        # The second task aims at -1, and so stays as it is.
        target = ops.array([[0.0, aim], [-1.0, 0.0]], "float64")
        weights, _ = mtl.balancers.gradvac_weights(gram, order, target, 0.1)
        altered = ops.convert_to_numpy(weights) @ J - J[1]
        expected = max(aim, cosine(J[0], J[1]))
        assert cosine(altered, J[1]) == pytest.approx(expected, abs=1e-12)


def test_with_targets_of_zero_it_is_pcgrad():
    for num_tasks in (2, 3, 6):
        J, order = samplers.conflicting(num_tasks), orders(num_tasks, 3)
        found, _ = compute(J, order, np.zeros((num_tasks, num_tasks)))
        weights = mtl.balancers.pcgrad_weights(ops.array(J @ J.T), ops.array(order))
        np.testing.assert_allclose(found, ops.convert_to_numpy(weights) @ J, atol=1e-10)


def test_published_value():
    """Of TorchJD's example the first step is PCGrad's: [2.2222, 1.5789]."""
    found, state = samplers.step(mtl.balancers.GradVac(), samplers.EXAMPLE)
    np.testing.assert_allclose(found, [2.2222, 1.5789], atol=1e-4)
    phi = -22 / np.sqrt(18 * 38)
    np.testing.assert_allclose(state["target"], [[0, phi / 100], [phi / 100, 0]])


def test_orthogonal_gradients_by_hand():
    """Target 3/5: g₁ takes ¾ ‖g₁‖ along g₂, and the other way round."""
    J = np.array([[1.0, 0.0], [0.0, 4.0]])
    found, _ = compute(J, [[0, 1], [0, 1]], 0.6 * np.ones((2, 2)))
    np.testing.assert_allclose(found, [1 + 3.0, 4 + 0.75])


def test_targets_follow_every_cosine():
    """Those above the target too: agreeing tasks are asked to agree more."""
    J = samplers.agreeing(2)
    balancer, state = mtl.balancers.GradVac(beta=0.25), None
    for _ in range(3):
        found, state = samplers.step(balancer, J, state=state)
        assert found.tolist() == [1, 1]
    expected = (1 - 0.75**3) * cosine(J[0], J[1])
    assert state["target"][0, 1] == pytest.approx(expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_target_of_one_stays_finite(dtype):
    for J in samplers.DEGENERATE.values():
        num_tasks = len(J)
        for aim in (1.0, -1.0):
            target = np.full((num_tasks, num_tasks), aim)
            found, after = compute(J, orders(num_tasks, 1), target, dtype=dtype)
            assert np.all(np.isfinite(found))
            assert np.all(np.abs(after) <= 1)


def test_a_zero_gradient_changes_no_target():
    J = samplers.conflicting(3)
    J[1] = 0
    target = np.full((3, 3), 0.2)
    found, after = compute(J, orders(3, 0), target)
    expected, _ = compute(J[[0, 2]], [[0, 1], [1, 0]], target[:2, :2])
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert after[1].tolist() == [0.2] * 3
    assert after[:, 1].tolist() == [0.2] * 3
    assert after[0, 2] != 0.2


def test_groups_are_independent_calls():
    """The per-layer form: one Gram matrix and one target per group of variables."""
    groups = [samplers.conflicting(3, seed=s) for s in range(2)]
    balancer = mtl.balancers.GradVac(beta=0.5)
    states = [balancer.init_state(3) for _ in groups]
    for _ in range(2):
        results = [
            samplers.step(balancer, J, state=s)
            for J, s in zip(groups, states, strict=True)
        ]
        states = [state for _, state in results]
    for J, (weights, state) in zip(groups, results, strict=True):
        alone, expected = samplers.step(balancer, J)
        alone, expected = samplers.step(balancer, J, state=expected)
        np.testing.assert_array_equal(weights, alone)
        np.testing.assert_array_equal(state["target"], expected["target"])
