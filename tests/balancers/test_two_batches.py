"""SDMGrad, MoDo, validation descent: the Gram matrix between two batch halves."""

import numpy as np
import pytest

import keras_mtl as mtl
from tests.balancers import samplers, stateful_oracles

SIZES = (1, 2, 3, 5, 8)


def halves(num_tasks, seed=0, noise=0.5, entries=20):
    """Gradients on two halves of a batch, and on the whole."""
    rng = np.random.default_rng(seed)
    J = samplers.conflicting(num_tasks, entries, seed)
    first, second = (J + noise * rng.normal(size=J.shape) for _ in range(2))
    return first, second, (first + second) / 2


def test_they_ask_for_two_parts():
    assert mtl.balancers.Balancer.batch_parts == 1
    assert mtl.balancers.get("mgda").batch_parts == 1
    for name in ("sdmgrad", "modo", "validation_descent"):
        assert mtl.balancers.get(name).batch_parts == 2


# === SDMGrad ===


@pytest.mark.parametrize("preference", [None, "given"])
@pytest.mark.parametrize("regularization", [0.0, 0.3, 5.0])
@pytest.mark.parametrize("num_tasks", SIZES)
def test_sdmgrad_equals_the_algorithm(num_tasks, regularization, preference):
    """With the authors' steps, so long that each makes rounding errors grow."""
    given = list(range(1, num_tasks + 1)) if preference else None
    wanted = np.array(given or [1.0] * num_tasks)
    wanted = wanted / wanted.sum()
    for rate, tolerance in ((5.0, 1e-7), (0.2, 1e-10)):
        balancer = mtl.balancers.SDMGrad(
            regularization, learning_rate=rate, preference=given
        )
        w = np.full(num_tasks, 1 / num_tasks)
        for seed in range(3):
            first, second, J = halves(num_tasks, seed)
            state = {"shares": w}
            weights, state = samplers.step(balancer, first, state=state, second=second)
            expected, w = stateful_oracles.sdmgrad(
                J, first, second, w, wanted, regularization, 20, rate, 0.5
            )
            np.testing.assert_allclose(weights @ J, expected, atol=10 * tolerance)
            np.testing.assert_allclose(state["shares"], w, atol=tolerance)


@pytest.mark.parametrize("num_tasks", [2, 3, 5])
@pytest.mark.parametrize("regularization", [0.0, 0.3, 2.0])
def test_sdmgrad_finds_the_shortest_regularised_combination(num_tasks, regularization):
    """Without noise, with small steps: KKT conditions of min ‖Jᵀ(w + λp)‖²."""
    J = samplers.conflicting(num_tasks)
    balancer = mtl.balancers.SDMGrad(
        regularization, num_iterations=3000, learning_rate=0.1
    )
    weights, _ = samplers.compiled_step(balancer)(J)
    assert weights.sum() == pytest.approx(1)
    uniform = 1 / num_tasks
    w = weights * (1 + regularization) - regularization * uniform
    slope = J @ J.T @ (w + regularization * uniform)
    excess = slope - w @ slope
    assert np.all(w >= -1e-9)
    assert np.all(excess >= -1e-6 * np.abs(slope).max())
    assert np.all(np.abs(excess[w > 1e-6]) <= 1e-6 * np.abs(slope).max())


def test_sdmgrad_is_between_mgda_and_the_preference():
    J = samplers.conflicting(3)
    steps = {"num_iterations": 3000, "learning_rate": 0.1}
    mgda = samplers.weights(mtl.balancers.MGDA(), J)
    found, _ = samplers.compiled_step(mtl.balancers.SDMGrad(0.0, **steps))(J)
    np.testing.assert_allclose(found @ J, mgda @ J, atol=1e-5)
    found = samplers.weights(mtl.balancers.SDMGrad(1e6, preference=[1, 2, 5]), J)
    np.testing.assert_allclose(found, [0.125, 0.25, 0.625], atol=1e-5)


def test_sdmgrad_one_step_by_hand():
    """Lengths 1 and 3, mean 2, so A/s² = diag(¼, 9/4) and the slope is (⅛, 9/8)."""
    balancer = mtl.balancers.SDMGrad(0.0, num_iterations=1, learning_rate=0.4)
    found = samplers.weights(balancer, np.diag([1.0, 3.0]))
    # (0.5 - 0.4 · 0.125, 0.5 - 0.4 · 1.125) = (0.45, 0.05), and 0.25 more for each.
    np.testing.assert_allclose(found, [0.7, 0.3])


def test_sdmgrad_preference_of_absent_tasks_goes_to_the_others():
    J = samplers.conflicting(3)
    full = mtl.balancers.SDMGrad(0.5, preference=[1.0, 2.0, 6.0])
    found = samplers.weights(full, J, active=[True, True, False])
    alone = samplers.weights(mtl.balancers.SDMGrad(0.5, preference=[1, 2]), J[:2])
    np.testing.assert_allclose(found[:2], alone, atol=1e-12)


# === MoDo ===


@pytest.mark.parametrize(("gamma", "rho"), [(0.1, 0.1), (0.01, 0.0), (3.0, 0.5)])
@pytest.mark.parametrize("num_tasks", SIZES)
def test_modo_equals_the_algorithm(num_tasks, gamma, rho):
    balancer = mtl.balancers.MoDo(gamma, rho)
    state, w = None, np.full(num_tasks, 1 / num_tasks)
    for seed in range(5):
        first, second, J = halves(num_tasks, seed)
        weights, state = samplers.step(balancer, first, state=state, second=second)
        expected, w = stateful_oracles.modo(J, first, second, w, gamma, rho)
        np.testing.assert_allclose(weights @ J, expected, atol=1e-10)


def test_modo_goes_to_the_shortest_combination():
    """With the same gradients all the time, and no regularisation."""
    J = samplers.conflicting(3) / 10
    step, state = samplers.compiled_step(mtl.balancers.MoDo(gamma=0.5, rho=0.0)), None
    for _ in range(600):
        weights, state = step(J, state=state)
    expected = samplers.weights(mtl.balancers.MGDA(), J)
    np.testing.assert_allclose(weights @ J, expected @ J, atol=1e-4)


def test_modo_is_unbiased_by_noise():
    """The mean of `J₁J₂ᵀ` is that of the mean gradients; of `J₁J₁ᵀ` it is not.

    Tasks with the same mean gradient but noise of different strength: one batch makes
    MoDo prefer the quiet task, two halves leave the weights near equal.
    """
    rng = np.random.default_rng(2)
    noise = np.array([[0.2], [2.0]])

    def end(two):
        step = samplers.compiled_step(mtl.balancers.MoDo(gamma=0.005, rho=0.0))
        state, late = None, []
        for number in range(500):
            first, second = (1.0 + noise * rng.normal(size=(2, 5)) for _ in range(2))
            second = second if two else first
            weights, state = step(first, state=state, second=second)
            late += [weights] if number >= 250 else []
        return np.mean(late, axis=0)

    assert end(two=False)[0] > 0.85
    assert abs(end(two=True)[0] - 0.5) < 0.2


def test_modo_by_hand():
    """w = (½, ½), A w = (½, 3/2), ρ w = ½ρ: (0.45, 0.35), and 0.1 more for each."""
    found = samplers.weights(mtl.balancers.MoDo(0.1, rho=0.0), np.diag([1.0, 3**0.5]))
    np.testing.assert_allclose(found, [0.55, 0.45])


# === Validation descent ===


class Quadratics:
    """Losses `½‖Bᵢθ - cᵢ‖²` of the tasks on a training and a validation half."""

    def __init__(self, num_tasks, seed, entries=6):
        rng = np.random.default_rng(seed)
        self.B = rng.normal(size=(2, num_tasks, 8, entries))
        self.c = rng.normal(size=(2, num_tasks, 8))
        self.theta = rng.normal(size=entries)

    def residuals(self, half, theta):
        return np.einsum("kre,e->kr", self.B[half], theta) - self.c[half]

    def losses(self, half, theta):
        return 0.5 * np.sum(self.residuals(half, theta) ** 2, axis=1)

    def gradients(self, half):
        residuals = self.residuals(half, self.theta)
        return np.einsum("kre,kr->ke", self.B[half], residuals)

    def validation(self, w, preference, rate):
        """Preferred validation losses after one step with the weights `w`."""
        theta = self.theta - rate * w @ self.gradients(0)
        return preference @ self.losses(1, theta)


@pytest.mark.parametrize("num_tasks", [2, 3, 5])
def test_validation_descent_follows_the_slope_of_the_validation_loss(num_tasks):
    """The slope by finite differences through one real training step."""
    rate, gamma, small = 1e-6, 0.05, 1e-4
    for seed in range(4):
        problem = Quadratics(num_tasks, seed)
        preference = np.random.default_rng(seed).uniform(size=num_tasks)
        w = np.full(num_tasks, 1 / num_tasks)
        slope = np.array(
            [
                problem.validation(w + small * e, preference, rate)
                - problem.validation(w - small * e, preference, rate)
                for e in np.eye(num_tasks)
            ]
        )
        expected = stateful_oracles.simplex_projection(
            w - gamma * slope / np.abs(slope).max()
        )
        balancer = mtl.balancers.ValidationDescent(gamma, preference.tolist())
        first, second = problem.gradients(0), problem.gradients(1)
        found, state = samplers.step(balancer, first, second=second)
        np.testing.assert_allclose(found, num_tasks * expected, atol=1e-4)
        np.testing.assert_allclose(state["shares"], expected, atol=1e-4)


@pytest.mark.parametrize("learning_rate", [0.01, 0.3, 10.0])
def test_validation_descent_does_not_raise_the_validation_loss(learning_rate):
    """Guarantee: after the step, for a small rate of the model."""
    for seed in range(10):
        problem = Quadratics(4, seed)
        balancer = mtl.balancers.ValidationDescent(learning_rate)
        state, old = balancer.init_state(4), np.ones(4)
        for _ in range(3):
            new, state = samplers.step(
                balancer, problem.gradients(0), state=state, second=problem.gradients(1)
            )
            before, after = (
                problem.validation(w, np.ones(4), rate=1e-5) for w in (old, new)
            )
            assert after <= before + 1e-9
            old = new
        assert new.tolist() != [1] * 4


def test_validation_descent_drops_a_harmful_task_and_takes_it_back():
    balancer = mtl.balancers.ValidationDescent(0.1, preference=[1.0, 0.0])
    main = np.array([1.0, 0.0])
    harmful, helpful = np.stack([main, -main]), np.stack([main, 2 * main])
    state, seen = None, []
    for J in [harmful] * 6 + [helpful] * 6:
        weights, state = samplers.step(balancer, J, state=state)
        seen.append(weights[1])
        assert weights.sum() == pytest.approx(2)
    assert seen[5] == 0
    # Slopes ½ and 1 of the largest move: 0.025 of the weight per step, times two.
    assert seen[-1] == pytest.approx(6 * 0.05)


def test_validation_descent_by_hand():
    """A p = (1, ½) for equal preferences; the largest slope moves by 0.1."""
    J = np.diag([2**0.5, 1.0])
    found = samplers.weights(mtl.balancers.ValidationDescent(0.1), J)
    # (0.6, 0.55) projected: 0.075 less for each; times two.
    np.testing.assert_allclose(found, [1.05, 0.95])


def test_validation_descent_reads_rows_as_training_and_columns_as_validation():
    """Training gradients of the first half, validation gradients of the second."""
    first = np.array([[1.0, 0.0], [0.0, 1.0]])
    second = np.array([[1.0, 0.0], [1.0, 0.0]])
    balancer = mtl.balancers.ValidationDescent(0.1)
    found, _ = samplers.step(balancer, first, second=second)
    assert found[0] > 1 > found[1]


@pytest.mark.parametrize("name", ["sdmgrad", "modo", "validation_descent"])
def test_weights_of_all_labelled_tasks_can_be_zero(name):
    """The stored weight of the task that has labels is 0: it gets all of the step."""
    balancer = mtl.balancers.get(name)
    state = {"shares": np.array([1.0, 0.0])}
    J = samplers.conflicting(2)
    found, after = samplers.step(balancer, J, active=[False, True], state=state)
    np.testing.assert_allclose(found, [0, 1])
    np.testing.assert_array_equal(after["shares"], state["shares"])


@pytest.mark.parametrize("name", ["sdmgrad", "modo", "validation_descent"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_halves_that_disagree(name, dtype):
    """Negative products of a task with itself, or none, give finite weights."""
    balancer = mtl.balancers.get(name)
    J = samplers.conflicting(3)
    for second in (-J, J[::-1], 0 * J, 1e10 * J, np.roll(J, 1, axis=0)):
        found, _ = samplers.step(balancer, J, second=second, dtype=dtype)
        assert np.all(np.isfinite(found))
        assert np.all(found >= 0)
        assert found.dtype == dtype
