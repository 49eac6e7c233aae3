"""What every loss weighting keeps, one row per method; and the oldest three."""

import itertools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_mtl as mtl
from tests.asserts import error_with
from tests.balancers.samplers import Seed
from tests.weightings import samplers
from tests.weightings.samplers import NAMES, TASKS, evaluate, make, tensors

# name, configuration
METHODS = [
    ("fixed", {}),
    ("uncertainty", {}),
    ("uncertainty", {"form": "positive"}),
    ("dwa", {"temperature": 3.0}),
    ("gls", {}),
    ("rlw", {}),
    ("stch", {}),
    ("stch", {"mu": 0.2, "preference": [1.0, 2.0, 4.0], "ideal": {"t1": -1.0}}),
    ("imtl_l", {}),
    ("famo", {}),
    ("famo", {"form": "next_batch", "optimizer": "sgd", "minimum": {"t0": -0.5}}),
    ("dtp", {"metrics": {name: f"{name}_accuracy" for name in NAMES}}),
    ("validation_adaptive", {}),
    ("validation_adaptive", {"metrics": {n: f"{n}_accuracy" for n in NAMES}}),
    ("data_based", {"counts": {"t0": 100, "t1": 50, "t2": 400}}),
    ("data_based", {"entropies": {"t0": 0.7, "t1": 2.3, "t2": 1.1}}),
]
RANDOM = {"rlw"}  # draws; equivariant in distribution only, see test_rlw.py
EACH = pytest.mark.parametrize(
    ("name", "config"), METHODS, ids=[f"{n}-{list(c)}" for n, c in METHODS]
)


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
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_degenerate_losses(name, config, dtype):
    for case, losses in samplers.DEGENERATE.items():
        tasks = TASKS[: len(losses)]
        weighting = make(name, samplers.config_for(config, tasks))
        state = weighting.init(tasks)[1]
        for _ in range(2):
            objective, weights, gradients, state = evaluate(
                weighting, losses, state=state, dtype=dtype
            )
            assert np.isfinite(objective), case
            assert weights.shape == (len(losses),), case
            assert weights.dtype == dtype, case
            assert np.all(np.isfinite(weights)), case
            assert all(np.all(np.isfinite(g)) for g in gradients.values()), case
            new = tf.constant(losses[::-1], dtype)
            active = tf.ones(len(losses), "bool")
            state = weighting.after_step(new, active, tensors(state, dtype))
            state = samplers.arrays(state)
            assert all(v.dtype == dtype for v in state.values()), case


@EACH
@pytest.mark.parametrize("prepared", [False, True])
def test_an_inactive_task_is_as_good_as_none(name, config, prepared):
    weighting = make(name, config)
    positions = [2] if name in RANDOM else range(3)
    for missing in positions:
        active = np.arange(3) != missing
        rest = tuple(t for t, on in zip(TASKS, active, strict=True) if on)
        short = make(name, samplers.config_for(config, rest))
        before, short_before = weighting.init(TASKS)[1], short.init(rest)[1]
        if prepared:
            before = samplers.trained(weighting, TASKS, active)
            short_before = samplers.trained(short, rest)
        losses = np.array([1.0, 2.0, 3.0])
        found, weights, gradients, state = evaluate(
            weighting, losses, active, state=before
        )
        alone, fewer, of_fewer, short_state = evaluate(
            short, losses[active], tasks=rest, state=short_before
        )
        assert found == pytest.approx(alone)
        np.testing.assert_allclose(weights[active], fewer)
        for key, gradient in gradients.items():
            assert gradient[missing] == 0
            np.testing.assert_allclose(gradient[active], of_fewer[key])
        first = weighting.init(TASKS)[1]
        for key, value in state.items():
            np.testing.assert_array_equal(value[missing], before[key][missing])
            np.testing.assert_array_equal(value[missing], first[key][missing])
            np.testing.assert_allclose(value[active], short_state[key])


@EACH
def test_nothing_active(name, config):
    objective, _, gradients, state = evaluate(
        make(name, config), [1.0, 1.0, 1.0], active=[False] * 3
    )
    assert objective == 0
    assert all(np.all(g == 0) for g in gradients.values())
    before = make(name, config).init(TASKS)[1]
    nothing = tf.constant([False] * 3)
    after = make(name, config).after_step(tf.zeros(3, "float64"), nothing, state)
    for key, value in after.items():
        np.testing.assert_array_equal(value, before[key])


@pytest.mark.parametrize(
    ("name", "config"), [row for row in METHODS if row[0] not in RANDOM]
)
def test_permuted_tasks_get_permuted_weights(name, config):
    losses = np.array([1.0, 2.0, 3.0])
    weighting = make(name, config)
    expected = evaluate(weighting, losses, state=samplers.trained(weighting))[1]
    for order in itertools.permutations(range(3)):
        order = list(order)
        tasks = tuple(TASKS[i] for i in order)
        other = make(name, samplers.config_for(config, tasks))
        state = samplers.trained(other, tasks)
        found = evaluate(other, losses[order], tasks=tasks, state=state)[1]
        np.testing.assert_allclose(found, expected[order])


@EACH
@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_graph_and_xla_give_the_numbers_of_eager(name, config, jit_compile):
    """One trace serves all steps: nothing depends on tensor values."""
    weighting = make(name, config)
    variables = tensors(weighting.init(TASKS)[0])
    state = tensors(samplers.trained(weighting))

    def compute(losses, active, seed):
        with tf.GradientTape() as tape:
            tape.watch(losses)
            found, after = weighting.objective(
                losses, active, variables, state, Seed(seed)
            )
        after = weighting.after_step(losses / 2, active, after)
        return found, tape.gradient(found, losses), after

    compiled = tf.function(compute, autograph=False, jit_compile=jit_compile)
    for active in ([True, True, True], [True, False, True]):
        losses = tf.constant(np.where(active, [1.0, 2.0, 3.0], 0.0))
        found = compiled(losses, tf.constant(active), tf.constant(2))
        expected = compute(losses, tf.constant(active), tf.constant(2))
        assert found[2].keys() == expected[2].keys()
        # Random numbers are in float32.
        tolerance = 1e-6 if name in RANDOM else 1e-12
        for one, other in zip(*map(tf.nest.flatten, (found, expected)), strict=True):
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)
    assert compiled.experimental_get_tracing_count() == 1


@EACH
def test_state_keeps_its_shapes_over_epochs(name, config):
    weighting = make(name, config)
    shapes = {k: np.shape(v) for k, v in weighting.init(TASKS)[1].items()}
    for epochs in range(4):
        state = samplers.trained(weighting, epochs=epochs)
        assert {k: v.shape for k, v in state.items()} == shapes


@EACH
def test_configuration_round_trip(name, config):
    weighting = make(name, config)
    serialised = keras.saving.serialize_keras_object(weighting)
    copy = keras.saving.deserialize_keras_object(json.loads(json.dumps(serialised)))
    assert type(copy) is type(weighting)
    assert copy.get_config() == weighting.get_config()
    assert copy.get_config().items() >= config.items()


@pytest.mark.parametrize(
    ("name", "config", "parts"),
    [
        ("uncertainty", {"form": "a"}, ["`form`", "'positive'", "form='a'"]),
        ("stch", {"mu": 0}, ["`mu`", "> 0", "mu=0"]),
        ("stch", {"preference": [1, 0, 1]}, ["`preference`", "> 0", "0"]),
        ("famo", {"form": "a"}, ["`form`", "'next_batch'", "form='a'"]),
        ("famo", {"optimizer": "rmsprop"}, ["`optimizer`", "'sgd'", "'rmsprop'"]),
        ("famo", {"learning_rate": 0}, ["`learning_rate`", "> 0"]),
        ("famo", {"decay": -1}, ["`decay`", ">= 0"]),
        ("dtp", {}, ["`dtp`", "metrics"]),
        ("dtp", {"metrics": "accuracy"}, ["`metrics`", "dict", "'accuracy'"]),
        ("dtp", {"metrics": {"t0": 3}}, ["`metrics`", "names in the logs"]),
        ("dtp", {"metrics": {}, "gamma": -1}, ["`gamma`", ">= 0"]),
        ("dtp", {"metrics": {}, "smoothing": 0}, ["`smoothing`", "<= 1", "=0"]),
        ("validation_adaptive", {"window": 0}, ["`window`", ">= 1"]),
        ("validation_adaptive", {"metrics": ["a"]}, ["`metrics`", "['a']"]),
        ("data_based", {}, ["`counts`", "`entropies`", "counts=None"]),
        ("data_based", {"counts": {}, "entropies": {}}, ["one of `counts`"]),
        ("data_based", {"counts": {"t0": 0}}, ["`counts`", "> 0", "0"]),
    ],
)
def test_wrong_configuration(name, config, parts):
    with error_with(ValueError, *parts):
        make(name, config)


@pytest.mark.parametrize(
    ("name", "config", "parts"),
    [
        ("stch", {"preference": [1, 2]}, ["`preference`", "'t2'", "[1, 2]"]),
        ("stch", {"ideal": {"a": 1.0}}, ["`ideal`", "'t2'", "['a']"]),
        ("famo", {"minimum": {"t0": "x"}}, ["`minimum`", "finite number", "'x'"]),
        ("dtp", {"metrics": {"t0": "a"}}, ["`metrics`", "without ['t1', 't2']"]),
        ("data_based", {"counts": {"t0": 1}}, ["`counts`", "without ['t1', 't2']"]),
        ("validation_adaptive", {"metrics": {}}, ["`metrics`", "every task"]),
    ],
)
def test_what_does_not_fit_the_tasks(name, config, parts):
    with error_with(ValueError, *parts):
        make(name, config).init(TASKS)


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


@pytest.mark.parametrize("losses", [[0.1, 1.0, 10.0], [1e-4, 1e4, 1.0]])
def test_positive_uncertainty_is_lowest_at_its_closed_form(losses):
    """With `a = L / 2` the slope is zero where `σ⁴ = a (1 + σ²)`."""
    weighting = mtl.weightings.Uncertainty(form="positive")
    a = np.array(losses) / 2
    best = np.log((a + np.sqrt(a**2 + 4 * a)) / 2)
    lowest, _, gradients, _ = evaluate(
        weighting, losses, variables={"log_variances": best}
    )
    np.testing.assert_allclose(gradients["log_variances"], 0, atol=1e-12)
    for shift in np.random.default_rng(0).normal(size=(20, 3)):
        nearby = {"log_variances": best + shift}
        assert evaluate(weighting, losses, variables=nearby)[0] > lowest > 0


def test_positive_uncertainty_by_hand():
    """Liebel & Körner: `L / 2σ² + log(1 + σ²)` for every task."""
    variables = {"log_variances": np.log([1.0, 4.0, 9.0])}
    found, weights, _, _ = evaluate(
        mtl.weightings.Uncertainty(form="positive"),
        [2.0, 8.0, 3.0],
        None,
        TASKS,
        variables,
    )
    assert found == pytest.approx(1 + 1 + 1 / 6 + np.log(2.0 * 5.0 * 10.0))
    np.testing.assert_allclose(weights, [1 / 2, 1 / 8, 1 / 18])


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
        state = weighting.end_epoch(state, {}, TASKS)
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
        state = weighting.end_epoch(state, {}, TASKS)

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
