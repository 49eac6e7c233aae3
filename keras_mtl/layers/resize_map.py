"""Brings a map of features or logits to a given size."""

import keras
from keras import ops

from keras_mtl.utils.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mtl")
class ResizeMap(keras.layers.Layer):
    """Bilinear interpolation of a map to a fixed height and width.

    Pixel centres are at half-integers, as in `tf.image.resize`, and beyond the
    outermost ones the border value continues.

    Args:
        size: Height and width of the result, in pixels.

    Call arguments:
        inputs: Tensor of shape `(batch, height, width, channels)`.

    Returns:
        Tensor of shape `(batch, *size, channels)`, of the inputs' dtype.

    Example:
    >>> x = ops.reshape(ops.array([0.0, 1.0]), (1, 1, 2, 1))
    >>> ops.convert_to_numpy(ResizeMap((1, 4))(x))[0, 0, :, 0]
    array([0.  , 0.25, 0.75, 1.  ], dtype=float32)
    """

    def __init__(self, size: tuple[int, int], **kwargs):
        super().__init__(**kwargs)
        self.size = tuple(size)

    def call(self, inputs: Tensor) -> Tensor:
        resized = ops.image.resize(
            inputs, self.size, interpolation="bilinear", data_format="channels_last"
        )
        return ops.cast(resized, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *self.size, input_shape[-1])

    def get_config(self):
        return {**super().get_config(), "size": list(self.size)}
