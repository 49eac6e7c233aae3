"""Small models made by an architecture alone, and the same layers in NumPy."""

import keras
import numpy as np

import keras_mtl as mtl

NAMES = ("a", "b")


def tasks(names=NAMES, **kwargs):
    return tuple(mtl.Task(name, mtl.heads.Regression(), **kwargs) for name in names)


def connected(architecture, backbones, names=NAMES):
    """A model whose outputs are the features that an architecture gives each task."""
    if isinstance(backbones, keras.Model):
        backbones = dict.fromkeys(names, backbones)
    inputs = keras.tree.map_structure(
        lambda t: keras.Input(t.shape[1:], name=t.name), backbones[names[0]].input
    )
    features = architecture.connect(
        dict.fromkeys(names, inputs), backbones, tasks(names)
    )
    return keras.Model(inputs, features)


def shaken(model, seed=1):
    """The model with random variables, so that no value is what it starts as."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        if variable.dtype.startswith("float"):
            value = rng.normal(size=variable.shape)
            positive = "variance" in variable.path
            variable.assign(0.5 + np.abs(value) if positive else 0.7 * value)
    return model


def mlp(units=(4, 4), **kwargs):
    return mtl.backbones.MLP(input_shape=(3,), units=units, activation="tanh", **kwargs)


def rows(shape=(3,), size=5, seed=0):
    return np.random.default_rng(seed).normal(size=(size, *shape)).astype("float32")


def predicted(model, x):
    """Features as a dict by task of dicts, as NumPy arrays."""
    return keras.tree.map_structure(np.asarray, model(x, training=False))


def weights(model, layer):
    return [np.asarray(v, "float64") for v in model.get_layer(layer).weights]


def dense(model, layer, x, activation=np.tanh):
    kernel, bias = weights(model, layer)
    return activation(x @ kernel + bias)


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x, axis=-1):
    x = np.exp(x - x.max(axis=axis, keepdims=True))
    return x / x.sum(axis=axis, keepdims=True)


def normalised(x, gamma, beta, mean, variance):
    return (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta


def assert_features(found, expected):
    for task, features in expected.items():
        for name, value in features.items():
            np.testing.assert_allclose(
                found[task][name], value, rtol=1e-4, atol=1e-5, err_msg=task
            )
