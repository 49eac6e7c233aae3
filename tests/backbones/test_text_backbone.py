"""Transformers of keras-hub as backbones: features, freezing, folders, padding."""

import socket

import keras
import keras_hub
import numpy as np
import pytest

import keras_mtl as mtl
from tests import tiny_bert
from tests.asserts import error_with

Text = mtl.backbones.Text


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in Hugging Face's layout, and what is in it."""
    path = tmp_path_factory.mktemp("presets") / "bert"
    return path, tiny_bert.write_folder(path)


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_):
        raise OSError("a test went to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def trained_layers(backbone):
    return [layer.name for layer in backbone.layers if layer.trainable_variables]


def tasks():
    return [
        mtl.Task("topic", mtl.heads.Classification(3)),
        mtl.Task("stars", mtl.heads.Regression()),
    ]


@pytest.mark.parametrize("pooling", ["mean", "first", "trained"])
def test_folder_of_hugging_face_equals_bert_in_numpy(folder, no_network, pooling):
    path, made = folder
    backbone = Text(path, pooling=pooling)
    x = tiny_bert.tokens(6, 9)
    found = {k: np.asarray(v) for k, v in backbone(x).items()}
    for row, expected in enumerate(tiny_bert.forward(made, x)):
        size = len(expected)
        np.testing.assert_allclose(found["sequence"][row, :size], expected, atol=2e-5)
        kernel, bias = made["pooler.dense.weight"], made["pooler.dense.bias"]
        pooled = {
            "mean": expected.mean(axis=0),
            "first": expected[0],
            "trained": np.tanh(expected[0] @ kernel.T + bias),
        }
        np.testing.assert_allclose(found["pooled"][row], pooled[pooling], atol=2e-5)


def test_folder_of_keras_hub(tmp_path, no_network):
    network = tiny_bert.network()
    network.save_to_preset(str(tmp_path / "bert"))
    x = tiny_bert.tokens(3, 8)
    expected = network(x)["sequence_output"]
    backbone = Text(tmp_path / "bert")
    np.testing.assert_allclose(backbone(x)["sequence"], expected, atol=1e-6)
    random = Text(tmp_path / "bert", load_weights=False, dropout=0.3)
    assert np.abs(random(x)["sequence"] - expected).max() > 0.1
    assert random.get_layer("embeddings_dropout").rate == 0.3


def test_padding_changes_no_logit():
    model = mtl.build_model(Text(network=tiny_bert.network()), tasks())
    short, long = (model(tiny_bert.tokens(8, length)) for length in (7, 24))
    for task, logits in short.items():
        assert np.abs(logits).max() > 0.1
        np.testing.assert_allclose(long[task], logits, atol=1e-5)


@pytest.mark.parametrize("kind", ["DistilBert", "GPT2", "Electra", "DebertaV3"])
def test_padding_changes_no_feature_of_other_networks(kind):
    changes = {"vocab_size": 30, "embedding_dim": 8} if kind == "Electra" else {}
    config = {**tiny_bert.CONFIG, **changes}
    if kind == "Electra":
        del config["vocabulary_size"]
    network = getattr(keras_hub.models, f"{kind}Backbone")(**config)
    backbone = Text(network=network, trainable_layers=1)
    assert trained_layers(backbone)[0] == backbone.stages[-1]
    assert backbone.max_sequence_length == tiny_bert.LONGEST
    short, long = (
        backbone(
            {k: v for k, v in tiny_bert.tokens(8, n).items() if k in backbone.input}
        )
        for n in (7, 20)
    )
    np.testing.assert_allclose(long["pooled"], short["pooled"], atol=1e-5)


def test_two_parts_are_the_whole():
    backbone = Text(network=tiny_bert.network())
    lower, upper = backbone.split(2)
    x = tiny_bert.tokens(5, 9)
    options = {"features": ("sequence",), "progress": False}
    hidden = mtl.data.text.cached_features(lower, x, **options)["sequence"]
    halves = {"hidden": hidden, "padding_mask": x["padding_mask"]}
    found, expected = upper(halves), backbone(x)
    np.testing.assert_allclose(found["pooled"], expected["pooled"], atol=1e-5)
    assert len(lower.weights) + len(upper.weights) == len(backbone.weights)
    model = mtl.build_model(upper, tasks())
    model.compile("sgd")
    y = {"topic": np.arange(5) % 3, "stars": np.arange(5.0)}
    model.fit(mtl.data.text.bucketed((halves, y), 2), verbose=0)
    assert np.abs(backbone(x)["pooled"] - expected["pooled"]).max() > 1e-4
    np.testing.assert_allclose(lower(x)["sequence"][0, 0], hidden[0, 0], atol=1e-6)


def test_networks_that_cannot_be_split():
    backbone = Text(network=tiny_bert.network())
    with error_with(ValueError, "at most 3", "count=4"):
        backbone.split(4)
    network = keras_hub.models.DebertaV3Backbone(**tiny_bert.CONFIG)
    with error_with(ValueError, "a sequence and a mask"):
        Text(network=network).split(1)


def test_adopted_network_without_pooled_output_leaves_padding_out():
    network = keras_hub.models.DistilBertBackbone(**tiny_bert.CONFIG)
    model = mtl.build_model(network, tasks())
    short, long = (
        model({k: v for k, v in tiny_bert.tokens(4, n).items() if k in network.input})
        for n in (7, 15)
    )
    np.testing.assert_allclose(long["topic"], short["topic"], atol=1e-5)


LAYERS = [f"transformer_layer_{i}" for i in range(3)]
EMBEDDINGS = [f"{kind}_embedding" for kind in ("token", "position", "segment")]


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (None, [*EMBEDDINGS, "embeddings_layer_norm", *LAYERS]),
        (3, LAYERS),
        (1, LAYERS[2:]),
        (0, []),
    ],
)
def test_trainable_layers(count, expected):
    backbone = Text(network=tiny_bert.network(), trainable_layers=count)
    assert set(trained_layers(backbone)) == set(expected)
    assert backbone.stages == tuple(LAYERS)


def test_only_trainable_layers_move_and_file_keeps_it(tmp_path, folder):
    backbone = Text(folder[0], trainable_layers=1)
    model = mtl.build_model(backbone, tasks())
    model.compile("adam")
    before = {v.path: np.array(v) for v in backbone.weights}
    x = tiny_bert.tokens(8, 7)
    y = {"topic": np.arange(8) % 3, "stars": np.arange(8.0)}
    model.fit(x, y, batch_size=4, verbose=0)
    moved = {
        v.path.split("/")[0]
        for v in backbone.weights
        if np.abs(np.array(v) - before[v.path]).max() > 0
    }
    assert moved == {"transformer_layer_2"}
    path = tmp_path / "model.keras"
    model.save(path)
    # The file stands alone: the folder need not be there.
    folder[0].rename(folder[0].with_name("gone"))
    try:
        loaded = keras.saving.load_model(path)
    finally:
        folder[0].with_name("gone").rename(folder[0])
    for task, logits in model(x).items():
        np.testing.assert_allclose(loaded(x)[task], logits, atol=1e-6)
    names = [v.path for v in model.trainable_variables]
    assert [v.path for v in loaded.trainable_variables] == names


@pytest.mark.parametrize("architecture", ["cross_stitch", "adapters"])
def test_architectures_cut_at_the_layers(architecture):
    backbone = Text(network=tiny_bert.network())
    model = mtl.build_model(backbone, tasks(), architecture=architecture)
    short, long = (model(tiny_bert.tokens(4, length)) for length in (7, 12))
    np.testing.assert_allclose(long["topic"], short["topic"], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({}, ("`preset`", "`network`")),
        ({"network": "bart"}, ("one sequence", "decoder_sequence_output")),
        ({"network": "bert", "trainable_layers": 4}, ("at most", "3", "=4")),
        ({"network": "bert", "trainable_layers": -1}, ("trainable_layers=-1",)),
        ({"network": "bert", "pooling": "max"}, ("'mean', 'first'", "'max'")),
        ({"network": "distil", "pooling": "trained"}, ("pooled_output", "'mean'")),
    ],
)
def test_errors_at_construction(options, parts):
    kinds = {"bert": "Bert", "bart": "Bart", "distil": "DistilBert"}
    if "network" in options:
        cls = getattr(keras_hub.models, f"{kinds[options['network']]}Backbone")
        options = {**options, "network": cls(**tiny_bert.CONFIG)}
    with error_with(ValueError, *parts):
        Text(**options)


def test_folder_without_a_network(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with error_with(ValueError, "config.json", "notes.txt", str(tmp_path)):
        Text(tmp_path)
