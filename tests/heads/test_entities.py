"""Metrics of entities are those of `seqeval`."""

import functools

import keras
import numpy as np
import pytest
from keras import ops
from seqeval import metrics as seqeval

import keras_mtl as mtl
from keras_mtl.heads import bio
from tests.asserts import error_with

NAMES = ["O", "B-a", "I-a", "B-b", "I-b", "B-c"]
METRICS = {
    mtl.heads.EntityF1: seqeval.f1_score,
    mtl.heads.EntityPrecision: seqeval.precision_score,
    mtl.heads.EntityRecall: seqeval.recall_score,
}


def sequences(seed, rows=30, tokens=9):
    """True and predicted tags, half of them alike, and where there are words.

    They are drawn one by one, so that `I-x` stands anywhere; some sentences are empty.
    """
    rng = np.random.default_rng(seed)
    draw = functools.partial(rng.choice, 6, p=[0.2, 0.2, 0.3, 0.1, 0.15, 0.05])
    true, other = draw(size=(rows, tokens)), draw(size=(rows, tokens))
    found = np.where(rng.random((rows, 1)) < 0.5, true, other)
    found = np.where(rng.random((rows, tokens)) < 0.9, found, other)
    words = rng.random((rows, tokens)) < rng.choice([0.0, 0.7, 1.0], size=(rows, 1))
    return true, found, words


def named(tags, words):
    """The names of the words' tags, sentence by sentence."""
    pairs = zip(tags, words, strict=True)
    return [[NAMES[tag] for tag in row[there]] for row, there in pairs]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("average", ["micro", "macro", "weighted"])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.filterwarnings("ignore:.* ill-defined")
def test_as_seqeval(metric, average, seed):
    """In batches of several sizes, words of no label in the middle."""
    true, found, words = sequences(seed)
    tracked = metric(NAMES, average=average)
    for rows in (slice(0, 4), slice(4, 5), slice(5, None)):
        tracked.update_state(
            true[rows], np.eye(6)[found[rows]], sample_weight=words[rows]
        )
    expected = METRICS[metric](
        named(true, words), named(found, words), average=average, zero_division=0
    )
    assert float(tracked.result()) == pytest.approx(expected, rel=1e-6)
    assert 0 < expected < 1


def test_a_tag_that_is_missing_is_no_word():
    true, found, words = sequences(0)
    one, other = mtl.heads.EntityF1(NAMES), mtl.heads.EntityF1(NAMES)
    one.update_state(np.where(words, true, -1), np.eye(6)[found])
    other.update_state(true, np.eye(6)[found], sample_weight=words)
    np.testing.assert_array_equal(one.counts, other.counts)


def test_weights_of_sentences_weigh_their_entities():
    true, found, _ = sequences(0)
    weights = np.arange(len(true)) % 3
    one, other = mtl.heads.EntityF1(NAMES), mtl.heads.EntityF1(NAMES)
    one.update_state(true, np.eye(6)[found], sample_weight=weights)
    rows = np.repeat(np.arange(len(true)), weights)
    other.update_state(true[rows], np.eye(6)[found[rows]])
    np.testing.assert_array_equal(one.counts, other.counts)


@pytest.mark.parametrize("metric", METRICS)
def test_nothing_to_find_and_nothing_found(metric):
    tracked = metric(NAMES)
    assert float(tracked.result()) == 0.0
    outside = ops.one_hot([[0, 0]], 6)
    tracked.update_state([[0, 0]], outside)
    assert float(tracked.result()) == 0.0
    tracked.update_state([[1, 2]], outside)
    assert float(tracked.result()) == 0.0
    tracked.update_state([[0, 1]], ops.one_hot([[0, 1]], 6))
    assert float(tracked.result()) > 0.0
    tracked.reset_state()
    assert float(tracked.result()) == 0.0


@pytest.mark.parametrize("metric", METRICS)
def test_configuration(metric):
    tracked = metric(NAMES, average="macro", name="mine")
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(tracked)
    )
    assert type(copy) is metric
    assert copy.get_config() == tracked.get_config()


# === Tags ===


@pytest.mark.parametrize(
    ("names", "right"),
    [
        (["O", "B-a", "I-a"], True),
        (["B-a"], True),
        (["O", "I-a-b", "B-a-b"], True),
        (["O"], False),
        (["O", "I-a"], False),
        (["O", "B-a", "E-a"], False),
        (["O", "B_a"], False),
        (["O", "B-"], False),
        (["NOUN", "VERB"], False),
        (None, False),
    ],
)
def test_what_is_bio(names, right):
    assert bio.is_bio(names) == right
    head = mtl.heads.TokenTagging(len(names or "ab") + 1)
    if names is not None and len(names) > 1:
        head = mtl.heads.TokenTagging(len(names), label_names=names)
        found = {metric.name for metric in head.default_metrics()}
        assert ("entity_f1" in found) == right
    if not right:
        with error_with(ValueError, "`label_names`", "BIO", "Received: "):
            mtl.heads.EntityF1(names)
    assert head.default_metrics()[0].name == "accuracy"


def test_unknown_average():
    with error_with(ValueError, "`average`", "macro", "average='mean'"):
        mtl.heads.EntityF1(NAMES, average="mean")
