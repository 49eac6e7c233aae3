"""FAMO: the paper's algorithm on a toy, its dual, and its two forms."""

import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from tests.weightings import oracles, samplers
from tests.weightings.samplers import evaluate, tensors

CENTRES = np.array([[1.0, 0.0], [-1.0, 0.5], [0.2, -2.0]])
SIZES = np.array([1.0, 10.0, 0.1])


def losses_of(point):
    """Three parabolas of different height."""
    return SIZES * (0.1 + ((point - CENTRES) ** 2).sum(axis=1))


def slopes_of(point):
    return 2 * SIZES[:, None] * (point - CENTRES)


def after(weighting, state, new_losses, active=(True, True, True)):
    state = tensors(state)
    return samplers.arrays(
        weighting.after_step(
            tf.constant(new_losses, "float64"), tf.constant(active), state
        )
    )


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("minimum", [None, {"t0": 0.05, "t1": 0.5}])
def test_follows_the_algorithm_literally(optimizer, minimum):
    least = np.array([(minimum or {}).get(name, 0.0) for name in samplers.NAMES])
    literal = oracles.FAMO(
        3, rate=0.3, decay=0.01, adam=optimizer == "adam", minimum=least
    )
    weighting = mtl.weightings.FAMO(
        learning_rate=0.3, decay=0.01, optimizer=optimizer, minimum=minimum
    )
    state, point = weighting.init(samplers.TASKS)[1], np.array([2.0, 2.0])
    for _ in range(30):
        losses = losses_of(point)
        _, weights, _, state = evaluate(weighting, losses, state=state)
        np.testing.assert_allclose(weights, literal.task_weights(losses), rtol=1e-10)
        point = point - 0.05 * weights @ slopes_of(point)
        literal.update(losses, losses_of(point))
        state = after(weighting, state, losses_of(point))
        np.testing.assert_allclose(state["logits"], literal.xi, atol=1e-10)
    assert np.ptp(state["logits"]) > 0.05, "the logits must have moved"


def test_by_hand():
    """Equal logits, losses 1 and 3: `c = 3/2`, weights 3/4 and 1/4.

    Then the first loss halves: slopes ¼ log 2 and its opposite, and Adam's first step
    is the learning rate against their signs.
    """
    weighting = mtl.weightings.FAMO()
    value, weights, _, state = evaluate(weighting, [1.0, 3.0])
    assert value == pytest.approx(0.75 * np.log(3.0))
    np.testing.assert_allclose(weights, [0.75, 0.25], rtol=1e-7)
    state = after(weighting, state, [0.5, 3.0], (True, True))
    np.testing.assert_allclose(state["logits"], [-0.025, 0.025], rtol=1e-6)
    np.testing.assert_allclose(
        state["mean"], 0.1 * 0.25 * np.log(2) * np.array([1, -1]), rtol=1e-6
    )


def test_slopes_of_the_logits_are_those_of_the_mean_fall():
    """`Σ z d` differentiated, numerically."""
    rng = np.random.default_rng(0)
    logs, new_logs, logits = rng.normal(size=(3, 4))
    everyone = tf.ones(4, "bool")
    found = mtl.weightings.famo_slopes(logs, new_logs, everyone, logits)
    for i, step in enumerate(1e-6 * np.eye(4)):
        up, down = (
            oracles.softmax(logits + s) @ (logs - new_logs) for s in (step, -step)
        )
        assert float(found[i]) == pytest.approx((up - down) / 2e-6, abs=1e-8)


def test_the_logits_end_at_the_dual_optimum():
    """With the point held: the min-norm point of the slopes of the log losses.

    So that the worst relative fall of a step, to first order, is the largest possible
    for its length.
    """
    point = np.array([-1.0, -2.0])
    weighting = mtl.weightings.FAMO(learning_rate=5.0, decay=0.0, optimizer="sgd")
    state = weighting.init(samplers.TASKS)[1]
    log_slopes = slopes_of(point) / losses_of(point)[:, None]
    for _ in range(100):
        _, weights, _, state = evaluate(weighting, losses_of(point), state=state)
        update = oracles.softmax(state["logits"]) @ log_slopes
        new_losses = losses_of(point) * np.exp(-log_slopes @ update)
        state = after(weighting, state, new_losses)

    def worst_fall(direction):
        return (log_slopes @ direction).min() / np.linalg.norm(direction)

    assert worst_fall(update) >= 0.99 * np.linalg.norm(update)
    assert worst_fall(update) > 1.5 * worst_fall(log_slopes.mean(axis=0))
    # The model moves in this direction.
    direction = weights @ slopes_of(point)
    np.testing.assert_allclose(
        direction / np.linalg.norm(direction), update / np.linalg.norm(update)
    )


def test_the_task_that_fell_least_gets_more_weight():
    weighting = mtl.weightings.FAMO(learning_rate=0.1)
    state = weighting.init(samplers.TASKS)[1]
    for _ in range(20):
        *_, state = evaluate(weighting, [1.0, 1.0, 1.0], state=state)
        state = after(weighting, state, [0.5, 0.9, 0.7])
    logits = state["logits"]
    assert logits[1] > logits[2] > logits[0]


def test_next_batch_is_the_second_forward_form_where_the_batch_stays():
    """Full-batch training: the next losses are those after the step, one step later."""
    one = mtl.weightings.FAMO()
    two = mtl.weightings.FAMO(form="next_batch")
    assert one.second_forward
    assert not two.second_forward
    state, other = (w.init(samplers.TASKS)[1] for w in (one, two))
    point = np.array([2.0, 2.0])
    for step in range(10):
        _, weights, _, state = evaluate(one, losses_of(point), state=state)
        _, others, _, other = evaluate(two, losses_of(point), state=other)
        np.testing.assert_allclose(weights, others, rtol=1e-12)
        point = point - 0.05 * weights @ slopes_of(point)
        state = after(one, state, losses_of(point))
        assert (step == 0) == (not other["steps"].any())


def test_an_inactive_task_keeps_logits_and_moments():
    weighting = mtl.weightings.FAMO()
    state = samplers.trained(weighting)
    *_, seen = evaluate(weighting, [1.0, 1.0, 1.0], state=state)
    moved = after(weighting, seen, [0.5, 0.0, 0.7], (True, False, True))
    for key in ("logits", "mean", "square", "steps"):
        assert moved[key][1] == state[key][1]
        assert (moved[key][[0, 2]] != state[key][[0, 2]]).all()
