"""Texts to tokens in the graph, and tags of words to tags of word pieces."""

import keras_hub
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from keras_mtl.data.augmentation import tags_of_words
from keras_mtl.data.text import TextPreprocessor, encode_tags, word_mask
from tests import tiny_bert
from tests.asserts import error_with

LENGTH = 12
PAD, UNKNOWN, START, END = range(4)
IDS = {piece: index for index, piece in enumerate(tiny_bert.VOCABULARY)}


@pytest.fixture(scope="module")
def preprocess():
    return TextPreprocessor(tiny_bert.tokenizer(), LENGTH)


def pieces(word):
    """Longest match first, slowly."""
    found, start = [], 0
    while start < len(word):
        ends = range(len(word), start, -1)
        parts = (("##" if start else "") + word[start:end] for end in ends)
        part = next((part for part in parts if part in IDS), None)
        if part is None:
            return [UNKNOWN]
        found.append(IDS[part])
        start += len(part.removeprefix("##"))
    return found


def aligned(words, tags):
    """Tokens, tags, and first pieces of a text, slowly."""
    row = []
    for word, tag in zip(words, tags, strict=True):
        for index, piece in enumerate(pieces(word.lower())):
            row.append((piece, -1 if index else tag, not index))
    row = [(START, -1, False), *row[: LENGTH - 2], (END, -1, False)]
    row += [(PAD, -1, False)] * (LENGTH - len(row))
    return [list(column) for column in zip(*row, strict=True)]


def random_texts(rows=40):
    random = np.random.default_rng(0)
    stems = [*tiny_bert.PIECES[:-1], "zebra", "Playing", "UNWALKED", "xxxx", "cats"]
    words = [
        random.choice(stems, 1 + row % 9).tolist() + (["walkers"] if row % 3 else [])
        for row in range(rows)
    ]
    return words, [random.integers(0, 5, len(text)).tolist() for text in words]


def test_alignment_equals_a_slow_one(preprocess):
    words, tags = random_texts()
    with_mask = TextPreprocessor(tiny_bert.tokenizer(), LENGTH, word_mask=True)
    x, y = with_mask.tagged(words, tags)
    plain, word = preprocess.words(words)
    assert set(x) - set(plain) == {"word_mask"}
    first = x["word_mask"]
    assert first.dtype == tf.bool
    np.testing.assert_array_equal(first, word_mask(word))
    cut = 0
    for row in range(len(words)):
        tokens, labels, mask = aligned(words[row], tags[row])
        assert x["token_ids"][row].numpy().tolist() == tokens
        assert y[row].numpy().tolist() == labels
        assert first[row].numpy().tolist() == mask
        real = [int(token != PAD) for token in tokens]
        assert x["padding_mask"][row].numpy().tolist() == real
        cut += sum(mask) < len(words[row])
    assert 0 < cut < len(words)
    assert not x["segment_ids"].numpy().any()
    longest = max(map(len, words))
    back = tags_of_words(y, word, longest).numpy()
    for row, mask in enumerate(first.numpy()):
        left = mask.sum()
        assert back[row].tolist() == tags[row][:left] + [-1] * (longest - left)


def test_padded_words_and_a_pipeline_equal_lists(preprocess):
    words, tags = random_texts()
    expected, labels = preprocess.tagged(words, tags)
    padded = tf.ragged.constant(words).to_tensor("").numpy()
    padded_tags = tf.ragged.constant(tags).to_tensor(-1).numpy()
    data = tf.data.Dataset.from_tensor_slices((padded, padded_tags)).batch(16)
    found = list(data.map(preprocess.tagged))
    rows = np.concatenate([x["token_ids"] for x, _ in found])
    np.testing.assert_array_equal(rows, expected["token_ids"])
    np.testing.assert_array_equal(np.concatenate([y for _, y in found]), labels)


def test_a_word_without_a_tag_stays_without_one(preprocess):
    words = np.array([["the", "cat", "walked", ""], ["a", "", "", ""]])
    tags = np.array([[3, -1, -1, -1], [-1, -1, -1, -1]])
    _, y = preprocess.tagged(words, tags)
    assert y[:, :4].numpy().tolist() == [[-1, 3, -1, -1], [-1, -1, -1, -1]]


def test_a_word_of_which_nothing_is_left_takes_no_tag(preprocess):
    x, y = preprocess.tagged([["the", "\x01", "cat"], ["\x01"]], [[1, 2, 3], [4]])
    assert x["token_ids"][:, :4].numpy().tolist() == [
        [START, IDS["the"], IDS["cat"], END],
        [START, END, PAD, PAD],
    ]
    assert y[:, :4].numpy().tolist() == [[-1, 1, 3, -1], [-1, -1, -1, -1]]


def test_texts_equal_their_words(preprocess):
    words, _ = random_texts()
    x = preprocess([" ".join(text) for text in words])
    np.testing.assert_array_equal(
        x["token_ids"], preprocess.words(words)[0]["token_ids"]
    )
    one = preprocess(" ".join(words[7]))
    assert {name: rows[7].numpy().tolist() for name, rows in x.items()} == {
        name: row.numpy().tolist() for name, row in one.items()
    }


def test_pairs(preprocess):
    x = preprocess(["the cat", "red " * 20], ["a dog!", "dog " * 20])
    the, cat, a, dog = (IDS[piece] for piece in ("the", "cat", "a", "dog"))
    row = [START, the, cat, END, a, dog, IDS["!"], END]
    assert x["token_ids"][0].numpy().tolist() == row + [PAD] * 4
    assert x["segment_ids"][0].numpy().tolist() == [0] * 4 + [1] * 4 + [0] * 4
    # Both are cut: 9 tokens are left beside start and ends.
    row = [START, *[IDS["red"]] * 5, END, *[dog] * 4, END]
    assert x["token_ids"][1].numpy().tolist() == row


@pytest.fixture
def eager():
    """Tracing keras-hub's byte-level tokenizers takes half a minute."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def test_byte_level_words_begin_with_a_space(eager):
    vocabulary = ["<s>", "<pad>", "</s>", "<mask>", "Ġa", "Ġ", "a", "b", "ab", "Ġab"]
    tokenizer = keras_hub.models.RobertaTokenizer(
        {token: index for index, token in enumerate(vocabulary)},
        ["Ġ a", "a b", "Ġa b"],
    )
    x, y = TextPreprocessor(tokenizer, 8).tagged([["ab", "aba"]], [[5, 6]])
    assert set(x) == {"token_ids", "padding_mask"}
    assert x["token_ids"].numpy().tolist() == [[0, 9, 9, 6, 2, 1, 1, 1]]
    assert y.numpy().tolist() == [[-1, 5, 6, -1, -1, -1, -1, -1]]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "play"),
        ({"strip_accents": None}, "play"),
        ({"strip_accents": False}, "[UNK]"),
        ({"do_lower_case": False}, "[UNK]"),
    ],
)
def test_lower_case_berts_take_accents_off(tmp_path, settings, expected):
    """As `BertTokenizer` of Hugging Face, unless the file says no."""
    tiny_bert.write_folder(tmp_path, **settings)
    x = TextPreprocessor(tmp_path, 4)("pláy")
    assert x["token_ids"].numpy().tolist() == [START, IDS[expected], END, PAD]


def test_inputs_are_those_of_the_backbone():
    network = keras_hub.models.DistilBertBackbone(**tiny_bert.CONFIG)
    preprocess = TextPreprocessor(tiny_bert.tokenizer(), 9, backbone=network)
    assert preprocess.inputs == ("token_ids", "padding_mask")
    bert = mtl.backbones.Text(network=tiny_bert.network())
    preprocess = TextPreprocessor(tiny_bert.tokenizer(), 9, backbone=bert)
    assert set(preprocess(["the cat"])) == set(bert.input)


@pytest.mark.parametrize(
    ("length", "changes", "parts"),
    [
        (25, {}, ("at most 24", "sequence_length=25")),
        (9, {"vocabulary_size": 22}, ("one vocabulary", "23 tokens", "22 embed")),
        (9, {"vocabulary_size": 600}, ("one vocabulary", "23 tokens", "600 embed")),
    ],
)
def test_tokenizer_and_backbone_that_do_not_fit(length, changes, parts):
    network = tiny_bert.network(**changes)
    with error_with(ValueError, *parts):
        TextPreprocessor(tiny_bert.tokenizer(), length, backbone=network)


def test_embeddings_may_be_padded():
    network = tiny_bert.network(vocabulary_size=128)
    TextPreprocessor(tiny_bert.tokenizer(), 9, backbone=network)


def test_unequal_numbers_of_words_and_tags(preprocess):
    words, tags = [["the"], ["red", "cat"]], [[1], [1, 2, 3]]
    with error_with(ValueError, "2 words and 3 tags", "row 1"):
        preprocess.tagged(words, tags)
    with error_with(ValueError, "2 texts and tags for 1"):
        preprocess.tagged(words, tags[:1])
    ragged = tf.ragged.constant(words), tf.ragged.constant(tags)
    data = tf.data.Dataset.from_tensor_slices(ragged).batch(2).map(preprocess.tagged)
    parts = ("as many tags as words", "[1] [2] [3]")  # row 1: two words, three tags
    with error_with(tf.errors.InvalidArgumentError, *parts):
        next(iter(data))


def test_other_tokenizers_and_lengths():
    with error_with(ValueError, "`sequence_length`", ">= 3", "2"):
        TextPreprocessor(tiny_bert.tokenizer(), 2)
    other = keras_hub.tokenizers.ByteTokenizer()
    with error_with(ValueError, "BertTokenizer", "ByteTokenizer"):
        TextPreprocessor(other, 8)


def test_names_of_tags():
    classes = ["O", "B-city", "I-city"]
    words = [["to", "New", "York"], ["no"]]
    tags = [["O", "B-city", "I-city"], ["O"]]
    assert encode_tags(tags, classes, words=words).to_list() == [[0, 1, 2], [0]]
    wrong = [["O", "B-city", "I-cty"], ["O"]]
    with error_with(ValueError, "row 0, word 2", "'I-cty'", "'I-city'", "missing"):
        encode_tags(wrong, classes)
    found = encode_tags(wrong, classes, unknown="missing")
    assert found.to_list() == [[0, 1, -1], [0]]
    places = ["a.conll, lines 1 to 3", "a.conll, line 5"]
    with error_with(ValueError, "a.conll, line 5", "1 words and 2 tags"):
        encode_tags([tags[0], ["O", "O"]], classes, words=words, places=places)
    with error_with(ValueError, "1 texts and tags for 2"):
        encode_tags(tags, classes, words=words[:1])
