"""Attention over the tokens, the positions of a map, or the units of a feature."""

import keras
from keras import layers, ops

from keras_mtl.layers.gate import in_single
from keras_mtl.utils.checks import check_count
from keras_mtl.utils.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mtl")
class FeatureAttention(keras.layers.Layer):
    """Weighs the tokens or positions of a feature, or its units where it has none.

    With `h_n` the feature at position `n` of `N`,

        e_n = vᵀ tanh(W h_n + b)        a = softmax(e)        x_n = N a_n h_n

    so that the mean of `x` over the positions is the weighted mean of `h`. Masked
    tokens get no weight and are not counted. Of a feature of rank 2, its `N` units
    take the place of positions, and `e = V tanh(W h + b)`.

    `v` starts at zero: all weights are equal, and `x = h`.

    Args:
        units: Number of rows of `W`.

    Call arguments:
        inputs: Tensor of shape `(batch, channels)`, `(batch, tokens, channels)` or
            `(batch, height, width, channels)`.
        mask: Optional tensor of shape `(batch, tokens)`, true for real tokens.

    Returns:
        Tensor of the shape of the input.

    Example:
    >>> FeatureAttention(units=8)(ops.ones((2, 5, 3))).shape
    TensorShape([2, 5, 3])

    Reference:
        - [Yang et al., 2016](https://aclanthology.org/N16-1174), equations 5 to 7.
    """

    def __init__(self, units: int = 32, **kwargs):
        super().__init__(**kwargs)
        self.units = check_count("units", units)
        self.supports_masking = True

    def build(self, input_shape):
        channels = input_shape[-1]
        scores = channels if len(input_shape) == 2 else 1
        policy = self.dtype_policy
        self.hidden = layers.Dense(
            self.units, activation="tanh", dtype=policy, name="hidden"
        )
        self.score = layers.Dense(
            scores,
            use_bias=False,
            kernel_initializer="zeros",
            dtype=policy,
            name="score",
        )
        self.hidden.build(input_shape)
        self.score.build((*input_shape[:-1], self.units))

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        scores = self.score(self.hidden(inputs))
        # One row of scores per example, in a precision that sums up to one.
        rows = ops.reshape(in_single(scores), (ops.shape(scores)[0], -1))
        number = ops.cast(ops.shape(rows)[1], rows.dtype)
        if mask is not None:
            real = ops.cast(mask, rows.dtype)
            rows = rows + (real - 1.0) * 1e9
            number = ops.sum(real, axis=1, keepdims=True)
        # `ops.softmax` warns of maps with a single position.
        weights = ops.exp(rows - ops.logsumexp(rows, axis=1, keepdims=True)) * number
        weights = ops.reshape(ops.cast(weights, inputs.dtype), ops.shape(scores))
        return inputs * weights

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {**super().get_config(), "units": self.units}
