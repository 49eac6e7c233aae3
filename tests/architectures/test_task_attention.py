"""Task attention: every task weighs the parts of one shared layer."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl.layers import FeatureAttention
from tests.architectures.connected import (
    assert_features,
    connected,
    dense,
    mlp,
    predicted,
    rows,
    shaken,
    softmax,
    tasks,
    weights,
)

TaskAttention = mtl.architectures.TaskAttention


def attended(model, layer, h, real=None):
    """`h` of shape (batch, positions, channels); positions that are real."""
    kernel, bias, score = weights(model, layer)
    e = (np.tanh(h @ kernel + bias) @ score)[..., 0]
    real = np.ones_like(e) if real is None else real
    a = softmax(np.where(real, e, -np.inf), axis=1)
    return h * (a * real.sum(axis=1, keepdims=True))[..., None]


def test_units_equal_numpy():
    model = shaken(connected(TaskAttention(stage="dense_0", units=5), mlp((4, 6))))
    h = dense(model, "dense_0", rows())
    expected = {}
    for task in "ab":
        kernel, bias, score = weights(model, f"{task}_dense_0_attention")
        e = np.tanh(h @ kernel + bias) @ score
        x = 4 * softmax(e) * h
        expected[task] = {"pooled": dense(model, "dense_1", x)}
    assert_features(predicted(model, rows()), expected)


def test_map_positions_equal_numpy():
    net = mtl.backbones.ConvNet(
        input_shape=(8, 12, 1), filters=(2, 3), pooling="average"
    )
    model = shaken(connected(TaskAttention(), net))
    x = rows((8, 12, 1))
    h = np.asarray(net(x)["map"], "float64").reshape(5, 6, 3)
    expected = {}
    for task in "ab":
        out = attended(model, f"{task}_stage_1_relu_attention", h)
        expected[task] = {"map": out.reshape(5, 2, 3, 3), "pooled": out.mean(axis=1)}
    assert_features(predicted(model, x), expected)


def test_masked_tokens_get_no_weight():
    tokens = keras.Input((4,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(9, 3, mask_zero=True, name="embedding")(tokens)
    pooled = keras.layers.GlobalAveragePooling1D(name="pool")(x)
    net = keras.Model(tokens, {"sequence": x, "pooled": pooled})
    model = shaken(connected(TaskAttention(), net))
    words = np.array([[3, 5, 0, 0], [1, 2, 3, 4]])
    (table,) = weights(model, "embedding")
    expected = {}
    for task in "ab":
        out = attended(model, f"{task}_embedding_attention", table[words], words > 0)
        mean = np.stack([out[0, :2].mean(axis=0), out[1].mean(axis=0)])
        expected[task] = {"pooled": mean, "sequence": out}
    assert_features(predicted(model, words), expected)


@pytest.mark.parametrize("shape", [(4,), (6, 4), (3, 5, 4), (1, 1, 4)])
def test_starts_as_hard_sharing(shape):
    x = rows(shape)
    np.testing.assert_allclose(FeatureAttention()(x), x, rtol=1e-5)


def test_weights_sum_up_in_half_precision():
    layer = FeatureAttention(dtype="mixed_float16")
    x = np.ones((2, 3000, 4), "float16")
    found = layer(x)
    assert keras.backend.standardize_dtype(found.dtype) == "float16"
    np.testing.assert_allclose(found, x, rtol=2e-3)


def test_what_is_shared():
    net = mlp()
    model = mtl.build_model(net, list(tasks()), architecture="task_attention")
    by_task = {t: model.task_model(t).trainable_variables for t in "ab"}
    shared = {id(v) for v in by_task["a"]} & {id(v) for v in by_task["b"]}
    assert shared == {id(v) for v in net.trainable_variables}


@pytest.mark.parametrize(
    ("build", "parts"),
    [
        (lambda: TaskAttention(units=0), ["`units`", "units=0"]),
        (lambda: TaskAttention(stage=["dense_0"]), ["`stage`", "name of a layer"]),
        (
            lambda: connected(TaskAttention(stage="no"), mlp()),
            ["['no'] do not exist", "dense_0"],
        ),
        (
            lambda: connected(TaskAttention(), {"a": mlp(), "b": mlp()}),
            ["one backbone for all tasks with TaskAttention"],
        ),
    ],
)
def test_errors(build, parts):
    with pytest.raises(ValueError) as error:
        build()
    for part in parts:
        assert part in str(error.value)
