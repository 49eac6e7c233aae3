"""Batches of texts of similar length, and how much of them is padding."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_mtl.data.pipelines import EpochOrder, epoch_batches, in_memory
from keras_mtl.utils.checks import check_count
from keras_mtl.utils.types import Tensor

_MULTIPLE = 8


def bucket_boundaries(lengths: Any, num_buckets: int = 4) -> tuple[int, ...]:
    """Lengths that texts are padded to, so that buckets hold about as many texts.

    Args:
        lengths: Number of tokens of each text, shape `(rows,)`.
        num_buckets: Number of buckets at most.

    Returns:
        Increasing multiples of 8; the last one is the longest text's length itself.

    Example:
    >>> bucket_boundaries([3, 5, 6, 9, 17, 30], 3)
    (8, 16, 30)
    """
    lengths = np.asarray(lengths)
    check_count("num_buckets", num_buckets)
    longest = int(lengths.max())
    shares = np.arange(1, num_buckets) / num_buckets
    inner = np.quantile(lengths, shares, method="inverted_cdf")
    inner = -(-inner.astype(int) // _MULTIPLE) * _MULTIPLE
    return (*(int(b) for b in np.unique(inner) if b < longest), longest)


def bucketed(
    data: Any,
    batch_size: int,
    *,
    boundaries: Sequence[int] | None = None,
    order: EpochOrder | None = None,
    tags: Sequence[str] = (),
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Batches of texts of similar length, padded no further than need be.

    Every batch holds texts of one bucket, and is cut to its boundary; so there are as
    many shapes as buckets. Which texts are together, and the order of the batches,
    are a function of the seed and the epoch, as in `EpochOrder.batches`.

    Args:
        data: Arrays or a finite, unbatched `tf.data.Dataset` of `x`, `(x, y)` or
            `(x, y, sample_weight)`, where `x` is a dict of what `TextPreprocessor`
            makes, `"padding_mask"` among it, maybe besides other inputs. Those whose
            first two axes are the mask's have an entry per token.
        batch_size: Number of examples of a batch; the last of each bucket has less.
        boundaries: Increasing lengths of the buckets, the longest text's at least.
            Defaults to `bucket_boundaries`.
        order: The `EpochOrder` that `fit` has as a callback; `None` gives the same
            batches in every pass, for evaluation.
        tags: Names of the labels (and their sample weights) that have an entry per
            token, which are cut alike.
        drop_remainder: Drop the last batch of each bucket if it is smaller.

    Returns:
        A `tf.data.Dataset` of known cardinality.

    Raises:
        ValueError: If a text is longer than the last boundary, or `x` has no mask.

    Example:
    >>> import numpy as np
    >>> mask = np.array([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 1, 0]])
    >>> x = {"token_ids": 7 * mask, "padding_mask": mask}
    >>> data = bucketed(x, 2, boundaries=(2, 4))
    >>> sorted(tuple(batch["token_ids"].shape) for batch in data)
    [(2, 2), (2, 4)]
    """
    arrays = in_memory(data)
    x = arrays[0] if isinstance(arrays, tuple) else arrays
    if not isinstance(x, dict) or "padding_mask" not in x:
        raise ValueError(
            "Expected `data` to have a dict of inputs with 'padding_mask', as "
            f"`TextPreprocessor` makes it. Received: {_names(x)}"
        )
    mask = np.asarray(x["padding_mask"])
    lengths = token_counts(mask)
    boundaries = _checked(boundaries, lengths)
    groups = np.searchsorted(boundaries, lengths)
    options: dict[str, Any] = {"groups": groups, "drop_remainder": drop_remainder}
    if order is None:
        batches = epoch_batches(arrays, batch_size, seed=0, epoch=0, **options)
    else:
        batches = order.batches(arrays, batch_size, **options)
    inputs = [name for name, value in x.items() if value.shape[:2] == mask.shape]

    def cut(*parts):
        length = _boundary(parts[0]["padding_mask"], boundaries)
        parts = (
            _cut(parts[0], inputs, length),
            *(_cut(p, tags, length) for p in parts[1:]),
        )
        return parts if isinstance(arrays, tuple) else parts[0]

    return batches.map(cut, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def token_counts(padding_mask: Any) -> np.ndarray:
    """Number of tokens of each text up to its last one, shape `(rows,)`.

    Example:
    >>> token_counts([[1, 1, 0], [1, 1, 1]]).tolist()
    [2, 3]
    """
    there = np.asarray(padding_mask) != 0
    places = np.arange(1, there.shape[1] + 1)
    return np.where(there, places, 0).max(axis=1)


def padding_waste(
    lengths: Any,
    batch_size: int,
    *,
    boundaries: Sequence[int] | None = None,
    sequence_length: int | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Which share of all tokens is padding, with and without buckets, in one epoch.

    Args:
        lengths: Number of tokens of each text, shape `(rows,)`; see `token_counts`.
        batch_size: Number of texts of a batch.
        boundaries: As in `bucketed`.
        sequence_length: What all texts are padded to without buckets; the longest
            text's length by default.
        seed: Seed of the order.

    Returns:
        Dict of shares: `"fixed"`, all texts padded to `sequence_length`; `"shuffled"`,
        batches at random, each padded to its longest text; `"bucketed"`.

    Example:
    >>> padding_waste([2, 2, 4, 4], batch_size=2, boundaries=(2, 4))["fixed"]
    0.25
    >>> padding_waste([2, 2, 4, 4], batch_size=2, boundaries=(2, 4))["bucketed"]
    0.0
    """
    lengths = np.asarray(lengths)
    boundaries = _checked(boundaries, lengths)
    groups = np.searchsorted(boundaries, lengths)
    fixed = lengths.size * (sequence_length or int(lengths.max()))
    shuffled, buckets = 0, 0
    for batch in epoch_batches(lengths, batch_size, seed=seed, epoch=0):
        shuffled += int(np.max(batch)) * len(batch)
    for batch in epoch_batches(groups, batch_size, seed=seed, epoch=0, groups=groups):
        buckets += boundaries[int(batch[0])] * len(batch)
    tokens = int(lengths.sum())
    totals = {"fixed": fixed, "shuffled": shuffled, "bucketed": buckets}
    return {name: (total - tokens) / (total or 1) for name, total in totals.items()}


def _checked(boundaries, lengths):
    if boundaries is None:
        return bucket_boundaries(lengths)
    increasing = sorted(set(boundaries)) == list(boundaries)
    if not increasing or not boundaries or boundaries[-1] < lengths.max():
        raise ValueError(
            "Expected `boundaries` to increase up to the length of the longest text, "
            f"{lengths.max()}, at least. Received: boundaries={tuple(boundaries)}"
        )
    return tuple(boundaries)


def _boundary(mask: Tensor, boundaries: Sequence[int]) -> Tensor:
    """The first boundary that no text of the batch goes beyond."""
    places = tf.range(1, tf.shape(mask)[1] + 1)
    longest = tf.reduce_max(tf.where(tf.not_equal(mask, 0), places, 0))
    ends = tf.constant(boundaries, tf.int32)
    return tf.reduce_min(tf.boolean_mask(ends, ends >= longest))


def _cut(part, names, length):
    if not isinstance(part, dict):
        return part
    return {k: v[:, :length] if k in names else v for k, v in part.items()}


def _names(x):
    return sorted(x) if isinstance(x, dict) else type(x).__name__
