"""Validation-adaptive weights: the paper's algorithm, over the epochs of `fit`."""

import numpy as np
import pytest

import keras_mtl as mtl
from tests.asserts import error_with
from tests.training import problems
from tests.weightings import oracles
from tests.weightings.samplers import NAMES, TASKS, evaluate


def logs_of(losses):
    names = [f"val_{name}_loss" for name in NAMES]
    return dict(zip(names, losses, strict=True))


@pytest.mark.parametrize("window", [1, 2, 3])
def test_follows_the_validation_loss_trend_algorithm(window):
    rng = np.random.default_rng(0)
    weighting = mtl.weightings.ValidationAdaptive(window)
    state, seen = weighting.init(TASKS)[1], []
    for epoch in range(2 * window + 3):
        _, weights, _, _ = evaluate(weighting, [1.0, 2.0, 3.0], state=state)
        expected = np.ones(3)
        if epoch >= 2 * window:
            expected = oracles.validation_loss_trend(np.array(seen), window)
        np.testing.assert_allclose(weights, expected)
        seen.append(rng.uniform(0.1, 2.0, size=3))
        state = weighting.end_epoch(state, logs_of(seen[-1]), TASKS)
    assert weights.sum() == pytest.approx(3)


def test_by_hand():
    """Moves of 1, 2 and 0, either way: over their mean 1."""
    weighting = mtl.weightings.ValidationAdaptive()
    state = weighting.init(TASKS)[1]
    for losses in ([5.0, 1.0, 2.0], [4.0, 3.0, 2.0]):
        state = weighting.end_epoch(state, logs_of(losses), TASKS)
    _, weights, _, _ = evaluate(weighting, [1.0, 1.0, 1.0], state=state)
    np.testing.assert_allclose(weights, [1, 2, 0])


def test_where_nothing_moves_all_weights_are_one():
    weighting = mtl.weightings.ValidationAdaptive()
    state = weighting.init(TASKS)[1]
    for _ in range(2):
        state = weighting.end_epoch(state, logs_of([0.0, 3.0, 2.0]), TASKS)
    assert evaluate(weighting, [1.0, 1.0, 1.0], state=state)[1].tolist() == [1, 1, 1]


def test_an_epoch_without_labels_leaves_the_history():
    weighting = mtl.weightings.ValidationAdaptive()
    state = weighting.init(TASKS)[1]
    for losses in ([5.0, 1.0, 2.0], [4.0, np.nan, 2.5], [2.0, 4.0, 2.0]):
        state = weighting.end_epoch(state, logs_of(losses), TASKS)
    np.testing.assert_array_equal(state["history"], [[4, 2], [1, 4], [2.5, 2]])
    np.testing.assert_array_equal(state["moves"], [2, 3, 0.5])


def test_reads_the_validation_of_fit():
    x, y = problems.data()
    model = problems.model()
    model.compile("adam", loss_weighting="validation_adaptive")
    held_out = problems.data(seed=9)
    logs = model.fit(
        x, y, epochs=3, batch_size=16, verbose=0, validation_data=held_out
    ).history
    losses = np.array([logs[f"val_{name}_loss"] for name in problems.TASKS]).T
    expected = oracles.validation_loss_trend(losses[:2], 1)
    fixed = np.array([1.0, 2.0, 1.0])
    np.testing.assert_allclose(
        model.balancing_state["loss_weights"], expected * fixed, rtol=1e-3
    )


def test_fit_without_validation_data():
    x, y = problems.data()
    model = problems.model()
    model.compile("adam", loss_weighting="validation_adaptive")
    with error_with(ValueError, "val_kind_loss", "`validation_data`", "`fit`"):
        model.fit(x, y, verbose=0)
