"""Word pieces in TensorFlow's own operations equal those of TensorFlow Text."""

import random

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl.layers import WordPieces
from tests import tiny_bert
from tests.asserts import error_with

LENGTH = 24
PIECES = """
ß ss e é i i̇ ko ##ln ##öln koln köln 中 文 ##文 fi ﬁ 1 ##2 ½ ʼ ' ‘ λ Λ
한국 ##어 कि ก்கொ 😀 ##😀 Play ##e ##é ##i ; $ # ##d
"""
VOCABULARY = tiny_bert.VOCABULARY + PIECES.split()
WORDS = """
Playing played unplayed X XX Köln köln KO̎LN naïve Straße ẞ É e\u0301 İ ﬁ ½ ß
中文 文 한국어 किताब கொ 😀 play😀 Λλ 12 Ａｂｃ a,b!! U.S. don't $# [CLS] ##s
"""
OTHERS = ["\t", "\n", "\u00a0", "\u3000", "\u200b", "\u00ad", "\x01", "", "\ufeff"]
PARTS = [*WORDS.split(), *OTHERS, "x" * 120]
COMBINED = ("e\u0301", "KO̎LN")
FLAGS = [
    {"lowercase": True, "strip_accents": True},
    {"lowercase": True, "split_on_cjk": False},
    {},
]


def texts(count=200, without=()):
    draws = random.Random(0)
    parts = [part for part in PARTS if part not in without]
    return [
        "".join(draws.choice(parts) + draws.choice([" ", ""]) for _ in range(row % 13))
        for row in range(count)
    ]


@pytest.mark.parametrize("flags", FLAGS)
def test_pieces_equal_those_of_keras_hub(flags):
    tokenizer = keras_hub.models.BertTokenizer(VOCABULARY, **flags)
    # Folded, a letter and its accent become one character there, and not here.
    is_other = flags.get("lowercase") and not flags.get("strip_accents")
    rows = tf.constant(texts(without=COMBINED if is_other else ()))
    pack = keras_hub.layers.MultiSegmentPacker(LENGTH, 2, 3, pad_value=0)
    expected = tf.function(lambda rows: pack((tokenizer(rows),))[0])(rows)
    found = tf.function(WordPieces(VOCABULARY, LENGTH, **flags))(rows)
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(found)) > len(VOCABULARY) / 3


def test_saved_in_a_model(tmp_path):
    strings = keras.Input((), dtype="string")
    ids = WordPieces(VOCABULARY, LENGTH, lowercase=True)(strings)
    assert ids.shape == (None, LENGTH) and ids.dtype == "int32"
    model = keras.Model(strings, ids)
    model.save(tmp_path / "pieces.keras")
    loaded = keras.saving.load_model(tmp_path / "pieces.keras")
    rows = tf.constant(texts(20))
    np.testing.assert_array_equal(loaded(rows), model(rows))


def test_no_texts():
    assert WordPieces(VOCABULARY, 5)(tf.zeros([0], tf.string)).shape == (0, 5)
    found = WordPieces(VOCABULARY, 5)(tf.constant([[""]]))
    assert found.numpy().tolist() == [[2, 3, 0, 0, 0]]


def test_vocabulary_without_its_special_pieces():
    with error_with(ValueError, "vocabulary of 2", "'[CLS]'", "'[PAD]'"):
        WordPieces(["[UNK]", "a"], 5)
