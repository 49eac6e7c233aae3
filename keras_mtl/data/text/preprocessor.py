"""From strings to what a text backbone takes, in the graph, and to word labels."""

import json
import os
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from keras_mtl.data.augmentation import pieces_of_words, tags_of_pieces, word_mask
from keras_mtl.utils.checks import check_count
from keras_mtl.utils.types import Tensor

# Rows that a table of embeddings may have beyond the vocabulary, rounded up to this.
_ROUNDING = 512


class TextPreprocessor:
    """Turns texts, pairs of texts, or texts of tagged words into tokens.

    Runs in the graph, so in a `tf.data` pipeline too. All rows are padded to
    `sequence_length`, and cut there; `bucketed` takes superfluous padding off again.

    Args:
        tokenizer: A tokenizer of keras-hub; or the name of a preset or the folder that
            one is read from, as `backbones.Text` takes it.
        sequence_length: Number of tokens of every row, start and end included.
        backbone: Optional backbone that gets the tokens, a `backbones.Text` or one of
            keras-hub: tells which inputs there are, and is checked to go with the
            tokenizer.
        word_mask: Whether texts of words get the boolean input `"word_mask"` as well:
            where the first tokens of words are, for heads that read tags there.

    Attributes:
        inputs: Names of the tensors that it makes of texts.

    Raises:
        ValueError: If `sequence_length` is more than the backbone allows, tokenizer
            and backbone are not of one vocabulary, or the tokenizer is of a kind that
            keras-hub has no classifier for.

    Example:
    >>> import keras_hub
    >>> vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "play", "##ing"]
    >>> tokenizer = keras_hub.models.BertTokenizer(vocabulary, lowercase=True)
    >>> preprocess = TextPreprocessor(tokenizer, 6)
    >>> x = preprocess(["Playing", "play play"])
    >>> x["token_ids"].numpy().tolist()
    [[2, 5, 6, 3, 0, 0], [2, 5, 5, 3, 0, 0]]
    >>> x, y = preprocess.tagged([["Playing", "play"]], [[7, 8]])
    >>> x["token_ids"].numpy().tolist(), y.numpy().tolist()
    ([[2, 5, 6, 5, 3, 0]], [[-1, 7, -1, 8, -1, -1]])
    """

    def __init__(
        self,
        tokenizer: Any,
        sequence_length: int = 128,
        *,
        backbone: Any = None,
        word_mask: bool = False,
    ):
        import keras_hub

        if isinstance(tokenizer, str | os.PathLike):
            tokenizer = _from_preset(os.fspath(tokenizer))
        check_count("sequence_length", sequence_length, minimum=3)
        if backbone is not None:
            _check_fits(tokenizer, sequence_length, backbone)
        kinds = {
            cls.tokenizer_cls: cls
            for cls in keras_hub.models.TextClassifierPreprocessor.__subclasses__()
        }
        if type(tokenizer) not in kinds:
            known = sorted(kind.__name__ for kind in kinds)
            raise ValueError(
                "Expected `tokenizer` to be of a kind that keras-hub has a text "
                f"classifier for, one of {known}. Received: tokenizer={tokenizer!r}"
            )
        self.tokenizer = tokenizer
        self.sequence_length = sequence_length
        self.word_mask = word_mask
        preprocessor = kinds[type(tokenizer)](tokenizer, sequence_length)
        given = list(preprocessor(tf.constant(["a"])))
        taken = given if backbone is None else list(backbone.input)
        self.inputs = tuple(name for name in given if name in taken)
        self._pack = preprocessor.packer
        # As functions of the graph: called eagerly keras-hub's are slow Python.
        texts = tf.TensorSpec([None], tf.string)
        self._single = tf.function(self._of_texts, input_signature=[texts])
        self._pair = tf.function(self._of_texts, input_signature=[texts, texts])
        words = tf.RaggedTensorSpec([None, None], tf.string)
        self._words = tf.function(self._of_words, input_signature=[words])

    def __call__(self, text: Any, second: Any = None) -> dict[str, Tensor]:
        """The tokens of texts.

        Args:
            text: Strings, shape `(batch,)` or `()`.
            second: Optional strings of the same shape, the second of each pair. Where
                both are too long, they are cut to the same length.

        Returns:
            Dict of integer tensors of shape `(batch, sequence_length)`, by the names
            in `inputs`.
        """
        parts = [tf.convert_to_tensor(text, tf.string)]
        if second is not None:
            parts.append(tf.convert_to_tensor(second, tf.string))
        single = parts[0].shape.rank == 0
        rows = [part[None] if single else part for part in parts]
        x = self._single(*rows) if second is None else self._pair(*rows)
        return {name: rows[0] for name, rows in x.items()} if single else x

    def words(self, words: Any) -> tuple[dict[str, Tensor], Tensor]:
        """The tokens of texts that are split into words already.

        Args:
            words: Strings, ragged (or a list of lists) of shape `(batch, words)`, or
                padded with `""` at the end.

        Returns:
            The dict of tokens, and the index of the word of each token, shape
            `(batch, sequence_length)`, -1 for tokens of no word: the argument of
            `tags_of_pieces`, `tags_of_words` and `word_mask`. Words of which the
            tokenizer leaves nothing, such as control characters, have no token.
        """
        return self._words(_ragged(words, ""))

    def tagged(
        self, words: Any, tags: Any, *, missing: int = -1
    ) -> tuple[dict[str, Tensor], Any]:
        """The tokens of texts of words, and their tags.

        Args:
            words: As in `words`.
            tags: A class of every word, of the words' shape; padded with `missing` if
                words are padded. Or a dict of such.
            missing: What stands for no tag, the value of `Task.missing`.

        Returns:
            The dict of tokens, and the tags of shape `(batch, sequence_length)`: of a
            word's first token that of the word, `missing` of all others.

        Raises:
            ValueError: If a text has not as many tags as words; it names the row. In a
                `tf.data` pipeline TensorFlow raises it, as `InvalidArgumentError`.
        """
        words = _ragged(words, "")
        x, word = self.words(words)

        def of_tokens(tags):
            rows = _tags_like(words, tags, missing).to_tensor(missing)
            # One more word, so that there is one.
            rows = tf.pad(rows, [[0, 0], [0, 1]], constant_values=missing)
            return tags_of_pieces(rows, word, missing=missing)

        if isinstance(tags, Mapping):
            return x, {name: of_tokens(values) for name, values in tags.items()}
        return x, of_tokens(tags)

    def _of_texts(self, *texts):
        return self._packed(tuple(self._ids(text) for text in texts))

    def _of_words(self, words):
        strings = words.values
        if getattr(self.tokenizer, "add_prefix_space", None) is False:
            # Byte-level tokenizers tell that a word begins by the space before it.
            strings = tf.strings.join([" ", strings])
        pieces, word = pieces_of_words(words.with_values(self._ids(strings)))
        start, end = len(self._pack.start_value), len(self._pack.end_value)
        room = self.sequence_length - start - end
        word = word.to_tensor(-1, shape=[None, room])
        word = tf.pad(word, [[0, 0], [start, end]], constant_values=-1)
        x = self._packed((pieces,))
        if self.word_mask:
            x["word_mask"] = word_mask(word)
        return x, word

    def _ids(self, strings):
        ids = self.tokenizer(strings)
        if isinstance(ids, tf.RaggedTensor):
            return ids
        # Where functions are made to run eagerly, keras-hub gives lists.
        return tf.ragged.constant(ids, tf.int32, ragged_rank=1)

    def _packed(self, parts):
        tokens, segments = map(tf.convert_to_tensor, self._pack(parts))
        mask = tokens != self.tokenizer.pad_token_id
        x = {"token_ids": tokens, "segment_ids": segments, "padding_mask": mask}
        shape = [None, self.sequence_length]
        return {
            name: tf.ensure_shape(tf.cast(x[name], tf.int32), shape)
            for name in self.inputs
        }


def _from_preset(preset):
    import keras_hub

    options = {}
    config = _settings(preset, "tokenizer_config.json")
    kind = _settings(preset, "config.json").get("model_type")
    if kind in ("bert", "distilbert") and config.get("do_lower_case"):
        # A BERT of lower case takes accents off too, unless its file says no; what
        # keras-hub makes of the file keeps them.
        options["strip_accents"] = config.get("strip_accents") is not False
    return keras_hub.models.Tokenizer.from_preset(preset, **options)


def _settings(preset, name):
    """What a file of a folder says; nothing where there is no such file."""
    path = os.path.join(preset, name)
    if not os.path.isfile(path):
        return {}
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def _check_fits(tokenizer, sequence_length, backbone):
    longest = getattr(backbone, "max_sequence_length", None)
    if longest is not None and sequence_length > longest:
        raise ValueError(
            f"Expected `sequence_length` to be at most {longest}, for which the "
            "backbone has positions. Longer texts are cut. "
            f"Received: sequence_length={sequence_length}"
        )
    rows, size = getattr(backbone, "vocabulary_size", None), tokenizer.vocabulary_size()
    padded = -(-size // _ROUNDING) * _ROUNDING
    if rows is not None and not size <= rows <= padded:
        raise ValueError(
            "Expected tokenizer and backbone to be of one vocabulary; read both from "
            f"the same preset. Received: {size} tokens of the tokenizer, "
            f"{rows} embeddings in the backbone"
        )


def _ragged(words, padding):
    """Texts of words as a ragged tensor, without padding at the end."""
    if isinstance(words, tf.RaggedTensor):
        return words
    if isinstance(words, list | tuple):
        return tf.ragged.constant(words, tf.string, ragged_rank=1)
    words = tf.convert_to_tensor(words, tf.string)
    places = tf.range(1, tf.shape(words)[1] + 1)
    there = tf.not_equal(words, padding)
    lengths = tf.reduce_max(tf.where(there, places, 0), axis=1)
    return tf.RaggedTensor.from_tensor(words, lengths)


def _tags_like(words, tags, missing):
    """The tags as a ragged tensor of the words' lengths."""
    lengths = words.row_lengths()
    if isinstance(tags, list | tuple):
        tags = tf.ragged.constant(tags, tf.int64, ragged_rank=1)
    if not isinstance(tags, tf.RaggedTensor):
        tags = tf.convert_to_tensor(tags)
        places = tf.range(1, tf.shape(tags)[1] + 1)
        there = tf.not_equal(tags, tf.cast(missing, tags.dtype))
        last = tf.reduce_max(tf.where(there, places, 0), axis=1)
        # A word at the end may have no tag: then its place is there all the same.
        counts = tf.maximum(tf.cast(last, tf.int64), lengths)
        counts = tf.minimum(counts, tf.shape(tags, tf.int64)[1])
        tags = tf.RaggedTensor.from_tensor(tags, counts)
    _check_lengths(lengths, tags.row_lengths())
    return words.with_values(tags.values)


def _check_lengths(words, tags):
    message = "Expected as many tags as words in every text"
    if tf.executing_eagerly():
        if len(words) != len(tags):
            raise ValueError(
                "Expected tags for every text. Received: "
                f"{len(words)} texts and tags for {len(tags)}"
            )
        pairs = enumerate(zip(words.numpy(), tags.numpy(), strict=True))
        for row, (num_words, num_tags) in pairs:
            if num_words != num_tags:
                raise ValueError(
                    f"{message}. Received: {num_words} words and {num_tags} tags in "
                    f"row {row}"
                )
        return
    rows = tf.where(words != tags)[:, 0]
    received = [tf.gather(lengths, rows) for lengths in (words, tags)]
    shown = [f"{message}. Received rows, words, tags:", rows, *received]
    tf.debugging.Assert(tf.equal(tf.size(rows), 0), shown)
