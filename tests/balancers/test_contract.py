"""What every balancer keeps, one row per method."""

import itertools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_mtl as mtl
from keras_mtl.utils.registry import Registry
from tests.asserts import error_with
from tests.balancers import samplers
from tests.balancers.test_jacobian_contract import NAMES as JACOBIAN_NAMES

# name, configuration
METHODS = [
    ("pcgrad", {}),
    ("mgda", {}),
    ("mgda", {"normalization": "l2"}),
    ("mgda", {"normalization": "loss"}),
    ("mgda", {"normalization": "loss+"}),
    ("cagrad", {}),
    ("cagrad", {"c": 0.0, "rescale": 0}),
    ("cagrad", {"c": 0.4, "rescale": 2}),
    ("nash_mtl", {}),
    ("nash_mtl", {"max_norm": None}),
    ("fairgrad", {}),
    ("fairgrad", {"alpha": 0.5}),
    ("fairgrad", {"alpha": 10.0}),
    ("upgrad", {}),
    ("dualproj", {}),
    ("aligned_mtl", {}),
    ("aligned_mtl", {"scale": "median"}),
    ("aligned_mtl", {"scale": "rmse"}),
    ("imtl_g", {}),
    ("config", {}),
    ("gradvac", {}),
    ("gradvac", {"beta": 0.5}),
    ("metabalance", {}),
    ("metabalance", {"target": 0, "relaxation": 1.0, "beta": 0.5}),
    ("norm_proportion", {}),
    ("gradnorm", {}),
    ("gradnorm", {"alpha": 0.0, "learning_rate": 0.5}),
    ("db_mtl", {}),
    ("krum", {}),
    ("cr_mogm", {}),
    ("cr_mogm", {"alpha": 0.5}),
    ("sdmgrad", {}),
    ("sdmgrad", {"regularization": 0.0, "num_iterations": 3}),
    ("modo", {}),
    ("modo", {"gamma": 0.01, "rho": 0.0}),
    ("validation_descent", {}),
    ("validation_descent", {"learning_rate": 0.2}),
]
NAMES = sorted({name for name, _ in METHODS})
RANDOM = {"pcgrad", "gradvac"}  # draws; equivariant in distribution only
EACH = pytest.mark.parametrize(
    ("name", "config"), METHODS, ids=[f"{n}-{list(c.values())}" for n, c in METHODS]
)


def make(name, config):
    return mtl.balancers.get({"class_name": name, "config": config})


def reordered(name, config, order):
    """The configuration for tasks in another order: some name a task by its index."""
    if name == "metabalance":
        return {**config, "target": order.index(config.get("target", 0))}
    return config


def after_steps(balancer, num_tasks, steps=3, order=None):
    """The state after some steps with gradients and losses that change."""
    state, order = balancer.init_state(num_tasks), order or list(range(num_tasks))
    if not state:
        return state
    for seed in range(steps):
        J = samplers.conflicting(num_tasks, seed=10 + seed)
        losses = np.arange(1.0, num_tasks + 1) ** (1.0 - 0.3 * seed)
        _, state = samplers.step(balancer, J[order], losses[order], state=state)
    return state


def test_every_method_has_a_row():
    assert mtl.balancers.registry.names() == sorted(NAMES + JACOBIAN_NAMES)


def test_completeness_notices_a_missing_row():
    more = Registry("balancer")
    more._classes = {**mtl.balancers.registry._classes, "another": object}
    assert more.names() != sorted(NAMES + JACOBIAN_NAMES)


@EACH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_degenerate_gradients(name, config, dtype):
    for case, J in samplers.DEGENERATE.items():
        found = samplers.weights(make(name, config), J, dtype=dtype)
        assert found.shape == (len(J),), case
        assert found.dtype == dtype, case
        assert np.all(np.isfinite(found)), case
        assert np.all(np.isfinite(found @ J.astype(dtype))), case


@EACH
def test_zero_losses(name, config):
    J = samplers.conflicting(3)
    found = samplers.weights(make(name, config), J, losses=np.zeros(3))
    assert np.all(np.isfinite(found))


@EACH
def test_one_task_keeps_its_direction(name, config):
    (found,) = samplers.weights(make(name, config), samplers.conflicting(1))
    assert found > 0


@EACH
def test_nothing_active(name, config):
    J = samplers.conflicting(3)
    balancer = make(name, config)
    for before in (balancer.init_state(3), after_steps(balancer, 3)):
        found, after = samplers.step(balancer, J, active=[False] * 3, state=before)
        assert found.tolist() == [0, 0, 0]
        assert after.keys() == before.keys()
        for key, value in after.items():
            np.testing.assert_array_equal(value, before[key])


@EACH
@pytest.mark.parametrize("num_tasks", [2, 4])
def test_an_inactive_task_is_as_good_as_none(name, config, num_tasks):
    balancer = make(name, config)
    J, losses = samplers.conflicting(num_tasks), np.arange(1.0, num_tasks + 1)
    positions = [num_tasks - 1] if name in RANDOM else range(num_tasks)
    for missing in positions:
        active = np.arange(num_tasks) != missing
        found = samplers.weights(balancer, J, losses, active)
        alone = samplers.weights(balancer, J[active], losses[active])
        assert found[missing] == 0
        np.testing.assert_allclose(found[active], alone, atol=1e-9)


@EACH
def test_an_inactive_task_is_as_good_as_none_later_on(name, config):
    """With the state of earlier steps, of which it keeps its part."""
    num_tasks = 4
    balancer = make(name, config)
    before = after_steps(balancer, num_tasks)
    J, losses = samplers.conflicting(num_tasks), np.arange(1.0, num_tasks + 1)
    positions = [num_tasks - 1] if name in RANDOM else range(num_tasks)
    for missing in positions:
        active = np.arange(num_tasks) != missing
        found, after = samplers.step(balancer, J, losses, active, state=before)
        rest = {k: v[np.ix_(*[active] * v.ndim)] for k, v in before.items()}
        alone, expected = samplers.step(balancer, J[active], losses[active], state=rest)
        assert found[missing] == 0
        np.testing.assert_allclose(found[active], alone, atol=1e-9)
        for key, value in after.items():
            others = value[np.ix_(*[active] * value.ndim)]
            np.testing.assert_allclose(others, expected[key], atol=1e-9)
            for axis in range(value.ndim):
                own = np.take(value, missing, axis)
                np.testing.assert_array_equal(own, np.take(before[key], missing, axis))


@EACH
def test_permuted_tasks_get_permuted_weights(name, config):
    num_tasks = 2 if name in RANDOM else 3
    balancer, J = make(name, config), samplers.conflicting(num_tasks)
    losses = np.arange(1.0, num_tasks + 1)
    later = after_steps(balancer, num_tasks)
    expected = [samplers.step(balancer, J, losses, state=s)[0] for s in (None, later)]
    for order in map(list, itertools.permutations(range(num_tasks))):
        moved = make(name, reordered(name, config, order))
        later = after_steps(moved, num_tasks, order=order)
        for state, weights in zip((None, later), expected, strict=True):
            found, _ = samplers.step(moved, J[order], losses[order], state=state)
            np.testing.assert_allclose(found, weights[order], atol=1e-8)


@EACH
def test_one_seed_gives_one_result(name, config):
    J = samplers.conflicting(6)
    one, same = (samplers.weights(make(name, config), J, seed=3) for _ in range(2))
    assert one.tolist() == same.tolist()
    if name not in RANDOM:
        assert one.tolist() == samplers.weights(make(name, config), J, seed=4).tolist()


@pytest.mark.parametrize(
    ("name", "config", "jit_compile"),
    [(*row, False) for row in METHODS] + [(n, {}, True) for n in NAMES],
)
def test_graph_and_xla_give_the_numbers_of_eager(name, config, jit_compile):
    """One trace serves all steps: nothing depends on tensor values."""
    balancer = make(name, config)

    def compute(gram, losses, active, state, seed):
        return balancer.weights(gram, losses, active, state, samplers.Seed(seed))

    graph = tf.function(compute, autograph=False, jit_compile=jit_compile)
    losses = np.linspace(0.5, 2.0, 4)
    state = balancer.init_state(4)
    for seed in (1, 2, 3):
        J = samplers.conflicting(4, seed=seed)
        active = np.array([True, True, True, seed != 2])
        eager, after = samplers.step(balancer, J, losses, active, seed, state={**state})
        J = np.where(active[:, None], J, 0)
        found, state = graph(
            ops.array(J @ J.T, "float64"),
            ops.array(losses, "float64"),
            ops.array(active),
            {key: ops.array(value, "float64") for key, value in state.items()},
            tf.constant(seed),
        )
        np.testing.assert_allclose(found, eager, atol=1e-9)
        assert state.keys() == after.keys()
        for key, value in state.items():
            np.testing.assert_allclose(value, after[key], atol=1e-9)
    assert graph.experimental_get_tracing_count() == 1


@EACH
def test_state_keeps_its_shapes(name, config):
    balancer = make(name, config)
    first = balancer.init_state(3)
    J = samplers.conflicting(3)
    gram, losses = ops.array(J @ J.T), ops.ones(3)
    state = {k: ops.array(v) for k, v in first.items()}
    for _ in range(2):
        _, state = balancer.weights(
            gram, losses, ops.ones(3, "bool"), state, samplers.Seed(1)
        )
        assert {k: tuple(v.shape) for k, v in state.items()} == {
            k: np.shape(v) for k, v in first.items()
        }


@EACH
def test_configuration_round_trip(name, config):
    balancer = make(name, config)
    serialised = keras.saving.serialize_keras_object(balancer)
    copy = keras.saving.deserialize_keras_object(json.loads(json.dumps(serialised)))
    assert type(copy) is type(balancer)
    assert copy.get_config() == balancer.get_config()
    assert balancer.get_config().items() >= config.items()


@pytest.mark.parametrize(
    ("name", "config", "parts"),
    [
        ("mgda", {"normalization": "l1"}, ["`normalization`", "'l2'", "'l1'"]),
        ("cagrad", {"c": -0.1}, ["`c`", ">= 0", "c=-0.1"]),
        ("cagrad", {"c": "a"}, ["`c`", "c='a'"]),
        ("cagrad", {"rescale": 3}, ["`rescale`", "[0, 1, 2]", "rescale=3"]),
        ("cagrad", {"alpha": 3}, ["`cagrad`", "alpha"]),
        ("nash_mtl", {"max_norm": 0.0}, ["`max_norm`", "> 0", "max_norm=0.0"]),
        ("fairgrad", {"alpha": 0}, ["`alpha`", "> 0", "alpha=0"]),
        ("aligned_mtl", {"scale": "max"}, ["`scale`", "'rmse'", "scale='max'"]),
        ("upgrad", {"preference": []}, ["`preference`", "preference=[]"]),
        ("dualproj", {"preference": [1, -1]}, ["`preference`", ">= 0", "-1"]),
        (
            "config",
            {"preference": [0.0, 0]},
            ["`preference`", "not all", "[0.0, 0]"],
        ),
        ("aligned_mtl", {"preference": 2.0}, ["`preference`", "list", "2.0"]),
        ("gradvac", {"beta": 1.1}, ["`beta`", "from 0 to 1", "beta=1.1"]),
        ("metabalance", {"target": -1}, ["`target`", ">= 0", "target=-1"]),
        ("metabalance", {"relaxation": 2}, ["`relaxation`", "from 0 to 1"]),
        ("metabalance", {"beta": 1.0}, ["`beta`", "< 1", "beta=1.0"]),
        ("gradnorm", {"alpha": -1}, ["`alpha`", ">= 0", "alpha=-1"]),
        ("gradnorm", {"learning_rate": 0}, ["`learning_rate`", "> 0"]),
        ("krum", {"num_byzantine": -1}, ["`num_byzantine`", ">= 0"]),
        ("krum", {"num_selected": 0}, ["`num_selected`", ">= 1"]),
        ("cr_mogm", {"alpha": 1.0}, ["`alpha`", "< 1", "alpha=1.0"]),
        ("cr_mogm", {"balancer": 3}, ["`balancer`", "Gram matrix", "balancer=3"]),
        ("cr_mogm", {"balancer": "cagard"}, ["Unknown balancer", "'cagrad'"]),
        ("sdmgrad", {"regularization": -1}, ["`regularization`", ">= 0"]),
        ("sdmgrad", {"num_iterations": 0}, ["`num_iterations`", ">= 1"]),
        ("sdmgrad", {"learning_rate": 0.0}, ["`learning_rate`", "> 0"]),
        ("sdmgrad", {"momentum": 1}, ["`momentum`", "< 1"]),
        ("sdmgrad", {"preference": [0, 0]}, ["`preference`", "not all of them 0"]),
        ("modo", {"gamma": 0}, ["`gamma`", "> 0", "gamma=0"]),
        ("modo", {"rho": -0.1}, ["`rho`", ">= 0", "rho=-0.1"]),
        ("validation_descent", {"learning_rate": 0}, ["`learning_rate`", "> 0"]),
        ("validation_descent", {"preference": 1.0}, ["`preference`", "`None` or"]),
    ],
)
def test_wrong_configuration(name, config, parts):
    with error_with(ValueError, *parts):
        make(name, config)


@pytest.mark.parametrize(
    ("name", "config", "num_tasks", "parts"),
    [
        ("metabalance", {"target": 2}, 2, ["`target`", "2 tasks", "target=2"]),
        ("krum", {"num_byzantine": 1}, 4, ["at least 5 tasks", "4 tasks", "lower"]),
        ("krum", {"num_selected": 3}, 2, ["`num_selected`", "num_selected=3"]),
        ("sdmgrad", {"preference": [1, 2]}, 3, ["`preference`", "3 in all"]),
        ("validation_descent", {"preference": [1]}, 2, ["`preference`", "2 in all"]),
    ],
)
def test_configuration_that_does_not_fit_the_tasks(name, config, num_tasks, parts):
    with error_with(ValueError, *parts):
        make(name, config).init_state(num_tasks)
