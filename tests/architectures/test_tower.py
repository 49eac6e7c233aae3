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


def test_a_branch_goes_on_with_layers_of_its_own():
    net = mtl.backbones.MLP(input_shape=(2,), units=(3, 3))
    given = fresh(net)
    trunk = Tower(net, given, None)
    trunk.put("dense_0", 2.0 * trunk.advance("dense_0"))
    outputs = {name: trunk.branch(name).features()["pooled"] for name in ("a", "b")}
    model = keras.Model(given, outputs)
    names = {layer.name for layer in model.layers if "dense" in layer.name}
    assert names == {"dense_0", "dense_1_a", "dense_1_b"}
    x = np.ones((1, 2), "float32")
    expected = net.get_layer("dense_1")(2.0 * net.get_layer("dense_0")(x))
    for found in model.predict(x, verbose=0).values():
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_layers_that_were_called_elsewhere_before():
    """`Sequential.add` calls the layers anew, each time on other tensors."""
    net = keras.Sequential([keras.Input((2,))])
    net.add(keras.layers.Dense(3, name="low"))
    net.add(keras.layers.Dense(3, name="high"))
    net = keras.Model(net.inputs[0], {"pooled": net.outputs[0]})
    given = fresh(net)
    for suffix in (None, "copy"):
        tower = Tower(net, given, suffix)
        tower.put("low", 2.0 * tower.advance("low"))
        model = keras.Model(given, tower.features())
        x = np.ones((1, 2), "float32")
        expected = net.get_layer("high")(2.0 * net.get_layer("low")(x))
        np.testing.assert_allclose(model(x)["pooled"], expected, rtol=1e-6)


def test_copies_of_nested_models_have_names_of_their_own():
    inner = mtl.backbones.MLP(input_shape=(2,), units=(3,), name="inner")
    small = keras.Sequential([keras.layers.Dense(3, name="dense")], name="small")
    x = keras.Input((2,), name="x")
    net = keras.Model(x, {"pooled": small(inner(x, training=False)["pooled"])})
    inner.trainable = False
    model = keras.Model(x, Tower(net, x, "a").features())
    found = {v.path: v.trainable for v in model.weights}
    assert found == {
        "dense_0_a/kernel": False,
        "dense_0_a/bias": False,
        "dense_a/kernel": True,
        "dense_a/bias": True,
    }
    assert {layer.name for layer in model.layers} == {"x", "inner_a", "small_a"}
    y = np.ones((1, 2), "float32")
    np.testing.assert_allclose(model(y)["pooled"], net(y)["pooled"], rtol=1e-6)


def test_adapted_layers_are_used_as_they_are():
    """Their configuration lacks what they were adapted to."""
    scale = keras.layers.Normalization(name="scale")
    scale.adapt(np.array([[1.0], [3.0]]))
    lookup = keras.layers.StringLookup(name="lookup")
    lookup.adapt(np.array([["x"], ["y"]]))
    number = keras.Input((1,), name="number")
    word = keras.Input((1,), name="word", dtype="string")
    codes = keras.layers.Embedding(3, 1, name="codes")(lookup(word))
    total = scale(number) + keras.layers.Flatten(name="flat")(codes)
    net = keras.Model({"number": number, "word": word}, {"pooled": total})
    given = {
        "number": keras.Input((1,), name="number"),
        "word": keras.Input((1,), name="word", dtype="string"),
    }
    model = keras.Model(given, Tower(net, given, "a").features())
    rows = {"number": np.array([[1.0], [3.0]]), "word": np.array([["y"], ["x"]])}
    rows = {name: keras.ops.convert_to_tensor(v) for name, v in rows.items()}
    np.testing.assert_allclose(model(rows)["pooled"], net(rows)["pooled"], rtol=1e-6)
    names = {layer.name for layer in model.layers}
    assert names >= {"scale", "lookup", "codes_a"}


def test_a_stage_gives_one_tensor():
    with pytest.raises(ValueError, match=r"called once.*\['twice'\] give several"):
        stages_of(branched(), ["twice", "a"])


def test_the_names_of_a_deep_network_are_not_all_listed():
    x = out = keras.Input((2,))
    for index in range(100):
        out = keras.layers.ReLU(name=f"relu_{index}")(out)
    with pytest.raises(ValueError, match=r"'relu_8', … 81 more …, 'relu_90'"):
        stages_of(keras.Model(x, {"pooled": out}), ["relu"])
