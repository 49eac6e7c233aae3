"""Fusion: what is absent changes nothing, and every way of joining is the formula."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_mtl as mtl

WAYS = ("concat", "gated", "multi_head", "bilinear")
POLICIES = ("zeros", "learned")


def words():
    """Encoder of tokens: 0 is padding; its sequence has a mask."""
    ids = keras.Input((None,), dtype="int32", name="ids")
    sequence = layers.Embedding(20, 6, mask_zero=True)(ids)
    pooled = layers.GlobalAveragePooling1D()(sequence)
    return keras.Model(ids, {"sequence": sequence, "pooled": pooled}, name="words")


def photos():
    return mtl.backbones.ConvNet(input_shape=(8, 8, 1), filters=(4,))


def make(fusion="concat", missing="error", **options):
    keras.utils.set_random_seed(1)
    encoders = {"photo": photos(), "text": words()}
    return mtl.backbones.Fusion(
        encoders, fusion=fusion, units=8, num_heads=2, missing=missing, **options
    )


def batch(rows=4, **present):
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 20, (rows, 5))
    ids[0, 3:] = 0
    flags = {f"{name}_present": np.array(values) for name, values in present.items()}
    return {"image": rng.normal(size=(rows, 8, 8, 1)).astype("f"), "ids": ids, **flags}


def arrays(features):
    return {name: ops.convert_to_numpy(value) for name, value in features.items()}


@pytest.mark.parametrize("fusion", WAYS)
@pytest.mark.parametrize("missing", ["error", "learned"])
def test_features_and_a_file(fusion, missing, tmp_path):
    net = make(fusion, missing)
    there = {"photo": [True] * 4, "text": [True] * 4} if missing != "error" else {}
    inputs = batch(**there)
    features = arrays(net(inputs))
    assert features["pooled"].shape == (4, 8)
    assert features["text"].shape == (4, 6)
    assert features["sequence"].shape == (4, 5, 6)
    assert features["map"].ndim == 4
    tasks = [mtl.Task("kind", mtl.heads.Classification(3))]
    model = mtl.build_model(net, tasks)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    before, after = model.predict(inputs, verbose=0), loaded.predict(inputs, verbose=0)
    np.testing.assert_allclose(before["kind"], after["kind"], rtol=1e-5, atol=1e-6)
    again = mtl.backbones.Fusion.from_config(net.get_config())
    again.set_weights(net.get_weights())
    np.testing.assert_allclose(again(inputs)["pooled"], features["pooled"], atol=1e-6)


def absent_alike():
    """Two batches that differ in what is absent alone."""
    inputs = batch(photo=[True, True, False, False], text=[True, False, True, False])
    other = {key: value.copy() for key, value in inputs.items()}
    other["image"][2:] = np.nan
    other["ids"][[1, 3]] = 0  # nothing but padding
    return inputs, other


@pytest.mark.parametrize("fusion", WAYS)
@pytest.mark.parametrize("missing", POLICIES)
def test_what_is_absent_changes_nothing(fusion, missing):
    net = make(fusion, missing)
    for variable in net.trainable_variables:  # learned vectors start at zero
        variable.assign(variable + 0.1)
    inputs, other = absent_alike()
    first, second = arrays(net(inputs)), arrays(net(other))
    for name in ("pooled", "photo", "text"):
        np.testing.assert_allclose(first[name], second[name], rtol=1e-5, atol=1e-6)
        assert np.isfinite(second[name]).all()


@pytest.mark.parametrize("fusion", ["concat", "multi_head"])
def test_what_is_absent_trains_nothing(fusion):
    """Gradients and batch statistics come from what is there."""
    tasks = [mtl.Task(name, mtl.heads.Regression()) for name in "ab"]
    found = []
    for data in absent_alike():
        model = mtl.build_model(make(fusion, "learned"), tasks)
        model.compile("sgd", balancer="pcgrad")
        model.fit(
            *(data, {"a": np.ones(4), "b": np.arange(4.0)}),
            **{"batch_size": 4, "shuffle": False, "verbose": 0},
        )
        found.append(model.get_weights())
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("fusion", WAYS)
def test_padding_changes_nothing(fusion):
    net = make(fusion)
    inputs = batch()
    longer = {**inputs, "ids": np.pad(inputs["ids"], [(0, 0), (0, 3)])}
    np.testing.assert_allclose(
        net(inputs)["pooled"], net(longer)["pooled"], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("fusion", WAYS)
def test_every_example_present_is_no_policy(fusion):
    net, plain = make(fusion, "zeros"), make(fusion)
    plain.set_weights(net.get_weights())
    inputs = batch()
    there = {f"{name}_present": np.ones(4, bool) for name in ("photo", "text")}
    np.testing.assert_allclose(
        net({**inputs, **there})["pooled"], plain(inputs)["pooled"], atol=1e-5
    )


def test_gated_sum_is_the_formula():
    rng = np.random.default_rng(0)
    values = [rng.normal(size=(5, width)).astype("f") for width in (3, 4)]
    layer = mtl.layers.GatedSum(2)
    found = ops.convert_to_numpy(layer(values))
    hidden = [
        np.tanh(x @ t.kernel.numpy() + t.bias.numpy())
        for x, t in zip(values, layer.transforms, strict=True)
    ]
    kernel = layer.gate.kernel.numpy()
    scores = np.concatenate(values, axis=1) @ kernel + layer.gate.bias.numpy()
    gate = 1 / (1 + np.exp(scores[:, 2:] - scores[:, :2]))  # the paper's, for two
    expected = gate * hidden[0] + (1 - gate) * hidden[1]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    flags = [np.array([1, 1, 0, 0, 1], bool), np.array([1, 0, 1, 0, 1], bool)]
    found = ops.convert_to_numpy(layer(values, present=flags))
    expected[1], expected[2], expected[3] = hidden[0][1], hidden[1][2], 0
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_bilinear_attention_is_the_formula():
    keras.utils.set_random_seed(1)
    net = mtl.backbones.Fusion(
        {"a": words(), "b": mtl.backbones.MLP(input_shape=(3,), units=(4,))},
        fusion="bilinear",
        units=5,
    )
    ids, numbers = np.array([[3, 4, 0]]), np.ones((1, 3), "f")
    found = net({"ids": ids, "features": numbers})
    weights = {v.path: v.numpy() for v in net.weights}

    def layer(name, part):
        [value] = [v for path, v in weights.items() if path.endswith(f"{name}/{part}")]
        return value

    def dense(x, name):
        return x @ layer(name, "kernel") + layer(name, "bias")

    def normal(x):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-3)
        return x

    tokens = {
        "a": dense(
            weights[net.get_layer("a_encoder").weights[0].path][[3, 4]], "a_tokens"
        ),
        "b": dense(np.array(found["b"]), "b_tokens"),
    }
    means = []
    for one, other in (("a", "b"), ("b", "a")):
        scores = tokens[one] @ layer(f"{one}_to_{other}/product", "kernel")
        scores = scores @ tokens[other].T
        shares = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        means.append(normal(tokens[one] + shares @ tokens[other]).mean(0))
    expected = np.maximum(dense(np.concatenate(means), "fused"), 0)
    np.testing.assert_allclose(found["pooled"][0], expected, rtol=1e-4, atol=1e-5)


def test_modality_dropout_leaves_one():
    rng = np.random.default_rng(0)
    flags = [rng.random(4000) < 0.8 for _ in range(3)]
    layer = mtl.layers.ModalityDropout(0.4, seed=1)
    kept = np.stack([np.array(flag) for flag in layer(flags, training=True)])
    there = np.stack(flags)
    assert not np.any(kept & ~there)
    np.testing.assert_array_equal(kept.any(0), there.any(0))
    alone = there.sum(0) == 1
    np.testing.assert_array_equal(kept[:, alone], there[:, alone])
    full = there.all(0)
    # A modality of three goes with 0.4, but for the draws in which all would.
    expected = 1 - 0.4 + 0.4**3 / 3
    assert kept[:, full].mean() == pytest.approx(expected, abs=0.02)
    same = layer(flags, training=False)
    np.testing.assert_array_equal(np.stack([np.array(f) for f in same]), there)


def test_dropout_of_modalities_trains():
    net = make("concat", "learned", modality_dropout=0.5)
    model = mtl.build_model(net, [mtl.Task("value", mtl.heads.Regression())])
    model.compile("adam")
    inputs = batch(photo=[True] * 4, text=[True] * 4)
    model.fit(inputs, {"value": np.ones(4)}, epochs=20, verbose=0)
    filled = [v for v in net.weights if v.path.endswith("or_absent/vector")]
    assert any(np.any(v.numpy() != 0) for v in filled)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"encoders": {"photo": photos}}, "at least two modalities"),
        ({"encoders": {"map": photos, "text": words}}, "called like a feature"),
        ({"encoders": {"a": words, "b": words}}, "different names.*'ids' of 'b'"),
        ({"encoders": {"a": lambda: 3, "b": words}}, "encoder of 'a'.*functional"),
        ({"fusion": "sum"}, "`fusion`"),
        ({"missing": "guess"}, "`missing`"),
        ({"fusion": "multi_head", "num_heads": 3}, "divide `units`"),
        ({"modality_dropout": 0.2}, "which makes modalities missing"),
        ({"modality_dropout": 1.2, "missing": "zeros"}, "`rate`"),
    ],
)
def test_errors(arguments, match):
    encoders = arguments.pop("encoders", {"photo": photos, "text": words})
    made = {name: maker() for name, maker in encoders.items()}
    with pytest.raises(ValueError, match=match):
        mtl.backbones.Fusion(made, units=8, **arguments)


def test_a_missing_modality_without_a_policy():
    inputs = batch()
    del inputs["ids"]
    with pytest.raises(ValueError, match="ids"):
        make()(inputs)


def test_from_names():
    config = {
        "class_name": "fusion",
        "config": {
            "encoders": {
                "photo": {
                    "class_name": "convnet",
                    "config": {"input_shape": (8, 8, 1), "filters": (4,)},
                },
                "facts": {"class_name": "mlp", "config": {"input_shape": (3,)}},
            }
        },
    }
    assert set(mtl.backbones.get(config).encoders) == {"photo", "facts"}
