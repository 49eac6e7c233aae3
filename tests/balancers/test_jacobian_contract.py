"""What every balancer that needs the task gradients keeps, one row per method."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_mtl as mtl
from tests.asserts import error_with
from tests.balancers import jacobians, samplers

# name, configuration, fewest tasks
METHODS = [
    ("graddrop", {}, 1),
    ("graddrop", {"leak": 0.3}, 1),
    ("trimmed_mean", {}, 3),
    ("trimmed_mean", {"trim_number": 0}, 1),
    ("moco", {}, 1),
    ("moco", {"rho": 0.1, "projection": "softmax"}, 1),
    ("db_mtl_averaged", {}, 1),
    ("db_mtl_averaged", {"beta": 0.0}, 1),
    ("excess_mtl", {}, 1),
    ("excess_mtl", {"eta": 2.0}, 1),
    ("latest_gradients", {}, 1),
    ("latest_gradients", {"window": 9}, 1),
]
NAMES = sorted({name for name, _, _ in METHODS})
RANDOM = {"graddrop"}
# What a step with the same losses leaves as it was.
NO_CHANGE = {"initial_excess", "losses"}
EACH = pytest.mark.parametrize(
    ("name", "config", "fewest"),
    METHODS,
    ids=[f"{n}-{list(c.values())}" for n, c, _ in METHODS],
)


def make(name, config):
    return mtl.balancers.get({"class_name": name, "config": config})


@EACH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_degenerate_gradients(name, config, fewest, dtype):
    """Twice the same gradients: what a state remembers is finite, too."""
    for case, J in samplers.DEGENERATE.items():
        balancer = make(name, config)
        if len(J) < fewest:
            with error_with(ValueError, "tasks"):
                balancer.init_state(len(J), [J.shape[1]])
            continue
        updates, state = jacobians.run(balancer, [J, J, 0 * J, J], dtype=dtype)
        for update in updates:
            assert update.dtype == dtype, case
            assert np.all(np.isfinite(update)), case
            if case in ("one task, zero", "all zero"):
                assert not update.any(), case
        assert all(np.all(np.isfinite(v)) for v in state.values()), case


@EACH
def test_zero_losses(name, config, fewest):
    J = samplers.conflicting(3)
    update = jacobians.update(make(name, config), J, losses=np.zeros(3))
    assert np.all(np.isfinite(update))


@EACH
def test_nothing_active(name, config, fewest):
    """Nothing moves, and the state is that of before."""
    balancer, steps = make(name, config), jacobians.steps(3)
    actives = [[True] * 3, [True] * 3, [False] * 3]
    updates, state = jacobians.run(balancer, steps[:3], actives=actives)
    _, before = jacobians.run(balancer, steps[:2])
    assert not updates[2].any()
    for key, value in state.items():
        np.testing.assert_allclose(value, before[key], rtol=1e-12, err_msg=key)


@EACH
@pytest.mark.parametrize("missing", [0, 2, 3])
def test_an_inactive_task_is_as_good_as_none(name, config, fewest, missing):
    balancer, steps = make(name, config), jacobians.steps(4)
    losses, active = np.arange(1.0, 5.0), np.arange(4) != missing
    updates, _ = jacobians.run(balancer, steps, losses, [active] * len(steps))
    alone, _ = jacobians.run(balancer, [J[active] for J in steps], losses[active])
    np.testing.assert_allclose(updates, alone, atol=1e-12)


@EACH
def test_an_inactive_task_keeps_its_state(name, config, fewest):
    """Entries of the state that belong to it, the row or the number."""
    balancer, steps = make(name, config), jacobians.steps(4)
    actives = [[True] * 4, [True] * 4, [True, True, False, True]]
    _, state = jacobians.run(balancer, steps[:3], actives=actives)
    _, before = jacobians.run(balancer, steps[:2])
    for key, value in state.items():
        if key == "steps_ago":  # It tells how old the rest is.
            assert (value[2], before[key][2]) == (1, 0)
            continue
        np.testing.assert_allclose(value[2], before[key][2], rtol=1e-12, err_msg=key)
        assert not np.allclose(value[1], before[key][1], rtol=1e-9) or (
            key in NO_CHANGE
        )


@EACH
def test_a_task_that_comes_later_starts_then(name, config, fewest):
    """Its first active step counts, as if the run had begun there (same gradients)."""
    balancer = make(name, config)
    J = np.tile(samplers.conflicting(1), (4, 1))
    late = np.array([True, True, True, False])
    _, state = jacobians.run(balancer, [J, J], actives=[late, ~late])
    for key, value in state.items():
        if key not in ("weights", "log_weights"):
            _, once = jacobians.run(balancer, [J])
            np.testing.assert_allclose(value[3], once[key][3], rtol=1e-12)


@EACH
def test_permuted_tasks_give_one_update(name, config, fewest):
    balancer, steps = make(name, config), jacobians.steps(4)
    losses, order = np.arange(1.0, 5.0), [2, 0, 3, 1]
    updates, state = jacobians.run(balancer, steps, losses)
    permuted, other = jacobians.run(balancer, [J[order] for J in steps], losses[order])
    np.testing.assert_allclose(permuted, updates, atol=1e-12)
    for key, value in state.items():
        np.testing.assert_allclose(other[key], value[order], atol=1e-12)


@EACH
def test_one_seed_gives_one_update(name, config, fewest):
    J = samplers.conflicting(4)
    one, same, other = (
        jacobians.update(make(name, config), J, seed=seed) for seed in (3, 3, 4)
    )
    assert one.tolist() == same.tolist()
    assert (one.tolist() == other.tolist()) == (name not in RANDOM)


@EACH
def test_blocks_are_only_a_layout(name, config, fewest):
    if name in RANDOM:
        config = {"leak": 1.0}  # its draws belong to the block
    balancer, steps = make(name, config), jacobians.steps(3)
    one, _ = jacobians.run(balancer, steps, split=20)
    two, _ = jacobians.run(balancer, steps)
    np.testing.assert_allclose(two, one, atol=1e-12)


@EACH
def test_float32_is_near_float64(name, config, fewest):
    balancer, steps = make(name, config), jacobians.steps(5)
    exact, _ = jacobians.run(balancer, steps)
    updates, _ = jacobians.run(balancer, steps, dtype="float32")
    np.testing.assert_allclose(updates, exact, atol=1e-4)


@EACH
@pytest.mark.parametrize("jit_compile", [False, True])
def test_graph_and_xla_give_the_numbers_of_eager(name, config, fewest, jit_compile):
    """One trace serves all steps: nothing depends on tensor values."""
    balancer, steps = make(name, config), jacobians.steps(4)

    def compute(blocks, gram, losses, active, state, seed):
        seed = samplers.Seed(seed)
        return balancer.combine(blocks, gram, losses, active, state, seed)

    graph = tf.function(compute, autograph=False, jit_compile=jit_compile)
    state = eager_state = jacobians.initial(balancer, steps[0])
    losses = np.linspace(0.5, 2.0, 4)
    for index, J in enumerate(steps):
        active = np.array([True, True, True, index != 1])
        J = np.where(active[:, None], J, 0.0)
        expected, eager_state = jacobians.step(
            balancer, J, eager_state, losses, active, seed=index
        )
        found, state = graph(
            [ops.array(block) for block in jacobians.cut(J)],
            ops.array(J @ J.T),
            ops.array(np.where(active, losses, 0.0)),
            ops.array(active),
            state,
            tf.constant(index),
        )
        np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-10)
    assert graph.experimental_get_tracing_count() == 1


@EACH
def test_state_keeps_its_shapes(name, config, fewest):
    balancer, steps = make(name, config), jacobians.steps(4)
    first = jacobians.initial(balancer, steps[0])
    _, state = jacobians.run(balancer, steps)
    assert {k: v.shape for k, v in state.items()} == {
        k: tuple(v.shape) for k, v in first.items()
    }


@EACH
def test_configuration_round_trip(name, config, fewest):
    balancer = make(name, config)
    serialised = keras.saving.serialize_keras_object(balancer)
    copy = keras.saving.deserialize_keras_object(json.loads(json.dumps(serialised)))
    assert type(copy) is type(balancer)
    assert copy.get_config() == balancer.get_config()
    assert balancer.get_config().items() >= config.items()


@pytest.mark.parametrize(
    ("name", "config", "parts"),
    [
        ("graddrop", {"leak": 1.5}, ["`leak`", "from 0 to 1", "leak=1.5"]),
        ("graddrop", {"leak": [0.5, "a"]}, ["`leak`", "leak='a'"]),
        ("trimmed_mean", {"trim_number": -1}, ["`trim_number`", ">= 0"]),
        ("trimmed_mean", {"trim_number": 0.5}, ["`trim_number`", "0.5"]),
        ("moco", {"beta": 2.0}, ["`beta`", "from 0 to 1", "beta=2.0"]),
        ("moco", {"gamma": -1.0}, ["`gamma`", ">= 0"]),
        ("moco", {"rho": "a"}, ["`rho`", "rho='a'"]),
        ("moco", {"projection": "ball"}, ["`projection`", "'softmax'", "'ball'"]),
        ("db_mtl_averaged", {"beta": 1.0}, ["`beta`", "below 1", "beta=1.0"]),
        ("db_mtl_averaged", {"beta": -0.1}, ["`beta`", "from 0 to 1"]),
        ("excess_mtl", {"eta": -1.0}, ["`eta`", ">= 0", "eta=-1.0"]),
        ("latest_gradients", {"window": 0}, ["`window`", ">= 1", "window=0"]),
        ("latest_gradients", {"balancer": "moco"}, ["`balancer`", "Gram", "'moco'"]),
        ("latest_gradients", {"balancer": "modo"}, ["`balancer`", "one batch"]),
    ],
)
def test_wrong_configuration(name, config, parts):
    with error_with(ValueError, *parts):
        make(name, config)


@pytest.mark.parametrize(
    ("name", "config", "parts"),
    [
        ("graddrop", {"leak": [0.1, 0.2]}, ["`leak`", "3 tasks", "[0.1, 0.2]"]),
        (
            "trimmed_mean",
            {"trim_number": 2},
            ["more than 4", "trim_number=2", "3 tasks"],
        ),
    ],
)
def test_what_does_not_fit_the_number_of_tasks(name, config, parts):
    with error_with(ValueError, *parts):
        make(name, config).init_state(3, [20])
