"""AITM: towers, transfers and attention in NumPy."""

import itertools

import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl.training.graph import task_variables
from tests.architectures.experts import (
    connected,
    outputs,
    plain_backbone,
    scramble,
    softmax,
    tasks,
)
from tests.asserts import error_with

X = np.random.default_rng(1).normal(size=(7, 5)).astype("float32")
AITM = mtl.architectures.AITM


def dense(layer, x):
    kernel, bias = layer.get_weights()
    return np.maximum(x @ kernel + bias, 0)


def tower(model, task, depth):
    x = X
    for index in range(depth):
        x = dense(model.get_layer(f"{task}_pooled_tower_{index}"), x)
    return x


def attention(layer, transferred, own):
    """The AIT module, for one example after the other."""
    kernel, bias = layer.get_weights()
    width = len(kernel)
    parts = [slice(i * width, (i + 1) * width) for i in range(3)]
    h = [lambda u, part=part: u @ kernel[:, part] + bias[part] for part in parts]
    rows = []
    for pair in zip(transferred, own, strict=True):
        scores = np.array([h[0](u) @ h[1](u) / np.sqrt(width) for u in pair])
        shares = softmax(scores)
        rows.append(sum(share * h[2](u) for share, u in zip(shares, pair, strict=True)))
    return np.array(rows)


@pytest.mark.parametrize("chain", [None, ("c", "a", "b"), ("b", "a")])
def test_equals_the_paper(chain):
    names = ("a", "b", "c")
    model = connected(AITM(chain, units=(6, 4)), plain_backbone(), names)
    scramble(model)
    expected = {task: tower(model, task, 2) for task in names}
    steps = chain or names
    for earlier, task in itertools.pairwise(steps):
        passed = dense(model.get_layer(f"{task}_pooled_transfer"), expected[earlier])
        layer = model.get_layer(f"{task}_pooled_attention")
        expected[task] = attention(layer, passed, expected[task])
    found = outputs(model, X)
    for task in names:
        np.testing.assert_allclose(
            found[task]["pooled"], expected[task], rtol=1e-4, atol=1e-5
        )


def test_who_reaches_whom():
    """A task's tower is reached by itself and those after it in the chain."""
    net = mtl.backbones.MLP(input_shape=(5,), units=(6,))
    aitm = AITM(["a", "b", "c"], units=(4,))
    model = mtl.build_model(net, list(tasks("a", "b", "c", "d")), architecture=aitm)
    reach = {
        task: {v.path.split("/")[-2] for v in variables}
        for task, variables in task_variables(model).items()
    }
    reaching = {
        owner: "".join(t for t in reach if f"{owner}_pooled_tower_0" in reach[t])
        for owner in reach
    }
    assert reaching == {"a": "abc", "b": "bc", "c": "c", "d": "d"}


def test_dropout_is_for_training():
    model = connected(AITM(units=(6,), dropout=0.5), plain_backbone())
    names = {layer.name for layer in model.layers if "dropout" in layer.name}
    assert names == {
        "a_pooled_tower_0_dropout",
        "b_pooled_tower_0_dropout",
        "b_pooled_transfer_dropout",
    }


def test_wrong_chains():
    with error_with(ValueError, "`chain`", "['a', 'b']", "Received: ['z']"):
        connected(AITM(["a", "z"]), plain_backbone())
    net = mtl.backbones.ConvNet(input_shape=(8, 8, 1), filters=(4,), name="conv")
    nets = {"a": plain_backbone(), "b": net}
    parts = ["same features", "['pooled'] for task 'a'", "['map', 'pooled'] for task"]
    with error_with(ValueError, *parts):
        connected(AITM(), nets)
