"""An activation by `FusedSlope` is the activation, there and back."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from keras_mtl.layers import FusedSlope

ACTIVATIONS = ("gelu", "silu", "mish")


def there_and_back(activation, x):
    @tf.function
    def both(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = activation(x)
        return y, tape.gradient(y, x, tf.cast(tf.range(tf.size(x)) % 7, x.dtype))

    x = tf.constant(x)
    return [part.numpy() for part in both(tf.reshape(x, [-1]))]


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_are_those_of_keras(name, dtype):
    x = np.concatenate([np.linspace(-30, 30, 501), [0.0, -1e-8, 1e-8]]).astype(dtype)
    stock = there_and_back(keras.activations.get(name), x)
    ours = there_and_back(FusedSlope(name), x)
    tolerance = 5e-6 if dtype == "float32" else 1e-12
    for one, other in zip(ours, stock, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def test_one_function_for_all_layers_of_a_shape():
    x = np.ones((2, 3), "f")
    for _ in range(3):
        with tf.GradientTape() as tape:
            layer = keras.layers.Dense(3, activation=FusedSlope("gelu"))
            y = layer(x)
        assert tape.gradient(y, layer.kernel.value) is not None
    slope = FusedSlope._slopes[keras.activations.gelu]
    before = slope.experimental_get_tracing_count()
    there_and_back(FusedSlope("gelu"), x)
    there_and_back(FusedSlope("gelu"), x)
    assert slope.experimental_get_tracing_count() <= before + 1


def test_a_file_has_it(tmp_path):
    x = keras.Input((3,))
    model = keras.Model(x, keras.layers.Dense(2, activation=FusedSlope("mish"))(x))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.layers[-1].activation.activation is keras.activations.mish
    inputs = np.ones((1, 3), "f")
    np.testing.assert_array_equal(model(inputs), loaded(inputs))


def make(kind="gelu"):
    keras.utils.set_random_seed(0)
    x = keras.Input((6,))
    y = keras.layers.Dense(5, activation=kind, name="dense")(x)
    y = keras.layers.Activation(kind, name="activation")(y)
    net = keras.Model(x, keras.layers.Dense(4, activation="relu", name="relu")(y))
    tasks = [mtl.Task(name, mtl.heads.Regression()) for name in "ab"]
    return mtl.build_model(net, tasks)


def trained(model):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 6)).astype("f")
    y = {name: rng.normal(size=12).astype("f") for name in "ab"}
    model.compile(keras.optimizers.SGD(0.1), balancer="pcgrad")
    model.fit(x, y, batch_size=4, shuffle=False, verbose=0)
    return model.get_weights()


def test_accelerate_uses_it():
    model = make()
    done = mtl.accelerate(model)
    expected = dict.fromkeys(["dense/activation", "activation/activation"], "gelu")
    assert done.swapped == expected
    assert mtl.accelerate(model).swapped == {}
    for ours, stock in zip(trained(model), trained(make()), strict=True):
        np.testing.assert_allclose(ours, stock, rtol=1e-5, atol=1e-6)


def test_accelerate_leaves_cheap_activations():
    assert mtl.accelerate(make("tanh")).swapped == {}


def test_two_replicas_equal_one(two_replicas):
    with two_replicas.scope():
        model = make()
        mtl.accelerate(model)
        weights = trained(model)
    for ours, stock in zip(weights, trained(make()), strict=True):
        np.testing.assert_allclose(ours, stock, rtol=1e-5, atol=1e-6)
