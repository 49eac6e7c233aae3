"""A scale and a shift per channel."""

import keras

from keras_mtl.utils.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mtl")
class FeatureModulation(keras.layers.Layer):
    """`(1 + scale) * inputs + shift`, with a number per channel for each.

    Both start at zero, so that at first nothing changes.

    Call arguments:
        inputs: Tensor of shape `(batch, …, channels)`.

    Returns:
        Tensor of the same shape.

    Example:
    >>> FeatureModulation()(keras.ops.ones((2, 5, 5, 16))).shape
    TensorShape([2, 5, 5, 16])

    Reference:
        - [Perez et al., 2018](https://arxiv.org/abs/1709.07871), equation 2, with
          `gamma = 1 + scale` and `beta = shift`.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape):
        shape = (input_shape[-1],)
        self.scale = self.add_weight(name="scale", shape=shape, initializer="zeros")
        self.shift = self.add_weight(name="shift", shape=shape, initializer="zeros")

    def call(self, inputs: Tensor) -> Tensor:
        # Not `1 + scale`, which half precision would round.
        return inputs + inputs * self.scale + self.shift

    def compute_output_shape(self, input_shape):
        return input_shape
