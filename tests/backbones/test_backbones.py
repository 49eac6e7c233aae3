"""Backbones: features by name, stages, and their configuration."""

import json

import keras
import numpy as np
import pytest
from keras import layers

import keras_mtl as mtl
from tests import tiny_bert
from tests.asserts import error_with

TABLE_DATA = {
    "age": np.array([20.0, 40.0, np.nan]),
    "job": np.array(["cook", "nurse", "cook"]),
    "rooms": np.array([3, 1, 3]),
}
TABULAR = {
    "numeric": {"age": [30.0, 100.0]},
    "categorical": {"job": ["cook", "nurse"], "rooms": [1, 3]},
}

# name, configuration, features, number of stages
ROWS = [
    (
        "mlp",
        {
            "input_shape": [4],
            "units": [5, 3],
            "activation": "tanh",
            "dropout": 0.2,
            "name": "body",
            "trainable": False,
        },
        {"pooled": (None, 3)},
        2,
    ),
    (
        "convnet",
        {
            "input_shape": [9, 8, 2],
            "filters": [4, 6],
            "kernel_size": 5,
            "batch_norm": False,
            "units": 7,
            "pooling": "flatten",
            "name": "eye",
            "trainable": True,
        },
        {"map": (None, 3, 2, 6), "pooled": (None, 7)},
        2,
    ),
    (
        "convnet",
        {"input_shape": [8, 8, 1], "filters": [4], "pooling": "average"},
        {"map": (None, 4, 4, 4), "pooled": (None, 4)},
        1,
    ),
    (
        "recurrent",
        {
            "input_shape": [5, 2],
            "units": [4, 3],
            "cell": "lstm",
            "bidirectional": True,
            "pooling": "last",
            "mask_value": -1.0,
            "dropout": 0.1,
            "name": "ear",
            "trainable": True,
        },
        {"sequence": (None, 5, 6), "pooled": (None, 6)},
        2,
    ),
    (
        "recurrent",
        {"input_shape": [4, 2], "units": [3], "pooling": "average"},
        {"sequence": (None, 4, 3), "pooled": (None, 3)},
        1,
    ),
    (
        "tabular",
        {
            **TABULAR,
            "embedding_dim": 2,
            "units": [6, 5],
            "dropout": 0.1,
            "name": "columns_of_a_table",
            "trainable": True,
        },
        {"pooled": (None, 5)},
        2,
    ),
    (
        "text",
        {
            "pooling": "first",
            "trainable_layers": 2,
            "network": keras.saving.serialize_keras_object(tiny_bert.network()),
            "name": "reader",
            "trainable": True,
        },
        {"sequence": (None, None, 8), "pooled": (None, 8)},
        3,
    ),
]
EACH = pytest.mark.parametrize(
    ("name", "config", "features", "stages"),
    ROWS,
    ids=[f"{row[0]}-{i}" for i, row in enumerate(ROWS)],
)


def make(name, config):
    return mtl.backbones.get({"class_name": name, "config": config})


def inputs_of(backbone, rows=3):
    """Inputs that fit a backbone."""
    if isinstance(backbone, mtl.backbones.Text):
        return tiny_bert.tokens(rows, 9)
    if isinstance(backbone.input, dict):
        values = {k: np.nan_to_num(v) for k, v in TABLE_DATA.items() if k != "job"}
        values["job"] = TABLE_DATA["job"]
        tensors = {
            k: keras.ops.convert_to_tensor(v[:, None]) for k, v in values.items()
        }
        return {k: tensors[k] for k in backbone.input}
    shape = (rows, *backbone.input.shape[1:])
    return keras.ops.convert_to_tensor(
        np.random.default_rng(0).normal(size=shape).astype("float32")
    )


def test_every_backbone_has_a_row():
    """Those of `fusion` are in a file of their own."""
    named = {row[0] for row in ROWS} | {"fusion"}
    assert named == set(mtl.backbones.registry.names())


@EACH
def test_features_have_their_shapes(name, config, features, stages):
    backbone = make(name, config)
    assert {k: tuple(v.shape) for k, v in backbone.output.items()} == features
    found = backbone(inputs_of(backbone))
    for feature, shape in features.items():
        pairs = zip(shape, found[feature].shape, strict=True)
        assert all(expected in (None, size) for expected, size in pairs)
    assert all(np.all(np.isfinite(v)) for v in found.values())


@EACH
def test_stages_are_layers_in_their_order(name, config, features, stages):
    backbone = make(name, config)
    names = [layer.name for layer in backbone.layers]
    positions = [names.index(stage) for stage in backbone.stages]
    assert positions == sorted(set(positions))
    assert len(positions) == stages


@EACH
def test_configuration_round_trip(name, config, features, stages):
    backbone = make(name, config)
    assert backbone.get_config().items() >= config.items()
    serialised = json.loads(json.dumps(keras.saving.serialize_keras_object(backbone)))
    copy = keras.saving.deserialize_keras_object(serialised)
    assert type(copy) is type(backbone)
    assert copy.get_config() == backbone.get_config()
    assert copy.stages == backbone.stages
    copy.set_weights(backbone.get_weights())
    x = inputs_of(backbone)
    for key, value in backbone(x).items():
        np.testing.assert_allclose(copy(x)[key], value, atol=1e-6)


@EACH
def test_a_backbone_by_its_configuration(name, config, features, stages):
    tasks = [mtl.Task("a", mtl.heads.Regression())]
    config = {"class_name": name, "config": config}
    model = mtl.build_model(config, tasks)
    assert model.output["a"].shape == (None, 1)


@EACH
def test_saved_within_a_model(name, config, features, stages, tmp_path):
    backbone = make(name, config)
    model = mtl.build_model(backbone, [mtl.Task("a", mtl.heads.Regression())])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = inputs_of(backbone)
    np.testing.assert_allclose(loaded(x)["a"], model(x)["a"], atol=1e-6)


@EACH
def test_a_frozen_backbone_stays_frozen(name, config, features, stages, tmp_path):
    """By argument or by attribute, within a model, and in the file of the model."""
    by_attribute = make(name, {**config, "trainable": True})
    by_attribute.trainable = False
    for backbone in (make(name, {**config, "trainable": False}), by_attribute):
        model = mtl.build_model(backbone, [mtl.Task("a", mtl.heads.Regression())])
        assert len(model.trainable_variables) == 2
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert len(loaded.trainable_variables) == 2


@pytest.mark.parametrize(
    ("name", "config", "parts"),
    [
        ("mlp", {"input_shape": (4,), "units": (0,)}, ["`units`", ">= 1"]),
        ("convnet", {"input_shape": (8, 8)}, ["`input_shape`", "(8, 8)"]),
        (
            "convnet",
            {"input_shape": (8, 8, 1), "pooling": "max"},
            ["`pooling`", "'average'", "'max'"],
        ),
        ("convnet", {"input_shape": (8, 8, 1), "filters": (0,)}, ["`filters`"]),
        ("recurrent", {"input_shape": (8,)}, ["`input_shape`", "(8,)"]),
        ("recurrent", {"input_shape": (8, 2), "units": ()}, ["`units`", "units=()"]),
        ("recurrent", {"input_shape": (8, 2), "units": (0,)}, ["`units`", ">= 1"]),
        ("recurrent", {"input_shape": (8, 2), "cell": "rnn"}, ["`cell`", "'lstm'"]),
        (
            "recurrent",
            {"input_shape": (8, 2), "pooling": "max"},
            ["`pooling`", "'average'"],
        ),
        ("tabular", {}, ["at least one column"]),
        (
            "tabular",
            {"numeric": {"a": [0, 1]}, "categorical": {"a": ["x"]}},
            ["`numeric`", "['a']"],
        ),
        (
            "tabular",
            {"numeric": {"a": [0, 1]}, "embedding_dim": 0},
            ["`embedding_dim`", ">= 1"],
        ),
        ("mlp", {"shape": (4,)}, ["`mlp`", "shape"]),
    ],
)
def test_wrong_arguments(name, config, parts):
    with error_with(ValueError, *parts):
        make(name, config)


# === Tables ===


def test_statistics_of_a_table():
    config = mtl.backbones.Tabular.for_table(TABLE_DATA, units=(4,)).get_config()
    assert config["numeric"] == {"age": [30.0, 100.0]}
    assert config["categorical"] == {"job": ["cook", "nurse"], "rooms": [1, 3]}
    assert config["units"] == [4]


def columns(backbone, **values):
    """What the dense layers of a tabular backbone see for one row."""
    seen = keras.Model(backbone.input, backbone.get_layer("columns").output)
    row = {"age": 30.0, "job": "cook", "rooms": 3, **values}
    tensors = {k: keras.ops.convert_to_tensor([[v]]) for k, v in row.items()}
    return np.asarray(seen(tensors))[0]


def test_columns_of_a_table():
    backbone = mtl.backbones.Tabular(**TABULAR, embedding_dim=2)
    middle = columns(backbone)
    assert middle.shape == (1 + 2 + 2,)
    assert middle[0] == 0
    assert columns(backbone, age=50.0)[0] == pytest.approx(2.0)
    nurse = columns(backbone, job="nurse")
    assert np.any(nurse[1:3] != middle[1:3])
    np.testing.assert_array_equal(nurse[3:], middle[3:])
    unknown = columns(backbone, job="pilot", rooms=9)
    np.testing.assert_array_equal(unknown, columns(backbone, job="??", rooms=-2))
    assert np.all(unknown[1:] != middle[1:])


@pytest.mark.parametrize("column", ["age", "job"])
def test_a_table_of_one_column(column):
    backbone = mtl.backbones.Tabular.for_table({column: TABLE_DATA[column]}, units=(3,))
    x = np.array([[20.0]], "float32") if column == "age" else np.array([["cook"]])
    found = backbone({column: keras.ops.convert_to_tensor(x)})["pooled"]
    assert found.shape == (1, 3)


def test_a_table_trains_from_arrays():
    table = {k: v[:2] for k, v in TABLE_DATA.items()}
    backbone = mtl.backbones.Tabular.for_table(table, units=(3,))
    model = mtl.build_model(backbone, [mtl.Task("a", mtl.heads.Regression())])
    model.compile("sgd")
    x = {k: keras.ops.convert_to_tensor(v[:, None]) for k, v in table.items()}
    logs = model.fit(x, {"a": np.zeros(2)}, verbose=0).history
    assert np.isfinite(logs["a_loss"][0])


# === Time series ===


def gru_states(x, kernel, recurrent_kernel, bias):
    """States of a GRU whose reset gate comes after the product, step by step."""
    units, states = len(recurrent_kernel), []
    state = np.zeros((len(x), units))
    for step in range(x.shape[1]):
        given = x[:, step] @ kernel + bias[0]
        kept = state @ recurrent_kernel + bias[1]
        z, r = (
            1 / (1 + np.exp(-(given + kept)[:, i * units : (i + 1) * units]))
            for i in (0, 1)
        )
        fresh = np.tanh(given[:, 2 * units :] + r * kept[:, 2 * units :])
        state = z * state + (1 - z) * fresh
        states.append(state)
    return np.stack(states, axis=1)


def test_states_of_a_gru():
    net = mtl.backbones.Recurrent(input_shape=(6, 2), units=(3,))
    rng = np.random.default_rng(0)
    net.set_weights([rng.normal(size=w.shape) for w in net.get_weights()])
    x = rng.normal(size=(4, 6, 2)).astype("float32")
    expected = gru_states(x, *net.get_weights())
    found = net.predict(x, verbose=0)
    np.testing.assert_allclose(found["sequence"], expected, atol=1e-5)
    np.testing.assert_allclose(found["pooled"], expected[:, -1], atol=1e-5)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", ["last", "average"])
def test_padding_changes_nothing(cell, bidirectional, pooling):
    """Before or after the series, by itself or within a model of tasks."""
    net = mtl.backbones.Recurrent(
        input_shape=(None, 2),
        units=(4, 3),
        cell=cell,
        bidirectional=bidirectional,
        pooling=pooling,
        mask_value=0.0,
    )
    model = mtl.build_model(net, [mtl.Task("a", mtl.heads.Regression())])
    x = np.random.default_rng(0).normal(size=(3, 4, 2)).astype("float32")
    expected, value = net(x), model(x)["a"]
    for before, after in ((0, 3), (2, 0), (1, 2)):
        padded = np.pad(x, ((0, 0), (before, after), (0, 0)))
        found = net(padded)
        np.testing.assert_allclose(found["pooled"], expected["pooled"], atol=1e-6)
        steps = found["sequence"][:, before : before + 4]
        np.testing.assert_allclose(steps, expected["sequence"], atol=1e-6)
        np.testing.assert_allclose(model(padded)["a"], value, atol=1e-6)


@pytest.mark.parametrize("rows", [[[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]], None])
def test_last_step(rows):
    """The last step that counts; the first, for units that run backwards."""
    layer = mtl.layers.LastStep(backward_units=1)
    x = np.random.default_rng(0).normal(size=(3, 4, 3)).astype("float32")
    mask = None if rows is None else np.array(rows, bool)
    found = keras.ops.convert_to_numpy(layer(x, mask=mask))
    assert found.shape == layer.compute_output_shape(x.shape)
    last, first = ([3, 3], [0, 0]) if rows is None else ([1, 2], [0, 1])
    for i in (0, 1):
        expected = [*x[i, last[i], :2], x[i, first[i], 2]]
        np.testing.assert_array_equal(found[i], expected)
    assert np.all(np.isfinite(found))
    assert mtl.layers.LastStep.from_config(layer.get_config()).backward_units == 1


def test_a_series_trains_under_a_balancer():
    net = mtl.backbones.Recurrent(input_shape=(None, 2), units=(4,), mask_value=0.0)
    tasks = [mtl.Task(name, mtl.heads.Regression()) for name in "ab"]
    model = mtl.build_model(net, tasks)
    model.compile(keras.optimizers.Adam(0.02), balancer="pcgrad")
    x = np.random.default_rng(0).normal(size=(32, 5, 2)).astype("float32")
    y = {"a": x.mean(axis=(1, 2)), "b": x[:, -1, 0]}
    losses = model.fit(x, y, epochs=15, verbose=0).history["loss"]
    assert losses[-1] < 0.7 * losses[0]


# === Any other model as a backbone ===

PIXELS = keras.Input((6, 6, 2), name="pixels")
TOKENS = keras.Input((5,), dtype="int32", name="tokens")
NUMBERS = keras.Input((4,), name="numbers")


def embed(mask_zero=False):
    return layers.Embedding(9, 3, mask_zero=mask_zero)(TOKENS)


@pytest.mark.parametrize(
    ("inputs", "outputs", "features"),
    [
        (NUMBERS, lambda: layers.Dense(3)(NUMBERS), {"pooled": (None, 3)}),
        (TOKENS, embed, {"sequence": (None, 5, 3), "pooled": (None, 3)}),
        (
            PIXELS,
            lambda: layers.Conv2D(4, 3)(PIXELS),
            {"map": (None, 4, 4, 4), "pooled": (None, 4)},
        ),
        (
            PIXELS,
            lambda: [
                layers.Conv2D(4, 3)(PIXELS),
                layers.GlobalMaxPooling2D()(PIXELS),
            ],
            {"map": (None, 4, 4, 4), "pooled": (None, 2)},
        ),
        (
            NUMBERS,
            lambda: {
                "pooled": layers.Dense(3)(NUMBERS),
                "gate": layers.Dense(2)(NUMBERS),
            },
            {"pooled": (None, 3), "gate": (None, 2)},
        ),
        (
            TOKENS,
            lambda: {
                "sequence_output": (x := embed()),
                "pooled_output": layers.GlobalMaxPooling1D()(x),
            },
            {"sequence": (None, 5, 3), "pooled": (None, 3)},
        ),
    ],
    ids=["rank 2", "rank 3", "rank 4", "list", "dict", "keras-hub names"],
)
def test_named_features(inputs, outputs, features):
    model = keras.Model(inputs, outputs())
    found = mtl.backbones.named_features(model.output)
    assert {k: tuple(v.shape) for k, v in found.items()} == features
    built = mtl.build_model(model, [mtl.Task("a", mtl.heads.Regression())])
    shape = (2, *inputs.shape[1:])
    assert built.predict(np.ones(shape, inputs.dtype), verbose=0)["a"].shape == (2, 1)


def test_the_mean_over_tokens_leaves_masked_ones_out():
    model = keras.Model(TOKENS, embed(mask_zero=True))
    features = keras.Model(TOKENS, mtl.backbones.named_features(model.output))
    tokens = np.array([[3, 4, 0, 0, 0]])
    found = features.predict(tokens, verbose=0)
    np.testing.assert_allclose(
        found["pooled"][0], found["sequence"][0, :2].mean(axis=0), atol=1e-6
    )


@pytest.mark.parametrize(
    "outputs",
    [
        lambda: [layers.Dense(2)(NUMBERS), layers.Dense(3)(NUMBERS)],
        lambda: layers.Reshape((1, 1, 2, 2))(NUMBERS),
    ],
    ids=["one rank twice", "rank 5"],
)
def test_outputs_without_a_name(outputs):
    model = keras.Model(NUMBERS, outputs())
    with pytest.raises(ValueError, match="different ranks"):
        mtl.backbones.named_features(model.output)


def test_a_backbone_of_keras_hub():
    import keras_hub

    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=11,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=8,
        max_sequence_length=6,
    )
    tasks = [
        mtl.Task("topic", mtl.heads.Classification(3)),
        mtl.Task("length", mtl.heads.Regression()),
    ]
    model = mtl.build_model(backbone, tasks)
    assert set(model.input) == set(backbone.input)
    model.compile("sgd")
    x = {
        "token_ids": np.ones((4, 6), "int32"),
        "segment_ids": np.zeros((4, 6), "int32"),
        "padding_mask": np.ones((4, 6), "int32"),
    }
    y = {"topic": np.array([0, 1, 2, 0]), "length": np.arange(4.0)}
    logs = model.fit(x, y, verbose=0).history
    assert np.isfinite(logs["topic_loss"][0])
    raw = model.predict(x, verbose=0)
    assert raw["topic"].shape == (4, 3)
    pooled = backbone.predict(x, verbose=0)["pooled_output"]
    kernel, bias = model.get_layer("topic_output").get_weights()
    np.testing.assert_allclose(raw["topic"], pooled @ kernel + bias, atol=1e-5)
