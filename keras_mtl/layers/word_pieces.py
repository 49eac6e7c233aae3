"""BERT's tokenizer in TensorFlow's own operations."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_mtl.utils.checks import check_count
from keras_mtl.utils.types import Tensor

_SPACE = r"\s|\p{Cc}|\p{Cf}"
# Of ASCII all that is no letter or number, as in BERT.
_MARKS = r"[!-/]|[:-@]|[\[-`]|[{-~]|\p{P}"
_CJK = (
    r"[\x{4E00}-\x{9FFF}]|[\x{3400}-\x{4DBF}]|[\x{20000}-\x{2A6DF}]|"
    r"[\x{2A700}-\x{2B73F}]|[\x{2B740}-\x{2B81F}]|[\x{2B820}-\x{2CEAF}]|"
    r"[\x{F900}-\x{FAFF}]|[\x{2F800}-\x{2FA1F}]"
)
_LONGEST_WORD = 100  # In bytes; longer ones are unknown.
_SAME = "\x00"  # What a table of characters gives for those that stay.


@keras.saving.register_keras_serializable(package="keras_mtl")
class WordPieces(keras.layers.Layer):
    """Turns texts into word pieces, as keras-hub's BERT tokenizer does.

    keras-hub's tokenizers are operations of TensorFlow Text, which a server of plain
    TensorFlow does not know. This layer has TensorFlow's own only, and is slower.
    Characters are normalised one by one: with `lowercase` and without `strip_accents`
    a letter with a combining accent stays two characters, where keras-hub makes it one.

    Args:
        vocabulary: The pieces in the order of their ids.
        sequence_length: Number of pieces of every row, start and end included.
        lowercase: Whether texts are folded to lower case (and compatible characters
            to one, NFKC).
        strip_accents: Whether accents are taken off.
        split_on_cjk: Whether each Chinese character is a word.
        start, end, padding, unknown: The pieces with a meaning of their own.
        suffix: What pieces inside of a word begin with.

    Call arguments:
        texts: Strings of shape `(batch,)` or `(batch, 1)`.

    Returns:
        Ids, int32 of shape `(batch, sequence_length)`.

    Raises:
        ValueError: If a piece with a meaning of its own is not in the vocabulary.

    Example:
    >>> vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "play", "##ing"]
    >>> pieces = WordPieces(vocabulary, 6, lowercase=True)
    >>> pieces(tf.constant(["Playing", "play, play"])).numpy().tolist()
    [[2, 4, 5, 3, 0, 0], [2, 4, 1, 4, 3, 0]]

    Reference:
        - [Wu et al., 2016](https://arxiv.org/abs/1609.08144), section 4.1.
        - [Song et al., 2021](https://arxiv.org/abs/2012.15524), section 2, the
          longest match first.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        sequence_length: int,
        *,
        lowercase: bool = False,
        strip_accents: bool = False,
        split_on_cjk: bool = True,
        start: str = "[CLS]",
        end: str = "[SEP]",
        padding: str = "[PAD]",
        unknown: str = "[UNK]",
        suffix: str = "##",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._length = check_count("sequence_length", sequence_length, 3)
        self._arguments = {
            "vocabulary": list(vocabulary),
            "sequence_length": sequence_length,
            "lowercase": lowercase,
            "strip_accents": strip_accents,
            "split_on_cjk": split_on_cjk,
            "start": start,
            "end": end,
            "padding": padding,
            "unknown": unknown,
            "suffix": suffix,
        }
        ids = {piece: index for index, piece in enumerate(vocabulary)}
        lacking = [p for p in (start, end, padding, unknown) if p not in ids]
        if lacking:
            raise ValueError(
                "Expected `vocabulary` to have the pieces for start, end, padding and "
                f"unknown words. Received: a vocabulary of {len(ids)} without {lacking}"
            )
        self._start, self._end = ids[start], ids[end]
        self._padding, self._unknown = ids[padding], ids[unknown]
        self._longest = max(len(piece.removeprefix(suffix)) for piece in ids)
        self._ids = _table(list(ids), list(ids.values()), -1)
        self._plain = _plain_characters() if strip_accents else None
        self._folded = _folded_characters() if lowercase else None
        # Many operations, traced once for all signatures of an export.
        self._rows = tf.function(
            self._rows_of, input_signature=[tf.TensorSpec([None], tf.string)]
        )

    def call(self, texts: Tensor) -> Tensor:
        return self._rows(tf.reshape(texts, [-1]))

    def _rows_of(self, texts):
        words = self._words(texts)
        pieces = words.with_values(self._pieces(words.values)).merge_dims(1, 2)
        length = self._length
        pieces = pieces[:, : length - 2]
        ends = tf.ones([pieces.nrows(), 1], tf.int32)
        row = tf.concat([self._start * ends, pieces, self._end * ends], axis=1)
        row = row.to_tensor(self._padding, shape=[None, length])
        return tf.ensure_shape(row, [None, length])

    def _words(self, texts):
        """Ragged tensor of the words and marks of each text."""
        keep = _MARKS
        if self._arguments["split_on_cjk"]:
            texts = tf.strings.regex_replace(texts, _CJK, r" \0 ")
            keep = f"{_MARKS}|{_CJK}"
        if self._plain is not None:
            texts = _replaced(texts, self._plain)
        texts = tf.strings.regex_replace(texts, _SPACE, " ")
        words = tf.strings.split(tf.strings.regex_replace(texts, keep, r" \0 "))
        if self._folded is None:
            return words
        return words.with_values(_replaced(words.values, self._folded))

    def _pieces(self, words):
        """Ragged tensor of the ids of each word, longest match first."""
        length = tf.strings.length(words, unit="UTF8_CHAR")
        length = tf.where(tf.strings.length(words) > _LONGEST_WORD, 0, length)
        sizes = tf.range(1, self._longest + 1)
        wide = sizes + tf.zeros_like(length)[:, None]
        columns = tf.repeat(words[:, None], self._longest, axis=1)
        suffix = self._arguments["suffix"]

        def step(index, begin, found):
            running = begin < length
            places = begin[:, None] + tf.zeros_like(wide)
            parts = tf.strings.substr(columns, places, wide, unit="UTF8_CHAR")
            before = tf.where(places > 0, suffix, "")
            ids = self._ids.lookup(tf.strings.join([before, parts]))
            fits = tf.logical_and(ids >= 0, sizes <= (length - begin)[:, None])
            best = tf.reduce_max(tf.where(fits, sizes, 0), axis=1)
            id_ = tf.gather(ids, tf.maximum(best - 1, 0), axis=1, batch_dims=1)
            # -1: the word was over before; -2: no piece fits, the word is unknown.
            id_ = tf.where(running, tf.where(best > 0, id_, -2), -1)
            begin = tf.where(best > 0, tf.minimum(begin + best, length), length)
            return index + 1, begin, found.write(index, id_)

        found = tf.TensorArray(
            tf.int32, size=0, dynamic_size=True, element_shape=[None]
        )
        # A first step in any case, so that there is something to stack.
        first = step(0, tf.zeros_like(length), found)
        _, _, found = tf.while_loop(
            lambda index, begin, found: tf.reduce_any(begin < length), step, first
        )
        rows = tf.transpose(found.stack())
        too_long = tf.strings.length(words) > _LONGEST_WORD
        unknown = tf.logical_or(tf.reduce_any(rows == -2, axis=1), too_long)
        first_only = tf.one_hot(0, tf.shape(rows)[1], on_value=self._unknown,
                                off_value=-1, dtype=tf.int32)  # fmt: skip
        rows = tf.where(unknown[:, None], first_only, rows)
        return tf.ragged.boolean_mask(rows, rows >= 0)

    def compute_output_spec(self, texts: Any) -> Any:
        shape = (texts.shape[0], self._length)
        return keras.KerasTensor(shape, dtype="int32")

    def get_config(self):
        return {**super().get_config(), **self._arguments}


def _table(keys, values, default):
    initial = tf.lookup.KeyValueTensorInitializer(
        keys, tf.constant(values, tf.int32 if default == -1 else tf.string)
    )
    return tf.lookup.StaticHashTable(initial, default)


def _replaced(texts, table):
    """The texts with each character replaced as the table says."""
    characters = tf.strings.unicode_split(texts, "UTF-8")
    new = table.lookup(characters.values)
    new = tf.where(new == _SAME, characters.values, new)
    return tf.strings.reduce_join(characters.with_values(new), axis=-1)


def _plain_characters():
    """Table of the characters with accents."""
    import tensorflow_text

    def plain(characters):
        split = tensorflow_text.normalize_utf8(characters, "NFD")
        bare = tf.strings.regex_replace(split, r"\p{Mn}", "")
        return tensorflow_text.normalize_utf8(bare, "NFC")

    return _character_table(plain)


def _folded_characters():
    """Table of the characters that folding changes."""
    import tensorflow_text

    return _character_table(tensorflow_text.case_fold_utf8)


def _character_table(function):
    # The two first planes and the tags: no other character changes.
    codes = [*range(1, 0xD800), *range(0xE000, 0x20000), *range(0x2F800, 0x2FA20)]
    characters = tf.constant([chr(code) for code in codes])
    new = function(characters)
    changed = new != characters
    keys, values = tf.boolean_mask(characters, changed), tf.boolean_mask(new, changed)
    return _table(keys, values, _SAME)
