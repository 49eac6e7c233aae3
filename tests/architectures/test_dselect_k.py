"""DSelect-k: gates against the paper's sum of products, and their entropy."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_mtl as mtl
from keras_mtl.layers import DSelectKGate
from tests.architectures.experts import (
    bank_by_hand,
    connected,
    mixture_by_hand,
    outputs,
    plain_backbone,
    scramble,
    softmax,
    tasks,
)

X = np.random.default_rng(1).normal(size=(7, 5)).astype("float32")


def smooth_step(t, gamma):
    if t <= -gamma / 2:
        return 0.0
    if t >= gamma / 2:
        return 1.0
    return -2 / gamma**3 * t**3 + 3 / (2 * gamma) * t + 0.5


def gate_by_hand(layer, x):
    """Weights `(batch, experts)` and selectors `(batch, selectors, experts)`."""
    *kernel, bias = (w.astype("float64") for w in layer.get_weights())
    bits = int(np.ceil(np.log2(layer.num_experts)))
    weights, selectors = [], []
    for row in x.astype("float64"):
        numbers = (row @ kernel[0] if kernel else 0) + bias
        scales, codes = np.split(numbers, [layer.num_selected])
        shares = np.zeros((layer.num_selected, layer.num_experts))
        for i, number in itertools.product(range(layer.num_selected), range(2**bits)):
            share = 1.0
            for bit in range(bits):
                step = smooth_step(codes[i * bits + bit], layer.gamma)
                share *= step if number >> bit & 1 else 1 - step
            shares[i, number % layer.num_experts] += share
        selectors.append(shares)
        weights.append(softmax(scales) @ shares)
    return np.array(weights), np.array(selectors)


def entropy(selectors):
    logs = np.log(np.where(selectors > 0, selectors, 1))
    return -(selectors * logs).sum(axis=(1, 2)).mean()


@pytest.mark.parametrize("per_example", [True, False])
@pytest.mark.parametrize("gamma", [1.0, 3.0])
@pytest.mark.parametrize(
    ("num_experts", "num_selected"), [(2, 1), (3, 2), (4, 2), (5, 5), (6, 1), (8, 3)]
)
def test_equals_the_paper(num_experts, num_selected, gamma, per_example):
    gate = DSelectKGate(
        num_experts,
        num_selected,
        gamma=gamma,
        entropy_weight=0.5,
        per_example=per_example,
    )
    gate.build(X.shape)
    scramble(gate)
    found = ops.convert_to_numpy(gate(X))
    weights, selectors = gate_by_hand(gate, X)
    np.testing.assert_allclose(found, weights, atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-5)
    (loss,) = gate.losses
    assert float(loss) == pytest.approx(0.5 * entropy(selectors), abs=1e-5)


def test_starts_with_all_experts_alike():
    gate = DSelectKGate(8, 2)
    np.testing.assert_allclose(gate(X), 1 / 8, atol=0.03)


@pytest.mark.parametrize("num_experts", [4, 5])
def test_entropy_leads_to_the_number_that_is_selected(num_experts):
    gate = DSelectKGate(num_experts, 2, entropy_weight=1.0)
    gate.build(X.shape)
    scramble(gate)
    gate.kernel.assign(0.1 * gate.kernel)
    gate.bias.assign(0.1 * gate.bias)
    for _ in range(300):
        with tf.GradientTape() as tape:
            gate(X)
            (loss,) = gate.losses
            gate._clear_losses()
        for variable, slope in zip(
            gate.trainable_variables,
            tape.gradient(loss, [v.value for v in gate.trainable_variables]),
            strict=True,
        ):
            assert np.isfinite(slope).all()
            variable.assign_sub(0.05 * slope)
    assert float(loss) < 1e-4
    used = ops.convert_to_numpy(gate(X)) > 1e-4
    assert (used.sum(axis=1) <= 2).all()


def test_the_architecture_equals_the_paper():
    dselect = mtl.architectures.DSelectK(4, num_selected=2, units=(3,))
    model = connected(dselect, plain_backbone())
    scramble(model)
    found = outputs(model, X)
    experts = bank_by_hand(model.get_layer("pooled_experts"), X)
    for task in ("a", "b"):
        weights, _ = gate_by_hand(model.get_layer(f"{task}_pooled_gate"), X)
        np.testing.assert_allclose(
            found[task]["pooled"], mixture_by_hand(weights, experts), atol=1e-4
        )


def test_the_entropy_of_every_task_is_in_the_loss():
    dselect = mtl.architectures.DSelectK(4, units=(3,), entropy_weight=0.3)
    names = ("a", "b", "c")
    model = mtl.build_model(plain_backbone(), list(tasks(*names)), architecture=dselect)
    scramble(model)
    model.compile(keras.optimizers.SGD(0.0))
    y = dict.fromkeys(names, X[:, :1])
    expected = sum(
        0.3 * entropy(gate_by_hand(model.get_layer(f"{name}_pooled_gate"), X)[1])
        for name in names
    )
    for logs in (
        model.evaluate(X, y, verbose=0, return_dict=True),
        {k: v[0] for k, v in model.fit(X, y, verbose=0).history.items()},
    ):
        total = sum(logs[f"{name}_loss"] for name in names)
        assert logs["loss"] - total == pytest.approx(expected, rel=1e-3)


def test_the_entropy_is_not_balanced():
    """Its gradient is added to what the balancer makes of the tasks."""
    changes = []
    for entropy_weight in (0.0, 0.2):
        model = mtl.build_model(
            mtl.backbones.MLP(input_shape=(5,), units=(6,)),
            list(tasks("a", "b")),
            architecture=mtl.architectures.DSelectK(
                4, units=(3,), entropy_weight=entropy_weight
            ),
        )
        scramble(model)
        with tf.GradientTape() as tape:
            model(X, training=True)
            entropies = sum(model.losses, tf.zeros(()))
        variables = [v.value for v in model.trainable_variables]
        slopes = tape.gradient(entropies, variables, unconnected_gradients="zero")
        model.compile(keras.optimizers.SGD(1.0), balancer="mgda")
        before = model.get_weights()
        model.train_on_batch(X, {"a": X[:, :1], "b": X[:, 1:2]})
        after = model.get_weights()
        changes.append([new - old for new, old in zip(after, before, strict=True)])
    assert sum(np.abs(slope).max() > 1e-4 for slope in slopes) >= 6
    for plain, regularised, slope in zip(*changes, slopes, strict=True):
        np.testing.assert_allclose(regularised, plain - slope, atol=1e-5)
