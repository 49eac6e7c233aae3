"""Greedy and beam search against all sequences there are, and the decoder's steps."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl.layers import (
    MaskedSequence,
    SearchOptions,
    SequenceDecoder,
    SequenceSearch,
    beam_search,
    greedy_search,
)
from keras_mtl.layers.search import repeated

ROWS, LENGTH, SIZE = 4, 3, 6
PAD, START, END = 0, 1, 2
WORDS = range(3, SIZE)
# Sequences without an end of full length, and those that end before.
EVERY = [
    (*words, END, *[PAD] * (LENGTH - length - 1))
    for length in range(LENGTH)
    for words in itertools.product(WORDS, repeat=length)
] + list(itertools.product(WORDS, repeat=LENGTH))
TABLE = np.random.default_rng(0).normal(size=(ROWS, SIZE**LENGTH, SIZE)) * 2


def logits_of(row, tokens):
    """Logits after some tokens: random, another for every history."""
    state = 0
    for token in tokens:
        state = (state * SIZE + token) % SIZE**LENGTH
    return TABLE[row, state]


def step(tokens, place, cache):
    """The same as tensors; the cache is the history of every candidate."""
    state = (cache["state"] * SIZE + tokens) % SIZE**LENGTH
    table = tf.constant(TABLE, tf.float32)
    index = tf.stack([cache["row"][:, 0], state], axis=-1)
    return tf.gather_nd(table, index), {**cache, "state": state}


def searched(width, alpha, rows=range(ROWS), step=step, size=LENGTH):
    options = SearchOptions(size, START, END, PAD, alpha)
    row = tf.constant(list(rows), tf.int32)
    cache = {"row": row[:, None], "state": tf.zeros_like(row)}
    if width is None:
        found = greedy_search(step, cache, len(row), options)
    else:
        found = beam_search(step, repeated(cache, width), len(row), options, width)
    return [part.numpy() for part in found]


def score(row, sequence, alpha):
    """Logarithm of the product of probabilities, divided by the length's penalty."""
    total, history = 0.0, [START]
    for token in sequence:
        logits = logits_of(row, history)
        total += logits[token] - np.log(np.exp(logits).sum())
        history.append(token)
        if token == END:
            break
    return total / ((5 + len(history) - 1) / 6) ** alpha


@pytest.mark.parametrize("alpha", [0.0, 1.5])
def test_as_many_candidates_as_sequences_find_the_best(alpha):
    tokens, scores = searched(len(EVERY) + 5, alpha)
    for row in range(ROWS):
        all_scores = [score(row, sequence, alpha) for sequence in EVERY]
        assert scores[row] == pytest.approx(max(all_scores), abs=1e-5)
        assert tuple(tokens[row]) == EVERY[int(np.argmax(all_scores))]


def test_length_penalty_favours_long_sequences():
    lengths = [(searched(99, a)[0] != PAD).sum() for a in (0.0, 4.0)]
    assert lengths[0] < lengths[1]


@pytest.mark.parametrize("alpha", [0.0, 1.5])
def test_one_candidate_is_greedy_search(alpha):
    for one, greedy in zip(searched(1, alpha), searched(None, alpha), strict=True):
        np.testing.assert_allclose(one, greedy, atol=1e-6)
    for row, tokens in enumerate(searched(None, alpha)[0]):
        history = [START]
        for token in tokens:
            if history[-1] in (END, PAD) and len(history) > 1:
                assert token == PAD
            else:
                logits = logits_of(row, history)
                logits[[PAD, START]] = -np.inf
                assert token == logits.argmax()
            history.append(token)


@pytest.mark.parametrize("width", [None, 2, 4])
def test_scores_are_of_the_tokens_and_rows_do_not_meet(width):
    tokens, scores = searched(width, 0.7)
    for row in range(ROWS):
        assert scores[row] == pytest.approx(score(row, tokens[row], 0.7), abs=1e-5)
        alone = searched(width, 0.7, rows=[row])
        assert alone[0].tolist() == [tokens[row].tolist()]


@pytest.mark.parametrize("width", [None, 3])
def test_a_graph_for_any_number_of_rows(width):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])
    def found(row):
        options = SearchOptions(LENGTH, START, END, PAD, 0.7)
        cache = {"row": row[:, None], "state": tf.zeros_like(row)}
        if width is None:
            return greedy_search(step, cache, tf.size(row), options)
        cache = repeated(cache, width)
        return beam_search(step, cache, tf.size(row), options, width)

    for rows in ([0], [3, 1]):
        for graph, eager in zip(
            found(tf.constant(rows)), searched(width, 0.7, rows), strict=True
        ):
            np.testing.assert_allclose(graph, eager, atol=1e-6)


@pytest.mark.parametrize("width", [None, 2])
def test_ends_with_the_end_token(width):
    """Every sequence is `3, end`; no step is made after that."""
    places = []

    def short(tokens, place, cache):
        places.append(int(place))
        wanted = tf.where(tokens == 3, END, 3)
        return 20.0 * tf.one_hot(wanted, SIZE), cache

    tokens, scores = searched(width, 0.0, step=short, size=50)
    assert tokens[:, :2].tolist() == [[3, END]] * ROWS
    assert (tokens[:, 2:] == PAD).all()
    np.testing.assert_allclose(scores, 0.0, atol=1e-4)
    # Of two candidates one is worse and ends later.
    assert places == [0, 1] if width is None else len(places) < 6


def test_what_never_ends_is_cut():
    def endless(tokens, place, cache):
        return 20.0 * tf.one_hot(tf.fill(tf.shape(tokens), 4), SIZE), cache

    tokens, _ = searched(2, 0.0, step=endless, size=7)
    assert (tokens == 4).all()


# === The decoder ===


@pytest.fixture(scope="module")
def decoder():
    keras.utils.set_random_seed(0)
    layer = SequenceDecoder(SIZE, LENGTH + 1, units=(16, 8), num_heads=2)
    layer.build((None, None, 8), (None, None))
    rng = np.random.default_rng(0)
    for variable in layer.trainable_variables:
        variable.assign(0.7 * rng.normal(size=variable.shape))
    return layer


FEATURE = np.random.default_rng(1).normal(size=(ROWS, 5, 8)).astype("float32")
MASK = np.arange(5) < np.array([[5], [3], [1], [4]])


def test_steps_equal_all_places_at_once(decoder):
    tokens = np.random.default_rng(2).integers(0, SIZE, (ROWS, LENGTH + 1))
    wanted = decoder(FEATURE, tokens, feature_mask=MASK)
    kept, cache = decoder.memory(tf.constant(FEATURE), tf.constant(MASK))
    for place in range(LENGTH + 1):
        logits, cache = decoder.step(tf.constant(tokens[:, place]), place, kept, cache)
        np.testing.assert_allclose(logits, wanted[:, place], atol=1e-5)


def test_neither_padding_nor_later_tokens_change_a_logit(decoder):
    tokens = np.random.default_rng(2).integers(0, SIZE, (ROWS, LENGTH + 1))
    wanted = decoder(FEATURE, tokens, feature_mask=MASK)
    other = np.where(MASK[..., None], FEATURE, 99.0)
    found = decoder(other, tokens, feature_mask=MASK)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert np.abs(decoder(FEATURE, tokens) - wanted)[1:].max() > 1e-3
    other = np.where(np.arange(LENGTH + 1) < 2, tokens, PAD)
    found = decoder(FEATURE, other, feature_mask=MASK)
    np.testing.assert_allclose(found[:, :2], wanted[:, :2], atol=1e-5)
    assert np.abs(found - wanted)[:, 2:].max() > 1e-3


@pytest.mark.parametrize("width", [1, 500])
def test_search_with_the_decoder(decoder, width):
    """Against the logits of all sequences at once."""
    options = SearchOptions(LENGTH, START, END, PAD, 0.5)
    search = SequenceSearch(decoder, options, width)
    found = search(tf.constant(FEATURE), mask=tf.constant(MASK))
    every = np.array(EVERY)
    inputs = np.pad(every[:, :-1], ((0, 0), (1, 0)), constant_values=START)
    for row in range(ROWS):
        feature, mask = (
            np.repeat(a[row : row + 1], len(every), 0) for a in (FEATURE, MASK)
        )
        logits = decoder(feature, inputs, feature_mask=mask)
        log_p = tf.nn.log_softmax(logits).numpy()
        log_p = np.take_along_axis(log_p, every[..., None], -1)[..., 0]
        lengths = (every != PAD).sum(axis=1)
        scores = np.where(every != PAD, log_p, 0).sum(axis=1)
        scores /= ((5 + lengths) / 6) ** 0.5
        place = EVERY.index(tuple(found["tokens"][row].numpy()))
        assert float(found["score"][row]) == pytest.approx(scores[place], abs=1e-4)
        if width == 500:
            assert place == scores.argmax()


def test_a_masked_sequence_has_keras_mask():
    sequence = tf.ones((2, 3, 1)) * tf.constant([1.0, 2.0, 6.0])[None, :, None]
    masked = MaskedSequence()([sequence, np.array([[1, 1, 0], [1, 1, 1]])])
    np.testing.assert_array_equal(masked, sequence)
    mean = keras.layers.GlobalAveragePooling1D()
    np.testing.assert_allclose(mean(masked)[:, 0], [1.5, 3.0])
    np.testing.assert_allclose(mean(sequence)[:, 0], [3.0, 3.0])
