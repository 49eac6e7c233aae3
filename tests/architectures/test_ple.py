"""PLE and CGC, level by level in NumPy, and what they are in the limits."""

import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl.training.graph import task_variables
from tests.architectures.experts import (
    bank_by_hand,
    connected,
    gate_by_hand,
    mixture_by_hand,
    outputs,
    plain_backbone,
    scramble,
    tasks,
)
from tests.asserts import error_with

X = np.random.default_rng(1).normal(size=(7, 5)).astype("float32")
PLE, CGC = mtl.architectures.PLE, mtl.architectures.CGC


def by_hand(model, names, num_levels, shared_experts=True):
    """Features of every task, by the figures of the paper."""
    lanes, shared = dict.fromkeys(names, X.astype("float64")), X.astype("float64")

    def experts(lane, level, x):
        return bank_by_hand(model.get_layer(f"{lane}_experts_{level}"), x)

    def gate(lane, level, x):
        return gate_by_hand(model.get_layer(f"{lane}_gate_{level}"), x)

    for level in range(num_levels):
        common = [experts("pooled", level, shared)] if shared_experts else []
        own = {name: experts(f"{name}_pooled", level, lanes[name]) for name in names}
        if level < num_levels - 1 and shared_experts:
            weights = gate("pooled", level, shared)
            shared = mixture_by_hand(weights, *own.values(), *common)
        lanes = {
            name: mixture_by_hand(
                gate(f"{name}_pooled", level, lanes[name]), own[name], *common
            )
            for name in names
        }
    return lanes


@pytest.mark.parametrize("num_levels", [1, 2, 3])
@pytest.mark.parametrize("shared_experts", [0, 2])
def test_equals_the_paper(num_levels, shared_experts):
    ple = PLE(num_levels, shared_experts=shared_experts, task_experts=3, units=(6, 4))
    names = ("a", "b", "c")
    model = connected(ple, plain_backbone(), names)
    scramble(model)
    found = outputs(model, X)
    expected = by_hand(model, names, num_levels, shared_experts > 0)
    for name in names:
        np.testing.assert_allclose(
            found[name]["pooled"], expected[name], rtol=1e-4, atol=1e-5
        )


def test_one_level_is_cgc():
    config = {"shared_experts": 2, "task_experts": 3, "units": (4,)}
    one, other = (
        connected(kind(**config), plain_backbone())
        for kind in (CGC, lambda **kwargs: PLE(1, **kwargs))
    )
    scramble(one)
    other.set_weights(one.get_weights())
    assert [w.path for w in one.weights] == [w.path for w in other.weights]
    for task, value in outputs(one, X).items():
        found = outputs(other, X)[task]["pooled"]
        np.testing.assert_array_equal(found, value["pooled"])


def test_without_task_experts_one_level_is_mmoe():
    cgc = connected(CGC(shared_experts=3, task_experts=0, units=(4,)), plain_backbone())
    mmoe = connected(mtl.architectures.MMoE(3, units=(4,)), plain_backbone())
    scramble(mmoe)
    for name in ("experts", "a_gate", "b_gate"):
        *task, part = name.split("_")
        layer = "_".join([*task, "pooled", part])
        weights = mmoe.get_layer(layer).get_weights()
        cgc.get_layer(f"{layer}_0").set_weights(weights)
    for task, value in outputs(mmoe, X).items():
        found = outputs(cgc, X)[task]["pooled"]
        np.testing.assert_array_equal(found, value["pooled"])


def test_without_shared_experts_tasks_share_the_backbone_alone():
    net = mtl.backbones.MLP(input_shape=(5,), units=(6,))
    ple = PLE(2, shared_experts=0, task_experts=2, units=(4,))
    reach = task_variables(
        mtl.build_model(net, list(tasks("a", "b")), architecture=ple)
    )
    shared = {id(v) for v in reach["a"]} & {id(v) for v in reach["b"]}
    assert shared == {id(v) for v in net.trainable_variables}


def test_one_backbone_per_task():
    nets = {"a": plain_backbone(name="one"), "b": plain_backbone(name="other")}
    parts = ["one backbone for all tasks of PLE", "'a': 'one'", "'b': 'other'"]
    with error_with(ValueError, *parts):
        connected(PLE(2, units=(4,)), nets)
