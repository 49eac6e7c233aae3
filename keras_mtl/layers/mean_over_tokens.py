"""The mean over the tokens that are there."""

import keras
from keras import ops

from keras_mtl.utils.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mtl")
class MeanOverTokens(keras.layers.Layer):
    """Averages a sequence over its tokens, padding left out.

    Call arguments:
        sequence: Tensor of shape `(batch, tokens, width)`.
        padding_mask: Tensor of shape `(batch, tokens)`, not 0 (or True) where a token
            is.

    Returns:
        Tensor of shape `(batch, width)`; zeros where no token is.

    Example:
    >>> x = ops.reshape(ops.arange(6.0), (1, 3, 2))
    >>> ops.convert_to_numpy(MeanOverTokens()(x, ops.array([[1, 1, 0]])))
    array([[1., 2.]], dtype=float32)

    Reference:
        - [Reimers & Gurevych, 2019](https://arxiv.org/abs/1908.10084), the pooling
          "MEAN" of Sentence-BERT.
    """

    def call(self, sequence: Tensor, padding_mask: Tensor) -> Tensor:
        there = ops.cast(ops.cast(padding_mask, "bool"), sequence.dtype)
        number = ops.sum(there, axis=1, keepdims=True)
        # A select, so that no value at padding, not even infinity, counts.
        kept = ops.where(there[..., None] > 0, sequence, ops.zeros_like(sequence))
        return ops.sum(kept, axis=1) / ops.maximum(number, 1)

    def compute_output_shape(self, sequence_shape, padding_mask_shape):
        return (sequence_shape[0], sequence_shape[-1])
