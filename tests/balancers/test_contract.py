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
]
NAMES = sorted({name for name, _ in METHODS})
RANDOM = {"pcgrad"}  # draws; equivariant in distribution only
EACH = pytest.mark.parametrize(
    ("name", "config"), METHODS, ids=[f"{n}-{list(c.values())}" for n, c in METHODS]
)


def make(name, config):
    return mtl.balancers.get({"class_name": name, "config": config})


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
    found = samplers.weights(make(name, config), J, active=[False] * 3)
    assert found.tolist() == [0, 0, 0]


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
def test_permuted_tasks_get_permuted_weights(name, config):
    num_tasks = 2 if name in RANDOM else 3
    balancer, J = make(name, config), samplers.conflicting(num_tasks)
    losses = np.arange(1.0, num_tasks + 1)
    expected = samplers.weights(balancer, J, losses)
    for order in itertools.permutations(range(num_tasks)):
        order = list(order)
        found = samplers.weights(balancer, J[order], losses[order])
        np.testing.assert_allclose(found, expected[order], atol=1e-8)


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

    def compute(gram, losses, active, seed):
        found, state = balancer.weights(gram, losses, active, {}, samplers.Seed(seed))
        assert state == {}
        return found

    graph = tf.function(compute, jit_compile=jit_compile)
    for seed in (1, 2):
        J = samplers.conflicting(4, seed=seed)
        active = [True, True, True, seed == 1]
        eager = samplers.weights(balancer, J, active=active, seed=seed)
        J = np.where(np.array(active)[:, None], J, 0)
        losses = ops.array(np.linspace(0.5, 2.0, 4), "float64")
        gram, active = ops.array(J @ J.T, "float64"), ops.array(active)
        found = graph(gram, losses, active, tf.constant(seed))
        np.testing.assert_allclose(found, eager, atol=1e-9)
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
        ("config", {"preference": [0.0, 0]}, ["`preference`", "above", "[0.0, 0]"]),
        ("aligned_mtl", {"preference": 2.0}, ["`preference`", "list", "2.0"]),
    ],
)
def test_wrong_configuration(name, config, parts):
    with error_with(ValueError, *parts):
        make(name, config)
