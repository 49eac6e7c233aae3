"""The mixture that is told the task, in NumPy."""

import numpy as np
import pytest

import keras_mtl as mtl
from tests.architectures.experts import (
    bank_by_hand,
    connected,
    gate_by_hand,
    mixture_by_hand,
    outputs,
    plain_backbone,
    scramble,
)

X = np.random.default_rng(1).normal(size=(7, 5)).astype("float32")


def made(told, **kwargs):
    architecture = mtl.architectures.TaskEmbeddingMoE(
        3, units=(4,), embedding_dim=2, told=told, gate_units=(6,), **kwargs
    )
    model = connected(architecture, plain_backbone())
    scramble(model)
    return model


@pytest.mark.parametrize("told", ["gate", "experts", "both"])
def test_by_hand(told):
    model = made(told)
    found = outputs(model, X)
    for task in ("a", "b"):
        (vector,) = model.get_layer(f"{task}_pooled_embedding").get_weights()
        with_task = np.concatenate([X, np.tile(vector, (len(X), 1))], axis=1)
        seen = X if told == "gate" else with_task
        experts = bank_by_hand(model.get_layer("pooled_experts"), seen)
        kernel, bias = model.get_layer("pooled_gate_hidden_0").get_weights()
        seen = X if told == "experts" else with_task
        hidden = np.maximum(seen @ kernel + bias, 0)
        weights = gate_by_hand(model.get_layer("pooled_gate"), hidden)
        np.testing.assert_allclose(
            found[task]["pooled"],
            mixture_by_hand(weights, experts),
            rtol=1e-4,
            atol=1e-5,
        )
    assert np.abs(found["a"]["pooled"] - found["b"]["pooled"]).max() > 0.01


@pytest.mark.parametrize("told", ["gate", "experts", "both"])
def test_tasks_with_one_vector_are_one(told):
    model = made(told)
    vector = model.get_layer("a_pooled_embedding").get_weights()
    model.get_layer("b_pooled_embedding").set_weights(vector)
    found = outputs(model, X)
    np.testing.assert_array_equal(found["a"]["pooled"], found["b"]["pooled"])


def test_a_further_task_costs_its_vector():
    sizes = [
        connected(
            mtl.architectures.TaskEmbeddingMoE(3, units=(4,), embedding_dim=2),
            plain_backbone(),
            names,
        ).count_params()
        for names in (("a", "b"), ("a", "b", "c"))
    ]
    assert sizes[1] - sizes[0] == 2
