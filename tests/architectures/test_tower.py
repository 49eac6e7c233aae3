"""A tower computes what its backbone computes, with layers of its own if asked to."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl.architectures.tower import Tower, stages_of


def branched():
    """A layer called twice, a skip, an operation that is no layer, two inputs."""
    x, y = keras.Input((4,), name="x"), keras.Input((4,), name="y")
    twice = keras.layers.Dense(4, activation="tanh", name="twice")
    a = keras.layers.Dense(4, name="a")(twice(x) + twice(y))
    b = keras.layers.BatchNormalization(name="b")(keras.ops.sin(a) * x)
    return keras.Model({"x": x, "y": y}, {"pooled": b, "low": a}, name="branched")


def inputs():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(5, 4)).astype("float32") for name in ("x", "y")}


def fresh(backbone):
    return keras.tree.map_structure(
        lambda t: keras.Input(t.shape[1:], name=t.name), backbone.input
    )


@pytest.mark.parametrize("suffix", [None, "copy"])
def test_equals_the_backbone(suffix):
    net = branched()
    given = fresh(net)
    tower = Tower(net, given, suffix)
    model = keras.Model(given, tower.features())
    for name, expected in net.predict(inputs(), verbose=0).items():
        found = model.predict(inputs(), verbose=0)[name]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    own = {id(v) for v in model.weights} & {id(v) for v in net.weights}
    assert len(own) == (len(net.weights) if suffix is None else 0)
    if suffix:
        assert {layer.name for layer in model.layers} >= {"twice_copy", "a_copy"}


def test_what_follows_a_stage_sees_what_was_put_there():
    net = branched()
    given = fresh(net)
    tower = Tower(net, given, None)
    before = tower.advance("a")
    tower.put("a", before * 0.0)
    model = keras.Model(given, {"before": before, **tower.features()})
    found = model.predict(inputs(), verbose=0)
    assert np.abs(found["before"]).max() > 0
    np.testing.assert_array_equal(found["low"], 0.0)
    np.testing.assert_allclose(found["pooled"], 0.0, atol=1e-6)


def test_a_deep_network_needs_no_deep_stack():
    x = keras.Input((2,))
    out = x
    for index in range(600):
        out = keras.layers.ReLU(name=f"relu_{index}")(out)
    net = keras.Model(x, {"pooled": out})
    assert Tower(net, x, None).features()["pooled"].shape == (None, 2)


def test_stages():
    net = mtl.backbones.MLP(input_shape=(2,), units=(3, 3, 3))
    assert stages_of(net, None) == ("dense_0", "dense_1", "dense_2")
    assert stages_of(net, ["dense_2", "dense_0"]) == ("dense_0", "dense_2")
    with pytest.raises(ValueError, match=r"\['dense_7'\] do not exist"):
        stages_of(net, ["dense_7"])
    with pytest.raises(ValueError, match="some of"):
        stages_of(keras.Model(net.input, net.output), None)
