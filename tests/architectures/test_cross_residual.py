"""Residual connections between towers."""

import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl.layers import CrossResidualUnit
from tests.architectures.connected import (
    assert_features,
    connected,
    dense,
    mlp,
    predicted,
    rows,
    shaken,
    weights,
)

CrossResidual = mtl.architectures.CrossResidual
THREE = ("a", "b", "c")


def test_equals_numpy():
    model = shaken(connected(CrossResidual(), mlp(), THREE))
    h = dict.fromkeys(THREE, rows())
    for layer in ("dense_0", "dense_1"):
        before = {t: dense(model, f"{layer}_{t}", h[t]) for t in THREE}
        for task in THREE:
            (kernel,) = weights(model, f"{task}_{layer}_cross_residual")
            h[task] = before[task].copy()
            others = [t for t in THREE if t != task]
            for other, matrix in zip(others, np.split(kernel, 2), strict=True):
                h[task] += before[other] @ matrix
    assert_features(predicted(model, rows()), {t: {"pooled": h[t]} for t in THREE})


def test_towers_are_independent_at_first():
    nets = {"a": mlp(name="one"), "b": mlp(name="two")}
    found = predicted(connected(CrossResidual(), nets), rows())
    for task, net in nets.items():
        np.testing.assert_allclose(found[task]["pooled"], net(rows())["pooled"], 1e-5)


@pytest.mark.parametrize("shape", [(4,), (6, 4), (6, 5, 4)])
def test_acts_on_channels(shape):
    unit = CrossResidualUnit(task=0)
    x = [rows(shape), rows(shape, seed=1)]
    np.testing.assert_array_equal(unit(x), x[0])
    kernel = rows((4,), 4)
    unit.kernel.assign(kernel)
    np.testing.assert_allclose(unit(x), x[0] + x[1] @ kernel, rtol=1e-4, atol=1e-5)


def test_needs_several_tasks():
    with pytest.raises(ValueError, match="several tasks with CrossResidual"):
        connected(CrossResidual(), mlp(), ("a",))
