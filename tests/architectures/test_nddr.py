"""NDDR: concatenated features, reduced to those of each task."""

import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl.layers import NDDRUnit
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
    weights,
)

NDDR = mtl.architectures.NDDR
THREE = ("a", "b", "c")


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_equals_numpy(activation):
    function = {"relu": relu, "tanh": np.tanh}[activation]
    model = shaken(connected(NDDR(activation=activation), mlp(), THREE))
    h = dict.fromkeys(THREE, rows())
    for layer in ("dense_0", "dense_1"):
        h = {t: dense(model, f"{layer}_{t}", h[t]) for t in THREE}
        both = np.concatenate(list(h.values()), axis=-1)
        for task in THREE:
            kernel, *norm = weights(model, f"{task}_{layer}_nddr")
            h[task] = function(normalised(both @ kernel, *norm))
    assert_features(predicted(model, rows()), {t: {"pooled": h[t]} for t in THREE})


@pytest.mark.parametrize("shape", [(4,), (6, 4), (6, 5, 4)])
def test_starts_on_the_diagonals(shape):
    unit = NDDRUnit(task=1, own_weight=0.8, activation="linear")
    x = [rows(shape, seed=seed) for seed in range(3)]
    expected = 0.1 * x[0] + 0.8 * x[1] + 0.1 * x[2]
    found = unit(x, training=False)
    np.testing.assert_allclose(found, expected / np.sqrt(1 + 1e-3), rtol=1e-4)


def test_own_weight_one_is_independent():
    model = connected(NDDR(own_weight=1.0), mlp())
    before = predicted(model, rows())
    for name in ("dense_0_b", "dense_1_b"):
        layer = model.get_layer(name)
        layer.set_weights([2.0 * w + 1.0 for w in layer.get_weights()])
    after = predicted(model, rows())
    np.testing.assert_array_equal(after["a"]["pooled"], before["a"]["pooled"])
    assert np.abs(after["b"]["pooled"] - before["b"]["pooled"]).max() > 0.1


def test_normalises_the_batch_in_training():
    unit = NDDRUnit(task=0, activation="linear")
    found = unit([rows((4,), 50) * 9, rows((4,), 50, 1)], training=True)
    np.testing.assert_allclose(np.std(found, axis=0), 1.0, atol=1e-3)
    assert np.abs(unit.norm.moving_mean).max() > 0


@pytest.mark.parametrize(
    ("build", "parts"),
    [
        (lambda: NDDR(own_weight=-0.1), ["`own_weight`", "-0.1"]),
        (lambda: connected(NDDR(), mlp(), ("a",)), ["several tasks with NDDR"]),
        (
            lambda: connected(NDDR(), {"a": mlp((4, 5)), "b": mlp((3, 5))}),
            ["(None, 4)", "task 'a'", "(None, 3)", "task 'b'"],
        ),
    ],
)
def test_errors(build, parts):
    with pytest.raises(ValueError) as error:
        build()
    for part in parts:
        assert part in str(error.value)
