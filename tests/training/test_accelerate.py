"""`accelerate` changes how layers compute, and nothing else."""

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from keras_mtl import layers
from tests.asserts import error_with

TASKS = [mtl.Task(name, mtl.heads.Regression()) for name in ("a", "b")]


def _network():
    """Batch normalisation of maps in a nested model, and of rows."""
    x = keras.Input((8, 8, 2))
    y = keras.layers.Conv2D(3, 3, name="conv")(x)
    maps = keras.Model(x, keras.layers.BatchNormalization(name="norm_map")(y))
    z = keras.Input((8, 8, 2))
    y = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(maps(z)))
    return keras.Model(z, keras.layers.BatchNormalization(name="norm_rows")(y))


def _data():
    x = tf.random.stateless_normal((8, 8, 8, 2), (0, 1))
    y = {
        name: tf.random.stateless_normal((8, 1), (0, i)) for i, name in enumerate("ab")
    }
    return x, y


def test_steps_are_those_of_stock_layers():
    """Swapped after a step was traced, with the optimizer's state as it is."""
    x, y = _data()
    found = []
    for fast in (False, True):
        keras.utils.set_random_seed(0)
        model = mtl.build_model(_network(), TASKS)
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), balancer="pcgrad")
        model.train_on_batch(x, y)
        model.predict_on_batch(x)
        if fast:
            report = mtl.accelerate(model)
            assert list(report.swapped.values()) == ["BatchNormalization"] * 2
            assert not report.left
            assert model.train_function is model.predict_function is None
        for _ in range(3):
            model.train_on_batch(x, y)
        found.append([v.numpy() for v in model.weights] + [model.predict_on_batch(x)])
    for stock, ours in zip(*map(keras.tree.flatten, found), strict=True):
        np.testing.assert_allclose(ours, stock, rtol=1e-4, atol=1e-5)


def test_saved_and_cloned_models_keep_their_layers(tmp_path):
    model = mtl.build_model(_network(), TASKS)
    paths = [v.path for v in model.weights]
    mtl.accelerate(model)
    assert [v.path for v in model.weights] == paths
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x, _ = _data()
    for name, values in model.predict_on_batch(x).items():
        np.testing.assert_array_equal(loaded.predict_on_batch(x)[name], values)
    norms = [
        layer
        for layer in loaded._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert [type(norm) for norm in norms] == [layers.BatchNormalization] * 2
    assert not mtl.accelerate(loaded).swapped
    stock = mtl.build_model(_network(), TASKS)
    stock.load_weights(tmp_path / "model.keras")
    np.testing.assert_allclose(stock(x)["a"], model(x)["a"], atol=1e-5)


def test_layers_inside_of_layers():
    """keras-hub's encoder owns its attention and norms as attributes."""
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=20,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=8,
        dropout=0.0,
        max_sequence_length=6,
    )
    tokens = tf.constant([[1, 5, 2, 7, 0, 0]])
    batch = {
        "token_ids": tokens,
        "segment_ids": tf.zeros_like(tokens),
        "padding_mask": tf.cast(tokens > 0, "int32"),
    }
    outer = keras.Model(backbone.input, backbone(backbone.input)["pooled_output"])
    before = outer(batch)
    report = mtl.accelerate(outer)
    kinds = list(report.swapped.values())
    assert [kinds.count(kind) for kind in sorted(set(kinds))] == [4, 3, 1, 1]
    assert sorted(set(kinds)) == [
        "EinsumDense",
        "LayerNormalization",
        "MultiHeadAttention",
        "keras_hub>gelu_approximate",
    ]
    np.testing.assert_allclose(outer(batch), before, atol=1e-5)


def test_low_rank_updates_find_the_projections():
    x = keras.Input((4, 6))
    attended = keras.layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    net = keras.Model(x, keras.layers.GlobalAveragePooling1D()(attended))
    keras.utils.set_random_seed(0)
    lora = mtl.architectures.LoRA(rank=2)
    model = mtl.build_model(net, TASKS, architecture=lora)
    for variable in model.trainable_variables:
        variable.assign(tf.random.stateless_normal(variable.shape, (1, 1)))
    rows = tf.random.stateless_normal((2, 4, 6), (2, 2))
    before = model(rows)
    assert "MultiHeadAttention" in mtl.accelerate(model).swapped.values()
    for name, values in model(rows).items():
        np.testing.assert_allclose(values, before[name], rtol=1e-4, atol=1e-5)


class Special(keras.layers.LayerNormalization):
    """Any subclass may compute in a way of its own."""


def test_what_is_left_and_why():
    x = keras.Input((4, 6))
    y = keras.layers.BatchNormalization(axis=1, name="channels_first")(x)
    y = keras.layers.BatchNormalization(synchronized=True, name="synchronized")(y)
    y = Special(name="special")(y)
    y = keras.layers.LayerNormalization(name="plain")(y)
    report = mtl.accelerate(keras.Model(x, y))
    assert report.swapped == {"plain": "LayerNormalization"}
    assert report.left == {
        "channels_first": ("BatchNormalization", "axis=1 is not the last"),
        "synchronized": ("BatchNormalization", "synchronized=True"),
        "special": ("LayerNormalization", "a subclass, Special"),
    }
    assert str(report).splitlines() == [
        "kind                computed                           layers",
        "-------------------------------------------------------------",
        "BatchNormalization  as before: axis=1 is not the last       1",
        "BatchNormalization  as before: synchronized=True            1",
        "LayerNormalization  as before: a subclass, Special          1",
        "LayerNormalization  faster                                  1",
    ]


@pytest.mark.parametrize("value", [None, keras.layers.Dense(1), "model"])
def test_only_models(value):
    with error_with(TypeError, "Expected `model` to be a Keras model", "Received"):
        mtl.accelerate(value)
