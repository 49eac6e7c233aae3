"""Tags of tokens: chains against all their paths, words, labels that are missing."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_mtl as mtl
from keras_mtl.export.sample import random_inputs
from keras_mtl.layers.crf import best_path, log_partition
from tests.asserts import error_with
from tests.heads import chains

BIO = ["O", "B-x", "I-x", "B-y", "I-y"]
ROWS, TOKENS, WIDTH = 7, 5, 4
# Words first, all, none, first position none, last none, in the middle, one.
WORDS = np.array(
    [
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 1],
        [0, 0, 0, 0, 0],
        [0, 1, 1, 1, 1],
        [1, 1, 0, 1, 0],
        [1, 0, 0, 1, 1],
        [0, 0, 1, 0, 0],
    ],
    bool,
)


def random_scores(dtype="float64", num_tags=3, scale=3.0):
    """What a `CRF` layer returns, for the words above."""
    rng = np.random.default_rng(0)
    layer = mtl.layers.CRF(dtype=dtype)
    emissions = ops.array(scale * rng.normal(size=(ROWS, TOKENS, num_tags)), dtype)
    layer(emissions, words=WORDS)
    layer.transitions.assign(2 * rng.normal(size=(num_tags + 1, num_tags + 1)))
    return layer(emissions, words=WORDS)


def random_tags(num_tags=3):
    """A tag of every position, or -1."""
    rng = np.random.default_rng(1)
    tags = rng.integers(0, num_tags, (ROWS, TOKENS))
    return np.where(rng.random(tags.shape) < 0.3, -1, tags)


# === The chain ===


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_over_paths(dtype):
    scores = random_scores(dtype)
    tags = random_tags()
    every = [chains.log_sum(row) for row in np.array(scores, "float64")]
    some = [
        chains.log_sum(row, t)
        for row, t in zip(np.array(scores, "float64"), tags, strict=True)
    ]
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(log_partition(scores), every, atol=tolerance)
    np.testing.assert_allclose(log_partition(scores, tags), some, atol=tolerance)


@pytest.mark.parametrize("names", [None, BIO])
def test_best_path(names):
    scores = random_scores(num_tags=5)
    allowed = None
    if names is not None:
        head = mtl.heads.CRFTagging(5, label_names=names, bio=True)
        allowed = head._allowed
    paths, found = best_path(scores, allowed)
    expected = chains.all_best(np.asarray(scores), names)
    assert paths.numpy().tolist() == [path for path, *_ in expected]
    np.testing.assert_allclose(found, [score for _, score, _ in expected])
    assert paths.numpy()[~WORDS].tolist() == [-1] * int((~WORDS).sum())


def test_the_rule_of_bio_changes_paths_and_is_kept():
    """I-x first, I-y after B-x and I-x after O are the best without it."""
    wanted = [[2, 2, 0], [1, 4, 0], [3, 0, 2]]
    emissions = 5.0 * np.eye(5)[wanted]
    names = [[BIO[tag] for tag in row] for row in wanted]
    assert not any(chains.is_allowed(row) for row in names)
    layer = mtl.layers.CRF()
    scores = layer(ops.array(emissions, "float32"))
    free = mtl.heads.CRFTagging(5, label_names=BIO, word_mask=None)
    bound = mtl.heads.CRFTagging(5, label_names=BIO, word_mask=None, bio=True)
    found = free.serving(scores)["label"].numpy().astype(str).tolist()
    assert found == names
    found = bound.serving(scores)["label"].numpy().astype(str).tolist()
    assert all(chains.is_allowed(row) for row in found)


def test_gradient_is_that_of_finite_differences():
    scores, tags = random_scores(), random_tags()

    def likelihood(scores):
        return log_partition(scores, tags) - log_partition(scores)

    with tf.GradientTape() as tape:
        tape.watch(scores)
        value = likelihood(scores)
    slope = tape.gradient(value, scores)
    for _ in range(3):
        direction = 1e-5 * np.random.normal(size=scores.shape)
        direction[:, :TOKENS, -1] = 0.0  # flags
        change = likelihood(scores + direction) - likelihood(scores - direction)
        expected = 2 * np.sum(slope * direction, axis=(1, 2))
        np.testing.assert_allclose(change, expected, atol=1e-12)


@pytest.mark.parametrize("scale", [0.0, 1e-10, 1e4, 1e10])
def test_emissions_of_any_size(scale):
    scores, tags = random_scores("float32", scale=scale), random_tags()
    with tf.GradientTape() as tape:
        tape.watch(scores)
        loss = mtl.heads.CRFLoss().call(tags.astype("float32"), scores)
    slope = tape.gradient(loss, scores).numpy()
    assert np.all(np.isfinite(loss)) and np.all(np.isfinite(slope))
    assert np.abs(slope[:, :TOKENS]).max() <= 1.001
    assert (slope != 0).any()


def test_positions_that_are_no_words_count_for_nothing():
    """Neither do their emissions, nor how many there are."""
    scores = random_scores().numpy()
    other = scores.copy()
    other[:, :TOKENS, :-1][~WORDS] = 1e5
    np.testing.assert_array_equal(log_partition(other), log_partition(scores))
    moved = np.insert(scores, [0, 2, 2, TOKENS], other[:1, -1:] * 0, axis=1)
    np.testing.assert_allclose(log_partition(moved), log_partition(scores))


def test_a_graph_for_sequences_of_any_length():
    spec = tf.TensorSpec((None, None, 4), "float64")
    paths = tf.function(best_path, input_signature=[spec], autograph=False)
    scores = random_scores().numpy()
    shorter = np.delete(scores, TOKENS - 1, axis=1)
    for given in (scores, shorter, scores[:0]):
        for one, other in zip(paths(given), best_path(given), strict=True):
            np.testing.assert_array_equal(one, other)


# === In a model ===


def backbone(tokens=TOKENS):
    series = keras.Input((tokens, WIDTH), name="series")
    shared = keras.layers.Dense(6, activation="tanh", name="shared")(series)
    return keras.Model(series, {"sequence": shared}, name="net")


def tasks(**kwargs):
    """Two chains on one input, and a softmax."""
    bio = mtl.heads.CRFTagging(5, label_names=BIO, bio=True)
    return [
        mtl.Task("slots", bio, missing=-1, **kwargs),
        mtl.Task("kind", mtl.heads.CRFTagging(3), missing=-1, metrics=["accuracy"]),
        mtl.Task("pos", mtl.heads.TokenTagging(3), missing=-1),
    ]


def made(**kwargs):
    keras.utils.set_random_seed(1)
    model = mtl.build_model(backbone(**kwargs), tasks())
    rng = np.random.default_rng(2)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    return model


def data():
    """Labels of words; of some words only, and not of each sentence."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(ROWS, TOKENS, WIDTH)).astype(keras.config.floatx())
    x = {"series": x, "word_mask": WORDS}
    y = {
        "slots": np.where(WORDS, rng.integers(0, 5, WORDS.shape), -1),
        "kind": np.where(WORDS, random_tags(), -1),
        "pos": np.where(WORDS, random_tags(), -1),
    }
    y["slots"][3] = -1
    return x, y


def softmax(x):
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    return x / x.sum(axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def model():
    return made()


def test_two_chains_share_one_input(model):
    assert sorted(model.input) == ["series", "word_mask"]
    assert model.input["word_mask"].dtype == "bool"
    expected = {"slots": (None, 11, 6), "kind": (None, 9, 4), "pos": (None, 5, 3)}
    assert {name: output.shape for name, output in model.output.items()} == expected


def test_losses_and_metrics_leave_missing_labels_out(model):
    """A word without a label has any tag; a sentence without labels is not there."""
    x, y = data()
    model.compile("sgd", run_eagerly=True)
    raw = model.predict(x, verbose=0)
    logs = model.evaluate(x, y, batch_size=4, verbose=0, return_dict=True)
    for name in ("slots", "kind"):
        expected = chains.loss(y[name], raw[name].astype("float64"))
        assert logs[f"{name}_loss"] == pytest.approx(expected, rel=1e-4)
    there = y["pos"] >= 0
    p = softmax(raw["pos"])[there]
    picked = p[np.arange(len(p)), y["pos"][there]]
    assert logs["pos_loss"] == pytest.approx(-np.log(picked).mean(), rel=1e-4)
    right = (raw["pos"].argmax(axis=-1) == y["pos"])[there]
    assert logs["pos_accuracy"] == pytest.approx(right.mean())
    paths = np.array([path for path, *_ in chains.all_best(raw["kind"])])
    right = (paths == y["kind"])[y["kind"] >= 0]
    assert logs["kind_accuracy"] == pytest.approx(right.mean())


@pytest.fixture
def fresh():
    model = made()
    model.compile("sgd", run_eagerly=True)
    return model


def test_weights_of_sentences_weigh_their_likelihoods(fresh):
    x, y = data()
    raw = fresh.predict(x, verbose=0)["kind"].astype("float64")
    weights = np.linspace(0.0, 2.0, ROWS)
    logs = fresh.evaluate(
        x, y, sample_weight={"kind": weights}, verbose=0, return_dict=True
    )
    total = sum(
        w * (chains.log_sum(row) - chains.log_sum(row, tags))
        for w, row, tags in zip(weights, raw, y["kind"], strict=True)
    )
    assert logs["kind_loss"] == pytest.approx(total / (y["kind"] >= 0).sum(), rel=1e-4)


def test_served_tags(model):
    x, _ = data()
    raw = model.predict(x, verbose=0)
    served = model.predict_tasks(x, verbose=0)
    best = chains.all_best(raw["slots"].astype("float64"), BIO)
    names = np.array([*BIO, ""])
    expected = names[np.array([path for path, *_ in best])]
    assert served["slots"]["label"].tolist() == expected.tolist()
    probability = [p for *_, p in best]
    np.testing.assert_allclose(
        served["slots"]["probability"], probability, atol=1e-5, rtol=1e-3
    )
    assert served["kind"]["label"].dtype == "int32"
    assert (served["kind"]["label"] >= 0).tolist() == WORDS.tolist()
    assert set(served["pos"]) == {"label", "probabilities"}


def test_words_by_the_mask_of_keras():
    series = keras.Input((TOKENS, WIDTH))
    masked = keras.layers.Masking()(series)
    net = keras.Model(series, {"sequence": keras.layers.Dense(6)(masked)})
    head = mtl.heads.CRFTagging(3, word_mask=None)
    model = mtl.build_model(net, [mtl.Task("t", head)])
    x = data()[0]["series"] * WORDS[..., None]
    found = model.predict_tasks(x, verbose=0)["t"]["label"]
    assert (found >= 0).tolist() == WORDS.tolist()


def test_half_precision_stays_outside_of_the_chain():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = made()
    finally:
        keras.config.set_dtype_policy(policy)
    assert model.output["slots"].dtype == "float32"
    x, y = data()
    model.compile("sgd", run_eagerly=True)
    raw = model(x)["kind"].numpy().astype("float64")
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    assert logs["kind_loss"] == pytest.approx(chains.loss(y["kind"], raw), rel=1e-4)


@pytest.mark.parametrize("name", mtl.balancers.registry.names())
def test_every_balancer(name):
    """Finite, and every variable moves."""
    model = made()
    model.compile(
        keras.optimizers.SGD(0.1),
        balancer={"class_name": name, "config": {}},
        metrics={},
        run_eagerly=True,
    )
    before = [variable.numpy() for variable in model.trainable_variables]
    x, y = data()
    logs = model.train_on_batch(x, y, return_dict=True)
    assert np.isfinite(logs["loss"])
    for variable, old in zip(model.trainable_variables, before, strict=True):
        assert np.all(np.isfinite(variable)), variable.path
        assert np.any(variable.numpy() != old), variable.path


def trained(strategy):
    with strategy.scope():
        model = mtl.build_model(backbone(), [tasks()[0], tasks()[2]])
        for index, variable in enumerate(model.trainable_variables):
            values = np.random.default_rng(index).normal(size=variable.shape)
            variable.assign(values)
        model.compile(keras.optimizers.Adam(0.02))
    x, y = data()
    del y["kind"]
    weights = {"slots": np.linspace(0.5, 1.5, ROWS)}
    history = model.fit(
        x, y, sample_weight=weights, batch_size=4, epochs=2, shuffle=False, verbose=0
    )
    return model, history.history


def test_two_replicas_equal_one(float64, two_replicas):
    """Seven sentences of 0 to 5 words, in batches of 4 and 3."""
    one, logs = trained(tf.distribute.get_strategy())
    two, other = trained(two_replicas)
    for a, b in zip(one.variables, two.variables, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-11, err_msg=a.path)
    assert logs.keys() == other.keys() and "slots_entity_f1" in logs
    for key, values in logs.items():
        np.testing.assert_allclose(values, other[key], rtol=1e-9, err_msg=key)


def test_saved_and_loaded(model, tmp_path):
    x, _ = data()
    path = tmp_path / "model.keras"
    model.save(path)
    copy = keras.saving.load_model(path)
    for name, raw in model.predict(x, verbose=0).items():
        np.testing.assert_array_equal(copy.predict(x, verbose=0)[name], raw)
    assert copy.tasks[0].head.bio and copy.tasks[0].head.label_names == BIO


def test_exported_and_verified(tmp_path):
    """TensorFlow's C++ loader gives the tags of sentences of any length."""
    model = made(tokens=None)
    path = mtl.export.export_saved_model(model, tmp_path / "tags")
    assert mtl.export.verify_saved_model(path)
    x, _ = data()
    served = tf.saved_model.load(path).signatures["slots"](
        **{name: tf.constant(value) for name, value in x.items()}
    )
    live = model.predict_tasks(x, verbose=0)["slots"]
    labels = served["label"].numpy().astype(str)
    assert labels.tolist() == live["label"].tolist()


def test_random_inputs_have_one_number_of_tokens():
    specs = {
        "tokens": tf.TensorSpec((None, 5, 3), "float32"),
        "mask": tf.TensorSpec((None, None), "bool"),
        "other": tf.TensorSpec((None, None, None, 2), "float32"),
    }
    shapes = {name: x.shape for name, x in random_inputs(specs).items()}
    assert shapes == {"tokens": (4, 5, 3), "mask": (4, 5), "other": (4, 5, 3, 2)}


# === Errors ===


def test_tags_and_tokens_of_different_length(fresh):
    x, y = data()
    y["kind"] = y["kind"][:, :-1]
    parts = ["Task 'kind'", "CRFTagging", "('batch', 5)", "shape=(7, 4)"]
    with error_with(ValueError, *parts):
        fresh.fit(x, y, verbose=0)


def test_different_lengths_are_found_where_they_are_known_late():
    """Also a length of one is not taken for "the same tag for all"."""
    scores = random_scores("float32")
    call = tf.function(
        mtl.heads.CRFLoss().call,
        input_signature=[
            tf.TensorSpec((None, None), "float32"),
            tf.TensorSpec((None, None, 4), "float32"),
        ],
    )
    for tokens in (1, TOKENS - 1):
        with pytest.raises(tf.errors.InvalidArgumentError):
            call(tf.zeros((ROWS, tokens)), scores)


def test_a_missing_word_mask(model):
    x, _ = data()
    with pytest.raises(ValueError, match="word_mask"):
        model.predict({"series": x["series"]}, verbose=0)


def test_an_unknown_tag_leaves_the_task_out(fresh):
    x, y = data()
    y["kind"][0, 0] = 3
    logs = fresh.train_on_batch(x, y, return_dict=True)
    assert fresh.balancing_state["nonfinite"].tolist() == [0, 1, 0]
    assert np.isfinite(logs["loss"])


@pytest.mark.parametrize(
    ("shape", "dtype"), [((TOKENS,), "float32"), ((TOKENS, 1), "bool"), ((), "bool")]
)
def test_an_input_of_the_same_name_that_does_not_fit(shape, dtype):
    inputs = {
        "series": keras.Input((TOKENS, WIDTH), name="series"),
        "word_mask": keras.Input(shape, dtype=dtype, name="word_mask"),
    }
    net = keras.Model(inputs, {"sequence": keras.layers.Dense(3)(inputs["series"])})
    with error_with(ValueError, "Task 't'", "'word_mask'", "Received: shape="):
        mtl.build_model(net, [mtl.Task("t", mtl.heads.CRFTagging(3))])
