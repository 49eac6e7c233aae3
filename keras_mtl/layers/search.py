"""Greedy and beam search for the next tokens, as loops in the graph."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_mtl.utils.types import Tensor

Step = Callable[[Tensor, Tensor, Any], tuple[Tensor, Any]]


@dataclasses.dataclass(frozen=True)
class SearchOptions:
    """What a search has to know of the tokens.

    Args:
        max_length: Most tokens of a sequence, the end token included.
        start_token: What stands before the first token.
        end_token: What ends a sequence.
        pad_token: What stands after the end.
        length_penalty: `alpha >= 0` of the score
            `log p(sequence) / ((5 + length) / 6) ** alpha`, where `length` counts the
            end token. 0 prefers short sequences.
    """

    max_length: int
    start_token: int
    end_token: int
    pad_token: int
    length_penalty: float = 0.0

    def score(self, log_probability: Tensor, length: Tensor) -> Tensor:
        """Log-probabilities of sequences, divided by the penalty of their length."""
        penalty = ((5.0 + tf.cast(length, tf.float32)) / 6.0) ** self.length_penalty
        return log_probability / penalty

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Those of the tokens that may come next; start and padding never do."""
        never = [
            token in (self.start_token, self.pad_token) and token != self.end_token
            for token in range(logits.shape[-1])
        ]
        logits = tf.nn.log_softmax(tf.cast(logits, tf.float32))
        return tf.where(tf.constant(never), -float("inf"), logits)


def greedy_search(
    step: Step, cache: Any, batch_size: Tensor, options: SearchOptions
) -> tuple[Tensor, Tensor]:
    """The likeliest token at every place.

    Args:
        step: Function of the tokens `(batch,)` at a place, the number of the place and
            the cache, which gives the logits `(batch, vocabulary)` of the next tokens
            and the new cache.
        cache: Structure of tensors, each with the batch as its first axis.
        batch_size: Scalar.
        options: `SearchOptions`.

    Returns:
        Tokens `(batch, max_length)`, padded after the end token, and their score
        `(batch,)`. A sequence that has not ended is cut at `max_length`.

    Cost: At most `max_length` calls of `step`; none once all sequences have ended.
    """
    places = tf.range(options.max_length)

    def going_on(place, previous, ended, *_):
        return ~tf.reduce_all(ended)

    def body(place, previous, ended, tokens, length, total, cache):
        logits, cache = step(previous, place, cache)
        log_p = options.log_probabilities(logits)
        best = tf.argmax(log_p, axis=-1, output_type=tf.int32)
        total += tf.where(ended, 0.0, tf.reduce_max(log_p, axis=-1))
        best = tf.where(ended, options.pad_token, best)
        length += tf.where(ended, 0, 1)
        tokens = tf.where(places == place, best[:, None], tokens)
        ended |= best == options.end_token
        return place + 1, best, ended, tokens, length, total, cache

    start = (
        tf.constant(0),
        tf.fill([batch_size], options.start_token),
        tf.zeros([batch_size], tf.bool),
        tf.fill([batch_size, options.max_length], options.pad_token),
        tf.zeros([batch_size], tf.int32),
        tf.zeros([batch_size]),
        cache,
    )
    _, _, _, tokens, length, total, _ = _loop(going_on, body, start, options)
    return tokens, options.score(total, length)


def beam_search(
    step: Step, cache: Any, batch_size: Tensor, options: SearchOptions, width: int
) -> tuple[Tensor, Tensor]:
    """The best sequence that a search with `width` candidates finds.

    At every place the candidates are all candidates of the place before with every
    token; those that have ended stay as they are. The `width` of the best score are
    kept. With `width=1` this is greedy search; with as many candidates as there are
    sequences it is exact.

    Args:
        step: As for `greedy_search`; it is called with `batch * width` rows.
        cache: Structure of tensors, each with `batch * width` as its first axis.
        batch_size: Scalar.
        options: `SearchOptions`.
        width: Number of candidates.

    Returns:
        Tokens `(batch, max_length)`, padded after the end token, and their score
        `(batch,)`.

    Cost: `width` times that of `greedy_search`, and a copy of the cache per place.

    Reference:
        - [Wu et al., 2016](https://arxiv.org/abs/1609.08144), section 7, equation 14,
          the length penalty (without the coverage penalty). There candidates compete
          by their log-probability until they end; here by their score.
    """
    places = tf.range(options.max_length)

    def going_on(place, previous, ended, *_):
        return ~tf.reduce_all(ended)

    def body(place, previous, ended, tokens, length, total, cache):
        logits, cache = step(tf.reshape(previous, [-1]), place, cache)
        size = logits.shape[-1]
        log_p = options.log_probabilities(logits)
        log_p = tf.reshape(log_p, [-1, width, size])
        # What has ended has one continuation, padding, which costs nothing.
        is_pad = tf.range(size) == options.pad_token
        stay = tf.where(is_pad, 0.0, -float("inf"))
        log_p = tf.where(ended[..., None], stay, log_p)
        length += tf.where(ended, 0, 1)
        totals = total[..., None] + log_p
        scores = options.score(totals, length[..., None])
        _, best = tf.math.top_k(tf.reshape(scores, [-1, width * size]), width)
        beam, token = best // size, best % size

        def kept(values):
            return tf.gather(values, beam, batch_dims=1)

        total = tf.gather(tf.reshape(totals, [-1, width * size]), best, batch_dims=1)
        # Fewer sequences than candidates: the others are none.
        none = tf.math.is_inf(total)
        token = tf.where(none, options.pad_token, token)
        ended = kept(ended) | none | (token == options.end_token)
        tokens = tf.where(places == place, token[..., None], kept(tokens))
        cache = keras.tree.map_structure(
            lambda values: _rows(kept(_beams(values, width))), cache
        )
        return place + 1, token, ended, tokens, kept(length), total, cache

    first = tf.range(width) == 0
    shape = [batch_size, width]
    start = (
        tf.constant(0),
        tf.fill(shape, options.start_token),
        # All candidates are the same at first: one is enough.
        tf.broadcast_to(~first, shape),
        tf.fill([*shape, options.max_length], options.pad_token),
        tf.zeros(shape, tf.int32),
        tf.broadcast_to(tf.where(first, 0.0, -float("inf")), shape),
        cache,
    )
    _, _, _, tokens, length, total, _ = _loop(going_on, body, start, options)
    scores = options.score(total, length)
    best = tf.argmax(scores, axis=-1)
    return (
        tf.gather(tokens, best, batch_dims=1),
        tf.gather(scores, best, batch_dims=1),
    )


def repeated(values: Any, width: int) -> Any:
    """A structure of tensors with every row `width` times, one after the other."""
    return keras.tree.map_structure(lambda v: tf.repeat(v, width, axis=0), values)


def _beams(values, width):
    """`(batch * width, …)` as `(batch, width, …)`."""
    return tf.reshape(values, [-1, width, *_inner(values, 1)])


def _rows(values):
    """`(batch, width, …)` as `(batch * width, …)`."""
    return tf.reshape(values, [-1, *_inner(values, 2)])


def _inner(values, axis):
    """Sizes of the axes from `axis` on, numbers where they are known."""
    dynamic = tf.shape(values)
    known = values.shape
    return [
        dynamic[i] if known[i] is None else known[i] for i in range(axis, len(known))
    ]


def _loop(going_on, body, start, options):
    # The number of rows may be known before the loop and not inside of it.
    shapes = keras.tree.map_structure(
        lambda v: tf.TensorShape([None, *v.shape[1:]] if v.shape.rank else []), start
    )
    return tf.while_loop(
        going_on,
        body,
        start,
        shape_invariants=shapes,
        maximum_iterations=options.max_length,
    )
