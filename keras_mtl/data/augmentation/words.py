"""Tags that follow their words: word dropout, and word pieces there and back."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from keras_mtl.data.pipelines import EpochOrder
from keras_mtl.data.seeding import check_input, check_pairs, seeded_map, uniform
from keras_mtl.utils.checks import check_decay, check_keys
from keras_mtl.utils.types import Tensor


def word_dropout(
    dataset: tf.data.Dataset,
    rate: float = 0.1,
    *,
    tags: Sequence[str] = (),
    tokens: str | None = None,
    unknown: Any = None,
    padding: Any = 0,
    missing: int = -1,
    seed: int = 0,
    epoch: int | EpochOrder = 0,
) -> tf.data.Dataset:
    """Drops words at random; the tags of the others go with them.

    At least one word of every text is left. Without `unknown` the words are taken out
    and the later ones move up; labels of the text stay. With `unknown` they are
    replaced, and their tags stay.

    Args:
        dataset: Batches `(x, y)` or `(x, y, sample_weight)`. The words are a tensor
            of shape `(batch, words)`, padded at the end, or a ragged one.
        rate: Probability that a word is dropped, `>= 0` and `< 1`.
        tags: Names of the labels in `y` that have one entry per word, of the words'
            shape.
        tokens: Name of the words, if `x` is a dict.
        unknown: Word that replaces dropped ones, or `None` to take them out.
        padding: What fills padded words.
        missing: What fills the tags there, the value of `Task.missing`.
        seed: Integer `>= 0`.
        epoch: Number of the epoch, or the `EpochOrder` that `fit` has as a callback.

    Returns:
        A `tf.data.Dataset` of the same structure. Padded shapes stay as they are.

    Raises:
        ValueError: If `rate` is not a rate, or `tags` names no label.

    Example:
    >>> x, y = [["the", "old", "man", ""]], {"tag": [[0, 1, 2, -1]]}
    >>> data = tf.data.Dataset.from_tensor_slices((x, y)).batch(1)
    >>> data = word_dropout(data, 0.5, tags=["tag"], padding="", seed=1)
    >>> x, y = next(iter(data))
    >>> [(word.decode(), int(tag)) for word, tag in zip(x[0].numpy(), y["tag"][0])]
    [('the', 0), ('man', 2), ('', -1), ('', -1)]
    """
    check_decay("rate", rate)
    inputs, labels = check_pairs(dataset)
    check_input(inputs, tokens)
    check_keys("tags", tags, list(labels))

    @tf.autograph.experimental.do_not_convert
    def dropped(seeds, x, y, *weights):
        words = x if tokens is None else x[tokens]
        keep = _kept(words, rate, padding, seeds)
        if unknown is None:
            words = _without(words, keep, padding)
            y = {**y, **{name: _without(y[name], keep, missing) for name in tags}}
        else:
            words = _replaced(words, keep, padding, unknown)
        return (words if tokens is None else {**x, tokens: words}, y, *weights)

    return seeded_map(dataset, dropped, seed=seed, epoch=epoch)


def pieces_of_words(pieces: tf.RaggedTensor) -> tuple[Tensor, Tensor]:
    """The pieces of all words of a text in one row, and whose pieces they are.

    Args:
        pieces: Ragged tensor of shape `(batch, words, pieces)`, as a word-piece
            tokenizer of keras-hub gives for texts that are split into words.

    Returns:
        Two ragged tensors of shape `(batch, pieces)`: the pieces, and the index of
        the word of each.

    Example:
    >>> pieces = tf.ragged.constant([[[7], [4, 5]]])
    >>> row, word = pieces_of_words(pieces)
    >>> row.to_list(), word.to_list()
    ([[7, 4, 5]], [[0, 1, 1]])
    """
    row = pieces.merge_dims(1, 2)
    indices = tf.ragged.range(tf.cast(pieces.row_lengths(), tf.int32))
    of_piece = tf.repeat(indices.values, pieces.values.row_lengths())
    return row, row.with_values(of_piece)


def word_mask(word: Tensor) -> Tensor:
    """Where the first pieces of words are.

    Args:
        word: As in `tags_of_pieces`.

    Returns:
        Boolean tensor of the same shape: the pieces that a tag is read at, and that a
        CRF goes over.

    Example:
    >>> word_mask(tf.constant([[-1, 0, 1, 1, -1]])).numpy().tolist()
    [[False, True, True, False, False]]
    """
    before = tf.pad(word[:, :-1], [[0, 0], [1, 0]], constant_values=-1)
    return tf.logical_and(word >= 0, tf.not_equal(word, before))


def tags_of_pieces(
    tags: Tensor, word: Tensor, *, missing: int = -1, all_pieces: bool = False
) -> Tensor:
    """Tags of word pieces from those of words.

    Args:
        tags: Tags of the words, padded, shape `(batch, words)`.
        word: Index of the word of each piece, padded with -1, shape
            `(batch, pieces)`; -1 as well for pieces of no word (start, end).
        missing: Tag of what has none, the value of `Task.missing`.
        all_pieces: Whether all pieces of a word get its tag, not the first one only.

    Returns:
        Tensor of shape `(batch, pieces)`.

    Example:
    >>> word = tf.constant([[-1, 0, 1, 1, -1]])
    >>> tags_of_pieces(tf.constant([[3, 5]]), word).numpy().tolist()
    [[-1, 3, 5, -1, -1]]
    """
    tagged = word >= 0 if all_pieces else word_mask(word)
    of_piece = tf.gather(tags, tf.maximum(word, 0), axis=1, batch_dims=1)
    return tf.where(tagged, of_piece, tf.cast(missing, tags.dtype))


def tags_of_words(
    tags: Tensor, word: Tensor, num_words: int, *, missing: int = -1
) -> Tensor:
    """Tags of words from those of their first pieces: the way back.

    Args:
        tags: Tags of the pieces, shape `(batch, pieces)`.
        word: As in `tags_of_pieces`.
        num_words: Number of words to give, the longest text's.
        missing: Tag of words without pieces (padding, or a text cut short).

    Returns:
        Tensor of shape `(batch, num_words)`.

    Example:
    >>> word = tf.constant([[-1, 0, 1, 1, -1]])
    >>> tags_of_words(tf.constant([[9, 3, 5, 4, 9]]), word, 3).numpy().tolist()
    [[3, 5, -1]]
    """
    first = word_mask(word)
    places = tf.where(first)
    values = tf.boolean_mask(tags, first)
    targets = tf.stack(
        [places[:, 0], tf.cast(tf.boolean_mask(word, first), tf.int64)], axis=-1
    )
    there = targets[:, 1] < num_words
    targets, values = tf.boolean_mask(targets, there), tf.boolean_mask(values, there)
    empty = tf.fill([tf.shape(tags)[0], num_words], tf.cast(missing, tags.dtype))
    return tf.tensor_scatter_nd_update(empty, targets, values)


def _kept(words, rate, padding, seed):
    """Boolean tensor `(batch, words)`, dense: the words that stay."""
    if isinstance(words, tf.RaggedTensor):
        there = tf.sequence_mask(words.row_lengths())
    else:
        there = tf.not_equal(words, tf.cast(padding, words.dtype))
    draws = tf.where(there, uniform(seed, tf.shape(there)), -1.0)
    # The word with the highest draw stays whatever the rate.
    best = tf.reduce_max(draws, axis=1, keepdims=True)
    kept = tf.logical_or(draws >= rate, tf.equal(draws, best))
    return tf.logical_and(there, kept)


def _without(values, keep, filler):
    """The kept values, moved to the front."""
    ragged = isinstance(values, tf.RaggedTensor)
    filler = tf.cast(filler, values.dtype)
    dense = values.to_tensor(filler) if ragged else values
    order = tf.argsort(tf.cast(keep, tf.int32), direction="DESCENDING", stable=True)
    lengths = tf.reduce_sum(tf.cast(keep, tf.int64), axis=1)
    moved = tf.gather(dense, order, axis=1, batch_dims=1)
    if ragged:
        return tf.RaggedTensor.from_tensor(moved, lengths=lengths)
    left = tf.sequence_mask(lengths, tf.shape(dense)[1])
    return tf.ensure_shape(tf.where(left, moved, filler), values.shape)


def _replaced(words, keep, padding, unknown):
    unknown = tf.cast(unknown, words.dtype)
    if isinstance(words, tf.RaggedTensor):
        kept = tf.ragged.boolean_mask(keep, tf.sequence_mask(words.row_lengths()))
        return words.with_values(tf.where(kept.values, words.values, unknown))
    there = tf.not_equal(words, tf.cast(padding, words.dtype))
    return tf.where(tf.logical_and(there, tf.logical_not(keep)), unknown, words)
