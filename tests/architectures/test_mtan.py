"""MTAN: masks of every task over the stages of one shared network."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl.layers import AttentionModule
from tests.architectures.connected import (
    assert_features,
    connected,
    dense,
    mlp,
    normalised,
    predicted,
    relu,
    rows,
    shaken,
    sigmoid,
    tasks,
)

MTAN = mtl.architectures.MTAN


def parts(layer):
    """Variables of an attention module by path within it."""
    name = layer.path + "/"
    return {v.path.removeprefix(name): np.asarray(v, "float64") for v in layer.weights}


def norm(w, name, x):
    keys = ("gamma", "beta", "moving_mean", "moving_variance")
    return normalised(x, *(w[f"{name}/{key}"] for key in keys))


def masked(w, p, f=None):
    x = p if f is None else np.concatenate([p, f], axis=-1)
    x = relu(norm(w, "hidden_norm", x @ w["hidden/kernel"]))
    return sigmoid(norm(w, "gate_norm", x @ w["gate/kernel"])) * p


def test_equals_numpy():
    model = shaken(connected(MTAN(units=3), mlp((4, 5))))
    x = rows()
    p = [dense(model, "dense_0", x)]
    p.append(dense(model, "dense_1", p[0]))
    expected = {}
    for task in "ab":
        first = parts(model.get_layer(f"{task}_dense_0_attention"))
        second = parts(model.get_layer(f"{task}_dense_1_attention"))
        a = masked(first, p[0])
        f = relu(norm(second, "extract_norm", a @ second["extract/kernel"]))
        expected[task] = {"pooled": masked(second, p[1], f)}
    assert_features(predicted(model, x), expected)


def test_what_follows_the_last_stage_runs_per_task_with_shared_layers():
    model = shaken(connected(MTAN(stages=["dense_0"]), mlp((4, 5))))
    p = dense(model, "dense_0", rows())
    expected = {}
    for task in "ab":
        a = masked(parts(model.get_layer(f"{task}_dense_0_attention")), p)
        expected[task] = {"pooled": dense(model, "dense_1", a)}
    assert_features(predicted(model, rows()), expected)


def test_features_of_earlier_stages_are_attended_too():
    x = inputs = keras.Input((8, 8, 1), name="x")
    x = low = keras.layers.Conv2D(2, 3, name="low")(x)
    x = keras.layers.Conv2D(3, 3, strides=2, name="high")(x)
    net = keras.Model(inputs, {"low": low, "map": x})
    model = connected(MTAN(stages=["low", "high"]), net)
    found = predicted(model, rows((8, 8, 1)))
    low = model.get_layer("low")(rows((8, 8, 1)))
    # Batch normalisation starts with the mean 0, so a mask is about a half.
    assert 0.2 < np.abs(found["a"]["low"]).sum() / np.abs(low).sum() < 0.8
    assert found["a"]["map"].shape == (5, 2, 2, 3)


@pytest.mark.parametrize(
    ("shared", "attended"),
    [
        ((5,), (4,)),
        ((7, 5), (7, 4)),
        ((3, 5), (6, 4)),
        ((4, 5), (7, 4)),
        ((6, 5), (3, 4)),
        ((4, 3, 5), (4, 3, 4)),
        ((4, 3, 5), (8, 3, 4)),
        ((4, 2, 5), (7, 5, 4)),
        ((6, 8, 5), (3, 4, 4)),
        ((7, 7, 5), (10, 10, 4)),
        ((5,), (3, 4)),
        ((5,), (3, 2, 4)),
    ],
)
def test_stages_of_different_size(shared, attended):
    """Max pooling where a stride fits; the gradient reaches both inputs."""
    x = [keras.Input(shared), keras.Input(attended)]
    module = AttentionModule()
    model = keras.Model(x, module(x))
    assert model.output.shape == (None, *shared)
    shaken(model)
    p, a = rows(shared), rows(attended, seed=1)
    w = parts(module)
    extracted = np.asarray(module.extract(a), "float64")
    f = relu(norm(w, "extract_norm", extracted))
    if len(shared) < len(attended):
        f = f.mean(axis=tuple(range(1, len(attended))))
    elif all(
        -(-o // -(-o // n)) == n
        for o, n in zip(attended[:-1], shared[:-1], strict=True)
    ):
        f = pooled(f, shared[:-1])
    else:
        f = bilinear(f, shared[:-1])
    found = np.asarray(model([p, a]))
    np.testing.assert_allclose(found, masked(w, p, f), rtol=1e-4, atol=1e-5)


def windows(old, new):
    """Start and end of the pools with padding "same", out of which `new` come."""
    stride = -(-old // new)
    before = (new * stride - old) // 2
    starts = [i * stride - before for i in range(new)]
    return [(max(s, 0), min(s + stride, old)) for s in starts]


def pooled(f, size):
    for axis, new in enumerate(size, start=1):
        slices = [
            np.take(f, range(*window), axis=axis).max(axis=axis)
            for window in windows(f.shape[axis], new)
        ]
        f = np.stack(slices, axis=axis)
    return f


def bilinear(f, size):
    """Half-pixel centres, edges repeated; one axis after the other."""
    for axis, new in enumerate(size, start=1):
        old = f.shape[axis]
        at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, old - 1)
        shape = [1] * f.ndim
        shape[axis] = new
        share = (at - low).reshape(shape)
        f = np.take(f, low, axis) * (1 - share) + np.take(f, high, axis) * share
    return f


def test_sizes_that_are_not_known():
    x = [keras.Input((None, None, 5)), keras.Input((None, None, 4))]
    module = AttentionModule()
    model = shaken(keras.Model(x, module(x)))
    p, a = rows((6, 4, 5)), rows((9, 4, 4), seed=1)
    w = parts(module)
    f = relu(norm(w, "extract_norm", np.asarray(module.extract(a), "float64")))
    expected = masked(w, p, bilinear(f, (6, 4)))
    np.testing.assert_allclose(model([p, a]), expected, rtol=1e-4, atol=1e-5)


def test_what_is_shared():
    net = mtl.backbones.ConvNet(input_shape=(8, 8, 1), filters=(2, 3), units=4)
    model = mtl.build_model(net, list(tasks()), architecture="mtan")
    by_task = {t: model.task_model(t).trainable_variables for t in "ab"}
    shared = {id(v) for v in by_task["a"]} & {id(v) for v in by_task["b"]}
    assert shared == {id(v) for v in net.trainable_variables}


def test_one_task_is_the_single_task_attention_network():
    model = connected(MTAN(), mlp(), ("a",))
    assert predicted(model, rows())["a"]["pooled"].shape == (5, 4)


@pytest.mark.parametrize(
    ("build", "parts"),
    [
        (lambda: MTAN(units=0), ["`units`", "units=0"]),
        (lambda: connected(MTAN(stages=["no"]), mlp()), ["['no'] do not exist"]),
        (
            lambda: connected(MTAN(), {"a": mlp(name="one"), "b": mlp(name="two")}),
            ["one backbone for all tasks with MTAN", "'one'", "'two'", "'b'"],
        ),
        (
            lambda: AttentionModule()([rows((3, 4)), rows((4,))]),
            ["stages of one rank", "(5, 3, 4)", "(5, 4)"],
        ),
    ],
)
def test_errors(build, parts):
    with pytest.raises(ValueError) as error:
        build()
    for part in parts:
        assert part in str(error.value)
