"""MMoE and its layers, against experts that run one after the other in NumPy."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_mtl as mtl
from keras_mtl.layers import ExpertBank, Gate, Mixture
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


# === Layers ===


@pytest.mark.parametrize("units", [(4,), (4, 3), (6, 4, 3)])
@pytest.mark.parametrize("num_experts", [1, 3])
def test_bank_equals_experts_one_by_one(units, num_experts):
    bank = ExpertBank(num_experts, units)
    bank.build(X.shape)
    scramble(bank)
    found = ops.convert_to_numpy(bank(X))
    assert (
        found.shape == (7, num_experts, units[-1]) == bank.compute_output_shape(X.shape)
    )
    np.testing.assert_allclose(found, bank_by_hand(bank, X), rtol=1e-4, atol=1e-5)


def test_bank_and_gate_on_tokens_and_pixels():
    """Features of rank 3 and 4: each position as if it were an example."""
    rng = np.random.default_rng(2)
    for layer in (ExpertBank(3, (4, 2)), Gate(3), mtl.layers.DSelectKGate(3, 2)):
        layer.build((None, 5))
        scramble(layer)
        for shape in [(2, 4, 5), (2, 3, 2, 5)]:
            x = rng.normal(size=shape).astype("float32")
            found = ops.convert_to_numpy(layer(x))
            assert found.shape == layer.compute_output_shape(shape)
            flat = ops.convert_to_numpy(layer(x.reshape(-1, 5)))
            np.testing.assert_allclose(found.reshape(flat.shape), flat, atol=1e-6)


def test_every_expert_starts_as_a_dense_layer_of_its_own():
    bank = ExpertBank(8, (50, 40))
    bank.build((None, 30))
    for kernel, (fan_in, fan_out) in zip(
        bank.get_weights()[0::2], [(30, 50), (50, 40)], strict=True
    ):
        limit = np.sqrt(6 / (fan_in + fan_out))
        assert np.abs(kernel).max() <= limit
        assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.05)
    first, second = bank.get_weights()[0::2]
    for experts in (np.moveaxis(first, 1, 0), second):
        flat = np.corrcoef(experts.reshape(8, -1))
        assert np.abs(flat - np.eye(8)).max() < 0.2


def test_activation_sees_one_expert_at_a_time():
    bank = ExpertBank(3, (4,), activation="softmax")
    np.testing.assert_allclose(ops.sum(bank(X), axis=-1), 1.0, rtol=1e-5)


def test_dropout_in_training_only():
    bank = ExpertBank(2, (300, 300), activation="linear", dropout=0.5)
    bank.build((None, 5))
    bank.set_weights([np.ones(w.shape) for w in bank.get_weights()])
    first, again = (ops.convert_to_numpy(bank(X, training=True)) for _ in range(2))
    assert np.abs(first - again).max() > 0
    assert (first == 0).mean() == pytest.approx(0.5, abs=0.05)
    np.testing.assert_array_equal(bank(X), bank(X))


def test_mixture_of_several_banks():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(7, 5))
    banks = [rng.normal(size=(7, count, 3)) for count in (2, 1, 2)]
    expected = mixture_by_hand(weights, *banks)
    found = Mixture(dtype="float64")([weights, *banks])
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("shapes", [[(2, 4)], [(2, 4), (2, 4)], [(2, 4), (1, 5)]])
def test_mixture_of_what_does_not_fit(shapes):
    banks = [np.ones((1, *shape)) for shape in shapes]
    with error_with(ValueError, "banks of 3 experts", "Received: shapes"):
        Mixture()([np.ones((1, 3)), *banks])


def test_masked_tokens_stay_masked():
    tokens = keras.Input((4,), dtype="int32")
    embedding = keras.layers.Embedding(9, 5, mask_zero=True)
    x = embedding(tokens)
    mixed = Mixture()([Gate(3)(x), ExpertBank(3, (2,))(x)])
    pooled = keras.layers.GlobalAveragePooling1D()(mixed)
    model = keras.Model(tokens, {"tokens": mixed, "pooled": pooled})
    found = model.predict(np.array([[3, 5, 0, 0]]), verbose=0)
    np.testing.assert_allclose(
        found["pooled"][0], found["tokens"][0, :2].mean(axis=0), rtol=1e-5
    )


# === The architecture ===


@pytest.mark.parametrize("gate_units", [(), (6,)])
def test_equals_the_paper(gate_units):
    mmoe = mtl.architectures.MMoE(3, units=(4, 2), gate_units=gate_units)
    model = connected(mmoe, plain_backbone())
    scramble(model)
    experts = bank_by_hand(model.get_layer("pooled_experts"), X)
    found = outputs(model, X)
    for task in ("a", "b"):
        hidden = X
        for index in range(len(gate_units)):
            layer = model.get_layer(f"{task}_pooled_gate_hidden_{index}")
            kernel, bias = layer.get_weights()
            hidden = np.maximum(hidden @ kernel + bias, 0)
        weights = gate_by_hand(model.get_layer(f"{task}_pooled_gate"), hidden)
        expected = mixture_by_hand(weights, experts)
        np.testing.assert_allclose(
            found[task]["pooled"], expected, rtol=1e-4, atol=1e-5
        )
    assert np.abs(found["a"]["pooled"] - found["b"]["pooled"]).max() > 0.01


def test_one_expert_is_hard_sharing():
    """The expert is then two more dense layers of the backbone."""
    pair = list(tasks("a", "b"))
    one = mtl.architectures.MMoE(1, units=(4, 3))
    net = mtl.backbones.MLP(input_shape=(5,), units=(6,))
    mixture = mtl.build_model(net, pair, architecture=one)
    hard = mtl.build_model(mtl.backbones.MLP(input_shape=(5,), units=(6, 4, 3)), pair)
    scramble(mixture)
    for index, (kernel, bias) in enumerate(
        zip(*[iter(mixture.get_layer("pooled_experts").get_weights())] * 2, strict=True)
    ):
        shape = kernel.shape[0::2] if index == 0 else kernel.shape[1:]
        weights = [kernel.reshape(shape), bias[0]]
        hard.get_layer("mlp").get_layer(f"dense_{index + 1}").set_weights(weights)
    hard.get_layer("mlp").get_layer("dense_0").set_weights(
        net.get_layer("dense_0").get_weights()
    )
    for name in ("a_output", "b_output"):
        hard.get_layer(name).set_weights(mixture.get_layer(name).get_weights())
    for task, value in outputs(mixture, X).items():
        np.testing.assert_allclose(outputs(hard, X)[task], value, atol=1e-5)


def test_one_gate_gives_all_tasks_the_same_features():
    mmoe = mtl.architectures.MMoE(3, units=(4,), per_task_gates=False)
    features = mmoe.connect(
        dict.fromkeys("ab", keras.Input((5,))),
        dict.fromkeys("ab", plain_backbone()),
        tasks("a", "b"),
    )
    assert features["a"]["pooled"] is features["b"]["pooled"]


def test_one_backbone_per_task_feeds_the_same_experts():
    nets = {"a": plain_backbone(name="one"), "b": plain_backbone(name="other")}
    model = connected(mtl.architectures.MMoE(3, units=(4,)), nets)
    scramble(model)
    inputs = [X, X[::-1]]
    found = outputs(model, inputs)
    for task, x in zip("ab", inputs, strict=True):
        experts = bank_by_hand(model.get_layer("pooled_experts"), x)
        weights = gate_by_hand(model.get_layer(f"{task}_pooled_gate"), x)
        expected = mixture_by_hand(weights, experts)
        np.testing.assert_allclose(
            found[task]["pooled"], expected, rtol=1e-4, atol=1e-5
        )


def test_backbones_of_different_widths():
    nets = {"a": plain_backbone(5, name="one"), "b": plain_backbone(6, name="other")}
    parts = ["'pooled'", "(None, 5) for task 'a'", "(None, 6) for task 'b'"]
    with error_with(ValueError, *parts):
        connected(mtl.architectures.MMoE(3, units=(4,)), nets)


def test_experts_straight_on_the_columns_of_a_table():
    rng = np.random.default_rng(0)
    table = {"age": rng.normal(size=20), "job": rng.integers(0, 2, 20)}
    net = mtl.backbones.Tabular.for_table(table, embedding_dim=3, units=())
    mmoe = mtl.architectures.MMoE(num_experts=8, units=(16,))
    model = mtl.build_model(net, list(tasks("a", "b")), architecture=mmoe)
    assert model.get_layer("pooled_experts").input.shape == (None, 4)
    model.compile("adam", balancer="cagrad")
    x = {name: column[:, None] for name, column in table.items()}
    y = {"a": table["age"], "b": table["age"] ** 2}
    logs = model.fit(x, y, verbose=0).history
    assert np.isfinite(logs["loss"]).all()


def test_experts_straight_on_the_inputs_of_an_mlp():
    net = mtl.backbones.MLP(input_shape=(5,), units=())
    model = mtl.build_model(net, list(tasks("a", "b")), architecture="mmoe")
    assert model.get_layer("pooled_experts").input.shape == (None, 5)
    assert outputs(model, X)["a"].shape == (7, 1)
