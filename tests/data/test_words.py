"""Tags stay with their words, whatever happens to the words."""

import numpy as np
import pytest
import tensorflow as tf

from keras_mtl.data.augmentation import (
    pieces_of_words,
    tags_of_pieces,
    tags_of_words,
    word_dropout,
)

ROWS, WORDS = 50, 12
LENGTHS = np.arange(ROWS) % WORDS + 1


def texts():
    """Words 1, 2, … of each text; the tag of a word is ten times its number."""
    places = np.arange(1, WORDS + 1)
    words = np.where(places <= LENGTHS[:, None], places, 0)
    return words, np.where(words > 0, 10 * words, -1)


def dataset(ragged):
    words, tags = texts()
    if ragged:
        words, tags = (tf.RaggedTensor.from_tensor(a, LENGTHS) for a in (words, tags))
    labels = {"tag": tags, "rating": np.arange(ROWS)}
    return tf.data.Dataset.from_tensor_slices((words, labels)).batch(ROWS)


def dropped(ragged, rate=0.4, seed=1, **options):
    data = word_dropout(dataset(ragged), rate, tags=["tag"], seed=seed, **options)
    words, labels = next(iter(data))
    np.testing.assert_array_equal(labels["rating"], np.arange(ROWS))
    if ragged:
        assert isinstance(words, tf.RaggedTensor)
        shape = (ROWS, WORDS)
        words = words.to_tensor(0, shape=shape)
        return words.numpy(), labels["tag"].to_tensor(-1, shape=shape).numpy()
    return words.numpy(), labels["tag"].numpy()


@pytest.mark.parametrize("ragged", [False, True])
def test_tags_follow_their_words(ragged):
    words, tags = dropped(ragged)
    assert words.shape == (ROWS, WORDS)
    np.testing.assert_array_equal(tags, np.where(words > 0, 10 * words, -1))
    for row, length in zip(words, LENGTHS, strict=True):
        left = row[row > 0]
        assert 1 <= len(left) <= length
        assert (np.diff(left) > 0).all()
        np.testing.assert_array_equal(row[len(left) :], 0)
    share = (words > 0).sum() / LENGTHS.sum()
    assert 0.5 < share < 0.7


def test_ragged_and_padded_texts_lose_the_same_words():
    for one, other in zip(dropped(False), dropped(True), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("ragged", [False, True])
def test_replaced_words_keep_their_tags(ragged):
    words, tags = dropped(ragged, unknown=99)
    before, tags_before = texts()
    np.testing.assert_array_equal(tags, tags_before)
    np.testing.assert_array_equal(words[words != 99], before[words != 99])
    assert 0.3 < (words == 99).sum() / LENGTHS.sum() < 0.5
    assert (words[LENGTHS == 1] != 99).all()


def test_rate_zero_and_seeds():
    np.testing.assert_array_equal(dropped(False, rate=0.0)[0], texts()[0])
    one = dropped(False)[0]
    np.testing.assert_array_equal(dropped(False)[0], one)
    assert (dropped(False, seed=2)[0] != one).any()
    assert (dropped(False, epoch=1)[0] != one).any()


def test_pieces_there_and_back():
    pieces = tf.ragged.constant([[[5], [6, 7], [8, 9, 10]], [[11, 12]]])
    row, word = pieces_of_words(pieces)
    assert row.to_list() == [[5, 6, 7, 8, 9, 10], [11, 12]]
    assert word.to_list() == [[0, 1, 1, 2, 2, 2], [0, 0]]
    word = word.to_tensor(-1)
    tags = tf.constant([[3, 1, 2], [4, -1, -1]])
    first = tags_of_pieces(tags, word)
    np.testing.assert_array_equal(first, [[3, 1, -1, 2, -1, -1], [4, *[-1] * 5]])
    every = tags_of_pieces(tags, word, all_pieces=True)
    np.testing.assert_array_equal(every, [[3, 1, 1, 2, 2, 2], [4, 4, *[-1] * 4]])
    for of_pieces in (first, every):
        np.testing.assert_array_equal(tags_of_words(of_pieces, word, 3), tags)
    np.testing.assert_array_equal(tags_of_words(first, word, 2), [[3, 1], [4, -1]])


def test_bad_arguments():
    with pytest.raises(ValueError, match="`rate`"):
        word_dropout(dataset(False), 1.0)
    with pytest.raises(ValueError, match="`tags`"):
        word_dropout(dataset(False), tags=["tug"])
