"""Loss weightings: formulas by hand and by NumPy, and what each one keeps."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_mtl as mtl

METHODS = [("fixed", {}), ("uncertainty", {}), ("dwa", {"temperature": 3.0})]
EACH = pytest.mark.parametrize(
    ("name", "config"), METHODS, ids=[name for name, _ in METHODS]
)
HEADS = (
    mtl.heads.Regression(),
    mtl.heads.Classification(3),
    mtl.heads.BinaryClassification(),
)
TASKS = tuple(mtl.Task(f"t{i}", head) for i, head in enumerate(HEADS))


def make(name, config):
    return mtl.weightings.get({"class_name": name, "config": config})


def tensors(values):
    return {k: tf.constant(v, "float64") for k, v in values.items()}


def evaluate(weighting, losses, active=None, tasks=TASKS, variables=None, state=None):
    """Objective, loss weights, gradients of the variables, and the next state."""
    first = weighting.init(tasks)
    variables = tensors(first[0] if variables is None else variables)
    state = tensors(first[1] if state is None else state)
    active = np.ones(len(tasks), bool) if active is None else np.array(active)
    losses = tf.constant(np.where(active, losses, 0.0), "float64")
    with tf.GradientTape() as tape:
        tape.watch([losses, *variables.values()])
        objective, state = weighting.objective(
            losses, tf.constant(active), variables, state, seed=None
        )
    slopes = tape.gradient(objective, [losses, *variables.values()])
    gradients = dict(zip(variables, slopes[1:], strict=True))
    numbers = {k: np.asarray(v) for k, v in gradients.items()}
    return float(objective), np.asarray(slopes[0]), numbers, state


def test_every_method_has_a_row():
    assert {name for name, _ in METHODS} == set(mtl.weightings.registry.names())


# === All methods ===


@EACH
def test_starts_with_finite_weights(name, config):
    objective, weights, gradients, _ = evaluate(make(name, config), [1.0, 2.0, 0.0])
    assert np.isfinite(objective)
    assert weights.shape == (3,)
    assert np.all(weights > 0)
    assert all(np.all(np.isfinite(g)) for g in gradients.values())


@EACH
def test_an_inactive_task_is_as_good_as_none(name, config):
    weighting = make(name, config)
    for missing in range(3):
        active = np.arange(3) != missing
        losses = np.array([1.0, 2.0, 3.0])
        found, weights, gradients, state = evaluate(weighting, losses, active)
        rest = [t for t, on in zip(TASKS, active, strict=True) if on]
        alone, fewer, of_fewer, _ = evaluate(weighting, losses[active], tasks=rest)
        assert found == pytest.approx(alone)
        np.testing.assert_allclose(weights[active], fewer)
        for key, gradient in gradients.items():
            assert gradient[missing] == 0
            np.testing.assert_allclose(gradient[active], of_fewer[key])
        before = weighting.init(TASKS)[1]
        for key, value in state.items():
            np.testing.assert_array_equal(value[missing], before[key][missing])


@EACH
def test_nothing_active(name, config):
    objective, _, gradients, state = evaluate(
        make(name, config), [1.0, 1.0, 1.0], active=[False] * 3
    )
    assert objective == 0
    assert all(np.all(g == 0) for g in gradients.values())
    before = make(name, config).init(TASKS)[1]
    for key, value in state.items():
        np.testing.assert_array_equal(value, before[key])


@EACH
@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_graph_and_xla_give_the_numbers_of_eager(name, config, jit_compile):
    weighting = make(name, config)
    variables, state = map(tensors, weighting.init(TASKS))

    def compute(losses, active):
        return weighting.objective(losses, active, variables, state, seed=None)

    compiled = tf.function(compute, jit_compile=jit_compile)
    for active in ([True, True, True], [True, False, True]):
        losses = np.where(active, [1.0, 2.0, 3.0], 0.0)
        found, after = compiled(losses, np.array(active))
        expected, _, _, expected_after = evaluate(weighting, losses, active)
        assert float(found) == pytest.approx(expected)
        assert after.keys() == expected_after.keys()
        for key, value in after.items():
            np.testing.assert_allclose(value, expected_after[key])


@EACH
def test_state_keeps_its_shapes_over_epochs(name, config):
    weighting = make(name, config)
    _, first = weighting.init(TASKS)
    state = {k: np.asarray(v) for k, v in first.items()}
    for _ in range(3):
        *_, after = evaluate(weighting, [1.0, 2.0, 3.0], state=state)
        state = {k: np.asarray(v) for k, v in after.items()}
        state = weighting.end_epoch(state, {})
        assert {k: v.shape for k, v in state.items()} == {
            k: v.shape for k, v in first.items()
        }


@EACH
def test_configuration_round_trip(name, config):
    weighting = make(name, config)
    serialised = keras.saving.serialize_keras_object(weighting)
    copy = keras.saving.deserialize_keras_object(json.loads(json.dumps(serialised)))
    assert type(copy) is type(weighting)
    assert copy.get_config() == weighting.get_config() == config


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), "2"])
def test_wrong_temperature(temperature):
    with pytest.raises(ValueError, match="Expected `temperature`"):
        mtl.weightings.DWA(temperature=temperature)


# === Fixed ===


def test_fixed_is_the_sum():
    objective, weights, _, _ = evaluate(mtl.weightings.Fixed(), [1.0, 2.0, 4.0])
    assert objective == 7
    assert weights.tolist() == [1, 1, 1]


# === Uncertainty ===


@pytest.mark.parametrize(
    ("losses", "log_variances", "expected"),
    [
        ([2.0, 1.0, 3.0], [0.0, 0.0, 0.0], 2 / 2 + 1 + 3),
        ([2.0, 0.0, 0.0], [np.log(4.0), 0.0, 0.0], 2 / (2 * 4) + np.log(2.0)),
        ([0.0, 3.0, 0.0], [0.0, np.log(9.0), 0.0], 3 / 9 + np.log(3.0)),
    ],
)
def test_uncertainty_by_hand(losses, log_variances, expected):
    """Kendall et al.: `L / 2σ² + log σ` for values, `L / σ² + log σ` for classes."""
    variables = {"log_variances": np.array(log_variances)}
    found, weights, _, _ = evaluate(
        mtl.weightings.Uncertainty(), losses, variables=variables
    )
    assert found == pytest.approx(expected)
    np.testing.assert_allclose(weights, [0.5, 1, 1] / np.exp(log_variances))


@pytest.mark.parametrize("losses", [[0.1, 1.0, 10.0], [1e-4, 1e4, 1.0]])
def test_uncertainty_is_lowest_at_its_closed_form(losses):
    """`s* = log(2 f L)`: no slope there, and nothing lower around it."""
    weighting = mtl.weightings.Uncertainty()
    factors = weighting.init(TASKS)[1]["factors"]
    best = np.log(2 * factors * losses)
    lowest, _, gradients, _ = evaluate(
        weighting, losses, variables={"log_variances": best}
    )
    np.testing.assert_allclose(gradients["log_variances"], 0, atol=1e-12)
    for shift in np.random.default_rng(0).normal(size=(20, 3)):
        nearby = {"log_variances": best + shift}
        assert evaluate(weighting, losses, variables=nearby)[0] > lowest


@pytest.mark.parametrize(
    ("head", "factor"),
    [
        (mtl.heads.Regression(2), 0.5),
        (mtl.heads.BoundingBox(), 0.5),
        (mtl.heads.Classification(3), 1.0),
        (mtl.heads.BinaryClassification(), 1.0),
        (mtl.heads.MultiLabelClassification(2), 1.0),
        (mtl.heads.Ordinal(3), 1.0),
    ],
)
def test_uncertainty_asks_the_head_for_its_likelihood(head, factor):
    _, state = mtl.weightings.Uncertainty().init((mtl.Task("a", head),))
    assert state["factors"].tolist() == [factor]


# === Dynamic weight average ===


def equation_7(history, temperature):
    """Literal transcription: weights of the epoch after those in `history`."""
    num_tasks = len(history[0]) if history else 3
    if len(history) < 2:
        return np.ones(num_tasks)
    ratio = np.array(
        [last / before for before, last in zip(*history[-2:], strict=True)]
    )
    return num_tasks * np.exp(ratio / temperature) / np.exp(ratio / temperature).sum()


@pytest.mark.parametrize("temperature", [0.5, 2.0, 10.0])
def test_dwa_follows_equation_7(temperature):
    rng = np.random.default_rng(0)
    weighting = mtl.weightings.DWA(temperature)
    state, history = weighting.init(TASKS)[1], []
    for _ in range(5):
        steps = rng.uniform(0.1, 3.0, size=(4, 3))
        for losses in steps:
            _, weights, _, state = evaluate(weighting, losses, state=state)
            np.testing.assert_allclose(weights, equation_7(history, temperature))
            state = {k: np.asarray(v) for k, v in state.items()}
        state = weighting.end_epoch(state, {})
        history.append(steps.mean(axis=0))


def test_dwa_by_hand():
    """Ratios 1 and ½, T = 2: 2 e^½ / (e^½ + e^¼) and the rest of 2."""
    state = {
        "sum": np.zeros(2),
        "steps": np.zeros(2),
        "last": np.array([3.0, 2.0]),
        "before": np.array([3.0, 4.0]),
    }
    _, weights, _, _ = evaluate(
        mtl.weightings.DWA(), [1.0, 1.0], tasks=TASKS[:2], state=state
    )
    np.testing.assert_allclose(weights, [1.1244, 0.8756], atol=1e-4)


def test_dwa_means_run_over_the_steps_with_a_label():
    """And an epoch without any leaves a task's history as it was."""
    weighting = mtl.weightings.DWA()
    state = weighting.init(TASKS)[1]

    def epoch(*steps):
        nonlocal state
        for losses in steps:
            active = ~np.isnan(losses)
            losses = np.nan_to_num(losses)
            *_, after = evaluate(weighting, losses, active, state=state)
            state = {k: np.asarray(v) for k, v in after.items()}
        state = weighting.end_epoch(state, {})

    nan = np.nan
    epoch(np.array([1.0, 2.0, nan]), np.array([3.0, nan, nan]))
    np.testing.assert_array_equal(state["last"], [2.0, 2.0, nan])
    np.testing.assert_array_equal(state["before"], [nan, nan, nan])
    epoch(np.array([1.0, nan, nan]))
    np.testing.assert_array_equal(state["last"], [1.0, 2.0, nan])
    np.testing.assert_array_equal(state["before"], [2.0, nan, nan])
    assert state["sum"].tolist() == state["steps"].tolist() == [0, 0, 0]
    _, weights, _, _ = evaluate(weighting, [1.0, 1.0, 1.0], state=state)
    ratios = np.exp(np.array([0.5, 1.0, 1.0]) / 2)
    np.testing.assert_allclose(weights, 3 * ratios / ratios.sum())


def test_dwa_of_a_loss_that_was_zero():
    for last, before in ([0.0, 1.0], [1.0, 0.0], [0.0, 0.0], [1e10, 1e-10]):
        found = mtl.weightings.dwa_weights(
            ops.array([last, 1.0]), ops.array([before, 1.0]), ops.ones(2, "bool"), 2.0
        )
        assert np.all(np.isfinite(found))
        assert np.sum(found) == pytest.approx(2, rel=1e-5)
