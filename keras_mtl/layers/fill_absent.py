"""What stands for a modality that an example does not have."""

import keras
from keras import ops

from keras_mtl.utils.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mtl")
class FillAbsent(keras.layers.Layer):
    """Puts one trained vector, at first zero, where an example lacks a feature.

    Call arguments:
        inputs: Feature of shape `(batch, …, width)`.
        present: Whether an example has it, boolean of shape `(batch,)`.

    Returns:
        Tensor of the shape of the feature. All tokens or positions of an example
        without it become the vector.

    Example:
    >>> filled = FillAbsent()(ops.ones((2, 1)), ops.array([True, False]))
    >>> ops.convert_to_numpy(filled).tolist()
    [[1.0], [0.0]]
    """

    def build(self, input_shape):
        width = input_shape[-1]
        self.vector = self.add_weight((width,), initializer="zeros", name="vector")

    def call(self, inputs: Tensor, present: Tensor) -> Tensor:
        rank = len(inputs.shape)
        there = ops.reshape(ops.cast(present, "bool"), (-1, *[1] * (rank - 1)))
        other = ops.zeros_like(inputs) + ops.cast(self.vector, inputs.dtype)
        return ops.where(there, inputs, other)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)
