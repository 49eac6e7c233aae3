"""Sequences of tokens: teacher forcing beside what a search finds, saved and served."""

import json
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from keras_mtl.export import export_saved_model, verify_saved_model
from keras_mtl.export.records import read_expected
from tests.asserts import error_with

ROWS, LENGTH, SIZE = 6, 5, 12
SOURCE = np.random.default_rng(0).integers(1, 9, (ROWS, 4)).astype("int32")
SOURCE[1, 2:] = SOURCE[2, 1:] = 0
LABELS = np.random.default_rng(1).integers(3, SIZE, (ROWS, LENGTH))
LABELS[:, -1] = 2
LABELS[1, 2:] = [2, -1, -1]
LABELS[2] = -1  # has no translation
ALPHA = 0.6


def head(**options):
    options = {"hidden_units": (16,), "num_heads": 2, "length_penalty": ALPHA} | options
    return mtl.heads.SequenceToSequence(SIZE, LENGTH, **options)


def build(**options):
    source = keras.Input((None,), dtype="int32", name="source")
    x = keras.layers.Embedding(9, 8, mask_zero=True)(source)
    backbone = keras.Model(source, {"sequence": x}, name="encoder")
    tasks = [
        mtl.Task("german", head(**options), missing=-1),
        mtl.Task("kind", mtl.heads.Classification(3)),
    ]
    return mtl.build_model(backbone, tasks)


def randomise(model):
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(0.7 * rng.normal(size=variable.shape))
    return model


@pytest.fixture(scope="module")
def model():
    return randomise(build(beam_width=3))


TOKENS = np.array(head().decoder_tokens(LABELS))
INPUTS = {"source": SOURCE, "german_tokens": TOKENS}


def log_softmax(x):
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def test_decoder_tokens_are_one_place_later():
    assert TOKENS[:, 0].tolist() == [1] * ROWS
    np.testing.assert_array_equal(TOKENS[0, 1:], LABELS[0, :-1])
    assert TOKENS[1].tolist() == [1, *LABELS[1, :3], 0]
    assert TOKENS[2].tolist() == [1, 0, 0, 0, 0]
    other = head(special_tokens=(7, 8, 9)).decoder_tokens([[3, 9, -1]])
    assert np.array(other).tolist() == [[8, 3, 9]]


def test_loss_and_metrics_are_means_over_the_tokens(model):
    """Neither padding nor the example without a translation counts."""
    logits = model.predict(INPUTS, verbose=0)["german"].astype("float64")
    assert logits.shape == (ROWS, LENGTH, SIZE)
    there = LABELS >= 0
    log_p = log_softmax(logits)[there]
    loss = -np.take_along_axis(log_p, LABELS[there][:, None], 1).mean()
    model.compile("sgd")
    y = {"german": LABELS, "kind": np.zeros(ROWS, int)}
    logs = model.evaluate(INPUTS, y, verbose=0, return_dict=True)
    assert logs["german_loss"] == pytest.approx(loss, rel=1e-4)
    assert logs["german_perplexity"] == pytest.approx(np.exp(loss), rel=1e-3)
    right = log_p.argmax(axis=1) == LABELS[there]
    assert logs["german_accuracy"] == pytest.approx(right.mean())


def test_padding_changes_no_logit(model):
    wanted = model.predict(INPUTS, verbose=0)["german"]
    longer = {
        "source": np.pad(SOURCE, ((0, 0), (0, 3))),
        "german_tokens": TOKENS[:, :4],
    }
    found = model.predict(longer, verbose=0)["german"]
    np.testing.assert_allclose(found, wanted[:, :4], atol=1e-5)


def test_padding_by_an_input_of_the_model():
    """The same as by Keras' mask, in training and where it serves."""
    source = keras.Input((None,), dtype="int32", name="source")
    encoded = keras.layers.Embedding(9, 8)(source)
    backbone = keras.Model(source, {"sequence": encoded}, name="encoder")
    task = mtl.Task("german", head(padding_mask="there"), missing=-1)
    model = randomise(mtl.build_model(backbone, [task]))
    inputs = {**INPUTS, "there": (SOURCE > 0).astype("int32")}
    wanted = model.predict(inputs, verbose=0)["german"]
    other = np.where(SOURCE > 0, SOURCE, 7)
    found = model.predict({**inputs, "source": other}, verbose=0)["german"]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert sorted(model.serving_model("german").input) == ["source", "there"]
    served = [
        model.predict_tasks({"source": x, "there": inputs["there"]}, verbose=0)
        for x in (SOURCE, other)
    ]
    assert (
        served[0]["german"]["tokens"].tolist() == served[1]["german"]["tokens"].tolist()
    )


def test_served_score_is_that_of_teacher_forcing(model):
    """The tokens that the search found, given to the decoder as labels."""
    served = model.predict_tasks({"source": SOURCE}, verbose=0)
    tokens, score = served["german"]["tokens"], served["german"]["score"]
    assert tokens.shape == (ROWS, LENGTH) and tokens.dtype == "int32"
    assert served["kind"]["probabilities"].shape == (ROWS, 3)
    inputs = {
        "source": SOURCE,
        "german_tokens": np.array(head().decoder_tokens(tokens)),
    }
    log_p = log_softmax(model.predict(inputs, verbose=0)["german"])
    log_p = np.take_along_axis(log_p, tokens[..., None], axis=-1)[..., 0]
    lengths = (tokens > 0).sum(axis=1)
    wanted = np.where(tokens > 0, log_p, 0).sum(axis=1) / ((5 + lengths) / 6) ** ALPHA
    np.testing.assert_allclose(score, wanted, atol=1e-4)


def test_what_only_training_has_is_left_out(model):
    wanted = model.predict_tasks({"source": SOURCE}, verbose=0)["german"]
    data = tf.data.Dataset.from_tensor_slices((INPUTS, {"german": LABELS})).batch(4)
    for x in (INPUTS, data):
        served = model.predict_tasks(x, verbose=0)["german"]
        assert served["tokens"].tolist() == wanted["tokens"].tolist()
    assert list(model.serving_model().input) == ["source"]
    assert list(model.serving_model("german").input) == ["source"]
    assert sorted(model.task_model("german").input) == ["german_tokens", "source"]
    assert list(model.task_model("kind").input) == ["source"]
    with error_with(ValueError, "name of a task", "name='french'"):
        model.serving_model("french")


def test_a_model_without_a_search_serves_itself():
    tasks = [mtl.Task("kind", mtl.heads.Classification(3))]
    model = mtl.build_model(mtl.backbones.MLP((4,), units=(3,)), tasks)
    assert model._serving() is model
    assert model.serving_model("kind").output is model.output["kind"]


def test_saved_and_served_in_another_process(model, tmp_path):
    wanted = model.predict_tasks({"source": SOURCE}, verbose=0)["german"]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    logits = [m(INPUTS)["german"] for m in (model, loaded)]
    np.testing.assert_allclose(*logits, atol=1e-6)
    longer = {"source": np.pad(SOURCE, ((0, 0), (0, 2)))}
    path = export_saved_model(loaded, tmp_path / "served", sample=longer)
    inputs, recorded = read_expected(path)["serving_default"]
    assert list(inputs) == ["source"]
    assert recorded["german_tokens"].tolist() == wanted["tokens"].tolist()
    np.testing.assert_allclose(recorded["german_score"], wanted["score"], atol=1e-5)
    report = verify_saved_model(path)
    assert report.ok
    places = {(check.signature, check.output) for check in report.checks}
    assert places >= {("german", "tokens"), ("serving_default", "german_score")}


def test_learns_to_turn_words_round():
    """Two words in the other order, and the end; found by greedy search."""
    keras.utils.set_random_seed(0)
    source = keras.Input((2,), dtype="int32", name="source")
    x = keras.layers.Embedding(9, 16)(source)
    x = x + keras.layers.Embedding(2, 16)(keras.ops.arange(2))
    options = {"hidden_units": (32,), "num_heads": 2}
    head = mtl.heads.SequenceToSequence(9, 3, **options)
    task = mtl.Task("turned", head, missing=-1)
    model = mtl.build_model(keras.Model(source, {"sequence": x}), [task])
    model.compile(keras.optimizers.Adam(0.01))
    words = np.random.default_rng(0).integers(3, 9, (640, 2))
    labels = np.pad(words[:, ::-1], ((0, 0), (0, 1)), constant_values=2)
    inputs = {"source": words, "turned_tokens": np.array(head.decoder_tokens(labels))}
    model.fit(inputs, {"turned": labels}, batch_size=32, epochs=6, verbose=0)
    found = model.predict_tasks({"source": words[:50]}, verbose=0)["turned"]["tokens"]
    assert (found == labels[:50]).all(axis=1).mean() > 0.95


def test_half_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = randomise(build(beam_width=2))
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.output["german"].dtype == "float32"
    assert model.get_layer("german_decoder").compute_dtype == "bfloat16"
    served = model.predict_tasks({"source": SOURCE}, verbose=0)["german"]
    assert served["score"].dtype == "float32" and np.isfinite(served["score"]).all()


# === Configuration and errors ===


def test_configuration_round_trip():
    options = {"special_tokens": (3, 2, 1), "beam_width": 4, "dropout": 0.1}
    options["padding_mask"] = "there"
    before = head(activation="gelu", **options)
    text = json.dumps(keras.saving.serialize_keras_object(before))
    after = keras.saving.deserialize_keras_object(json.loads(text))
    assert after.get_config() == before.get_config()


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"hidden_units": ()}, ["`hidden_units`", "at least one"]),
        ({"special_tokens": (0, 1)}, ["`special_tokens`", "(padding, start, end)"]),
        ({"special_tokens": (0, 1, 1)}, ["three different"]),
        ({"special_tokens": (0, 1, SIZE)}, [f"from 0 to {SIZE - 1}"]),
        ({"beam_width": 0}, ["`beam_width`", ">= 1"]),
        ({"length_penalty": -1.0}, ["`length_penalty`", ">= 0"]),
        ({"num_heads": 0}, ["`num_heads`"]),
    ],
)
def test_wrong_arguments(options, parts):
    with error_with(ValueError, *parts):
        head(**options)


def test_heads_divide_the_width():
    with error_with(ValueError, "`num_heads`", "num_heads=3", "(None, None, 8)"):
        build(num_heads=3)


def test_vocabulary_has_room_for_words():
    with error_with(ValueError, "`vocabulary_size`", ">= 4"):
        mtl.heads.SequenceToSequence(3, 5)


@pytest.mark.parametrize(
    ("labels", "part"),
    [
        (np.zeros((ROWS, LENGTH + 1), int), "('batch', 5)"),
        (np.zeros(ROWS, int), "('batch', 5)"),
        (np.zeros((ROWS, LENGTH, SIZE), int), "('batch', 5)"),
    ],
)
def test_labels_of_another_shape(labels, part):
    outputs = types.SimpleNamespace(shape=(None, LENGTH, SIZE))
    with error_with(ValueError, "labels of SequenceToSequence", part, "Received:"):
        head().check_labels(tf.constant(labels), outputs)
    head().check_labels(tf.constant(LABELS), outputs)


def test_tokens_out_of_the_vocabulary_are_wrong():
    found = head().labels_in_range(keras.ops.array([[0, SIZE - 1, SIZE, -1]]))
    assert np.array(found).tolist() == [[True, True, False, False]]


def test_too_many_tokens(model):
    longer = {**INPUTS, "german_tokens": np.ones((ROWS, LENGTH + 1), "int32")}
    with error_with(ValueError, "at most `max_length` tokens, 5", "(6, 6)"):
        model(longer)


def test_training_needs_the_tokens_of_the_decoder(model):
    with pytest.raises(Exception, match="german_tokens"):
        model.predict({"source": SOURCE}, verbose=0)
