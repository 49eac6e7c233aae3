"""DTP: the focal weights of a metric, from the logs of real epochs."""

import numpy as np
import pytest

import keras_mtl as mtl
from tests.asserts import error_with
from tests.training import problems
from tests.weightings.samplers import NAMES, TASKS, evaluate

METRICS = {name: f"{name}_accuracy" for name in NAMES}


def after(values, state=None, **config):
    weighting = mtl.weightings.DTP(metrics=METRICS, **config)
    state = weighting.init(TASKS)[1] if state is None else state
    logs = dict(zip(METRICS.values(), values, strict=True))
    return weighting.end_epoch(state, logs, TASKS)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.5])
def test_focal_weights(gamma):
    values = np.array([0.1, 0.5, 0.99])
    expected = [-((1 - k) ** gamma) * np.log(k) for k in values]
    np.testing.assert_allclose(after(values, gamma=gamma)["weights"], expected)
    _, weights, _, _ = evaluate(
        mtl.weightings.DTP(metrics=METRICS), [1.0, 2.0, 3.0], state=after(values)
    )
    np.testing.assert_allclose(
        weights, [0.9 * np.log(10), np.log(2) / 2, 1.005e-4], rtol=1e-4
    )


def test_a_task_that_performs_better_counts_less():
    grid = np.linspace(0.0, 1.0, 101)
    for gamma in (0.0, 0.5, 1.0, 3.0):
        weights = mtl.weightings.focal_weights(grid, gamma)
        assert np.all(np.isfinite(weights))
        assert np.all(np.diff(weights) < 0)
        assert weights[-1] == 0


def test_moving_average():
    """`κ̄ = α κ + (1 - α) κ̄`, and the first value as it is."""
    state = after([0.2, 0.4, 0.6], smoothing=0.25)
    np.testing.assert_allclose(state["average"], [0.2, 0.4, 0.6])
    state = after([0.6, 0.4, np.nan], state, smoothing=0.25)
    np.testing.assert_allclose(state["average"], [0.3, 0.4, 0.6])
    np.testing.assert_allclose(
        state["weights"], mtl.weightings.focal_weights(state["average"], 1.0)
    )


def test_a_metric_that_is_nan_keeps_the_weight():
    state = after([0.2, np.nan, 0.6])
    assert state["weights"][1] == 1
    assert np.isnan(state["average"][1])
    assert state["weights"][0] == pytest.approx(0.8 * np.log(5))


@pytest.mark.parametrize("value", [-0.1, 1.01, 25.0])
def test_a_metric_outside_of_0_and_1(value):
    with error_with(ValueError, "[0, 1]", "'t1_accuracy'", str(value)):
        after([0.5, value, 0.5])


def test_reads_the_logs_of_fit():
    x, y = problems.data()
    model = problems.model(names=("kind", "sold"))
    metrics = {"sold": "sold_accuracy", "kind": "val_kind_accuracy"}
    model.compile("adam", loss_weighting=mtl.weightings.DTP(metrics, gamma=2.0))
    logs = model.fit(
        x, y, epochs=2, batch_size=16, verbose=0, validation_data=(x, y)
    ).history
    values = np.array([logs["val_kind_accuracy"], logs["sold_accuracy"]])
    # The last step of the second epoch used the weights after the first.
    np.testing.assert_allclose(
        model.balancing_state["loss_weights"],
        -((1 - values[:, 0]) ** 2) * np.log(values[:, 0]),
        rtol=1e-5,
    )


def test_a_name_that_is_not_in_the_logs():
    x, y = problems.data()
    model = problems.model(names=("kind", "sold"))
    metrics = {"sold": "sold_accuracy", "kind": "kind_precision"}
    model.compile("adam", loss_weighting=mtl.weightings.DTP(metrics))
    known = ["without ['kind_precision']", "'sold_accuracy'", "'kind_accuracy'"]
    with error_with(ValueError, *known):
        model.fit(x, y, verbose=0)


def test_a_validation_metric_without_validation():
    metrics = dict(METRICS, t0="val_t0_accuracy")
    weighting = mtl.weightings.DTP(metrics)
    logs = dict.fromkeys(METRICS.values(), 0.5)
    with error_with(ValueError, "val_t0_accuracy", "`validation_data`"):
        weighting.end_epoch(weighting.init(TASKS)[1], logs, TASKS)
