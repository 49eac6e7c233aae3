"""The report of who shares what: counted by hand on small networks."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl.analysis import forward_flops, sharing_report
from keras_mtl.plots import figure_array

TASKS = [mtl.Task(name, mtl.heads.Regression()) for name in ("a", "b", "c")]
DENSE = 4 * 3 + 3  # parameters of a layer of 3 units on 4 inputs
HEAD = 3 + 1


def network(name):
    x = keras.Input((4,), name="x")
    return keras.Model(x, {"pooled": keras.layers.Dense(3)(x)}, name=name)


def test_one_backbone_for_all():
    model = mtl.build_model(network("net"), TASKS)
    report = sharing_report(model)
    assert report.task_names == ("a", "b", "c")
    all_tasks = ("a", "b", "c")
    own = {("a",): HEAD, ("b",): HEAD, ("c",): HEAD}
    assert report.parameters == {all_tasks: DENSE, **own}
    assert sum(report.flops.values()) == forward_flops(model)
    assert report.flops[all_tasks] == 2 * 4 * 3 + 3
    assert report.unreached == ()


def test_some_share_and_one_is_alone():
    both, alone = network("both"), network("alone")
    model = mtl.build_model({"a": both, "b": both, "c": alone}, TASKS)
    report = sharing_report(model)
    own = {("a",): HEAD, ("b",): HEAD, ("c",): HEAD + DENSE}
    assert report.parameters == {("a", "b"): DENSE, **own}
    text = str(report)
    assert "a, b" in text
    assert "No gradient" not in text
    pixels = figure_array(report.figure())
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10


def test_a_layer_called_twice_has_its_parameters_once():
    x = keras.Input((4,), name="x")
    square = keras.layers.Dense(4, name="square")
    outputs = {"a": square(square(x)), "b": keras.layers.Dense(1)(square(x))}
    report = sharing_report(keras.Model(x, outputs))
    assert report.parameters == {("a", "b"): 20, ("b",): 5}
    once = 2 * 4 * 4 + 4
    # The call on `x` by each output is a call of its own.
    assert report.flops == {("a",): 2 * once, ("b",): once + 2 * 4 + 1}


def test_a_nested_model_called_twice():
    x, y = keras.Input((4,), name="x"), keras.Input((4,), name="y")
    inner = network("inner")
    model = keras.Model([x, y], {"a": inner(x)["pooled"], "b": inner(y)["pooled"]})
    report = sharing_report(model)
    assert report.parameters == {("a", "b"): DENSE}
    assert report.flops == {("a",): 27, ("b",): 27}


def test_says_what_no_gradient_reaches():
    x = keras.Input((4,), name="x")
    hidden = keras.layers.Dense(3, name="hidden")(x)
    stopped = keras.layers.Lambda(keras.ops.stop_gradient)(hidden)
    report = sharing_report(keras.Model(x, {"a": keras.layers.Dense(1)(stopped)}))
    assert report.unreached == ("hidden/kernel", "hidden/bias")
    assert "No gradient reaches: hidden/kernel, hidden/bias" in str(report)


def test_needs_a_dict_of_outputs():
    with pytest.raises(TypeError, match="a dict of outputs"):
        sharing_report(network("net").layers[-1])
