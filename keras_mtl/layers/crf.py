"""A chain of tags: scores of neighbours, the sum over all paths, and the best path."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_mtl.utils.types import Tensor

# Of what cannot be; sums of it stay finite in float32.
IMPOSSIBLE = -1e30
_NO_TAG = -1


@keras.saving.register_keras_serializable(package="keras_mtl")
class CRF(keras.layers.Layer):
    """Linear-chain conditional random field: adds scores of neighbouring tags.

    The score of a path of tags is

        score(tags) = Σ_t emissions[t, tags_t] + Σ_t transitions[tags_{t-1}, tags_t]

    over the words only: a position that is no word (padding, a later piece of a word)
    is stepped over, in the middle of a sequence as well, so that the neighbours of a
    word are the words beside it. Before the first and after the last word stands the
    *boundary*, a state with the index `num_tags`; what transitions from and to it
    score is what others call start and end scores.

    Emissions, words and transitions leave the layer in one tensor per example, from
    which `log_partition` and `best_path` read all that they need:

                      num_tags    1
                    ┌───────────┬────┐
          tokens    │ emissions │ 0/1│   1 where there is a word
                    ├───────────┼────┤
          num_tags  │ from tag  │ to │
                    │ to tag    │ end│
                    ├───────────┼────┤
          1         │ from start│    │
                    └───────────┴────┘

    Call arguments:
        inputs: Emissions of shape `(batch, tokens, num_tags)`.
        words: Optional booleans of shape `(batch, tokens)`, True where there is a
            word. Without them those of Keras' mask; without that, all positions.

    Returns:
        Tensor of shape `(batch, tokens + num_tags + 1, num_tags + 1)`.

    Example:
    >>> layer = CRF()
    >>> scores = layer(ops.zeros((1, 3, 2)), words=ops.array([[True, False, True]]))
    >>> round(float(ops.exp(log_partition(scores))[0]), 4)  # paths of two words
    4.0

    Reference:
        - [Lafferty et al., 2001](https://repository.upenn.edu/handle/20.500.14332/6188)
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, inputs_shape, words_shape=None):
        states = inputs_shape[-1] + 1
        self.transitions = self.add_weight(
            name="transitions", shape=(states, states), initializer="zeros"
        )

    def call(
        self, inputs: Tensor, words: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        words = mask if words is None else words
        words = ops.ones_like(inputs[..., 0]) if words is None else words
        flags = ops.expand_dims(ops.cast(words, inputs.dtype), -1)
        above = ops.concatenate([inputs, flags], axis=-1)
        states = self.transitions.shape[0]
        below = ops.broadcast_to(
            ops.expand_dims(self.transitions, 0), (ops.shape(inputs)[0], states, states)
        )
        return ops.concatenate([above, below], axis=1)

    def compute_mask(self, inputs, *args, **kwargs):
        return None

    def compute_output_shape(self, inputs_shape, words_shape=None):
        batch, tokens, tags = inputs_shape
        return (batch, None if tokens is None else tokens + tags + 1, tags + 1)


def log_partition(scores: Tensor, tags: Tensor | None = None) -> Tensor:
    """Logarithm of the sum of `exp(score)` over the paths that agree with `tags`.

    With tags of all words it is the score of this one path; the difference to the sum
    over all paths is the log-likelihood of the tags.

    Args:
        scores: What a `CRF` layer returns.
        tags: Optional integers of shape `(batch, tokens)`; negative where any tag will
            do. Positions that are no words are not looked at.

    Returns:
        Tensor of shape `(batch,)`. It is exact in float32 as long as the transition
        scores differ by less than about 60 from each other; emissions may be of any
        size.

    Cost:
        Per token and example a product of a vector with the matrix of transitions.
    """
    emissions, words, transitions = _parts(scores)
    if tags is not None:
        tags = ops.cast(tags, "int32")
        chosen = ops.one_hot(tags, emissions.shape[-1], dtype="bool")
        possible = ops.logical_or(chosen, ops.expand_dims(tags < 0, -1))
        impossible = ops.full_like(emissions, IMPOSSIBLE)
        emissions = ops.where(possible, emissions, impossible)
    # A word is never at the boundary.
    emissions = ops.concatenate(
        [emissions, ops.full_like(emissions[..., :1], IMPOSSIBLE)], axis=-1
    )
    return _log_sum(emissions, words, transitions)


def best_path(
    scores: Tensor, allowed: np.ndarray | None = None
) -> tuple[Tensor, Tensor]:
    """The path of the highest score, and this score.

    Args:
        scores: What a `CRF` layer returns.
        allowed: Optional array of booleans `(num_tags + 1, num_tags + 1)`, which tag
            may follow which; the boundary comes last.

    Returns:
        Integers of shape `(batch, tokens)`, -1 where there is no word, and scores of
        shape `(batch,)`. Of equal paths one is chosen.

    Reference:
        - [Viterbi, 1967](https://doi.org/10.1109/TIT.1967.1054010)
    """
    emissions, words, transitions = _parts(scores)
    if allowed is not None:
        transitions = transitions + ops.convert_to_tensor(
            np.where(allowed, 0.0, IMPOSSIBLE), dtype=transitions.dtype
        )
    emissions = ops.pad(emissions, ((0, 0), (0, 0), (0, 1)), constant_values=IMPOSSIBLE)
    into = ops.transpose(transitions, (0, 2, 1))

    # Maxima are TensorFlow's: Keras' refuses an empty batch, at every step.
    def forward(best, step):
        emission, word = _with_flag(step)
        found = emission + tf.reduce_max(ops.expand_dims(best, 1) + into, axis=-1)
        best = ops.where(word, found, best)
        return best, best

    start = _at_boundary(emissions)
    last, after = ops.scan(forward, start, _by_time(emissions, words))
    before = ops.concatenate([ops.expand_dims(start, 0), after], axis=0)[:-1]
    last = last + transitions[:, :, -1]

    def backward(tag, step):
        best, word = _with_flag(step)
        previous = ops.argmax(best + tf.gather(into, tag, batch_dims=1), axis=-1)
        word = word[:, 0]
        found = ops.where(word, tag, ops.full_like(tag, _NO_TAG))
        return ops.where(word, ops.cast(previous, "int32"), tag), found

    tag = ops.cast(ops.argmax(last, axis=-1), "int32")
    before = ops.transpose(before, (1, 0, 2))
    _, path = ops.scan(backward, tag, _by_time(before, words), reverse=True)
    return ops.transpose(path), tf.reduce_max(last, axis=-1)


def _parts(scores):
    """Emissions, words and transitions."""
    states = scores.shape[-1]
    above, below = scores[:, :-states], scores[:, -states:]
    return above[..., :-1], above[..., -1] > 0.5, below


def _by_time(values, words):
    """One tensor of steps, since Keras' `scan` of several has to know their number."""
    flags = ops.expand_dims(ops.cast(words, values.dtype), -1)
    return ops.transpose(ops.concatenate([values, flags], axis=-1), (1, 0, 2))


def _with_flag(step):
    """Values `(batch, states)` of a step, and its booleans `(batch, 1)`."""
    return step[:, :-1], step[:, -1:] > 0.5


def _at_boundary(emissions):
    """Log-probabilities of the states before the first word."""
    nothing = ops.zeros_like(emissions[:, 0])
    rest = nothing[:, :-1] + IMPOSSIBLE
    return ops.concatenate([rest, nothing[:, :1]], axis=-1)


def _log_sum(emissions, words, transitions):
    """The sum over all paths of states, from boundary to boundary, as a logarithm."""
    # Products of probabilities and factors up to 1: several times faster than
    # logarithms of sums of exponentials.
    highest = ops.stop_gradient(tf.reduce_max(transitions, axis=1, keepdims=True))
    factors = ops.exp(transitions - highest)
    highest = ops.squeeze(highest, 1)
    tiny = float(np.finfo(emissions.dtype.name).tiny)

    def forward(state, step):
        emission, word = _with_flag(step)
        peak = ops.stop_gradient(tf.reduce_max(state, axis=-1, keepdims=True))
        vector = ops.expand_dims(ops.exp(state - peak), 1)
        product = ops.squeeze(ops.matmul(vector, factors), 1)
        found = ops.log(ops.maximum(product, tiny)) + peak + highest + emission
        state = ops.where(word, found, state)
        return state, state

    start = _at_boundary(emissions)
    last, _ = ops.scan(forward, start, _by_time(emissions, words))
    return ops.logsumexp(last + transitions[:, :, -1], axis=-1)
