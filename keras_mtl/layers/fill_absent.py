"""What stands for a modality that an example does not have."""

import keras
from keras import ops

from keras_mtl.utils.checks import check_choice
from keras_mtl.utils.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mtl")
class FillAbsent(keras.layers.Layer):
    """Puts zeros, or one trained vector, where an example lacks a feature.

    Args:
        fill: `"zeros"` or `"learned"` (which starts at zero).

    Call arguments:
        inputs: Feature of shape `(batch, width)` or `(batch, tokens, width)`.
        present: Whether an example has it, boolean of shape `(batch,)`.

    Returns:
        Tensor of the shape of the feature. All tokens of an example without it become
        the vector.

    Example:
    >>> there = ops.array([True, False])
    >>> filled = FillAbsent("zeros")(ops.ones((2, 1)), there)
    >>> ops.convert_to_numpy(filled).tolist()
    [[1.0], [0.0]]
    """

    def __init__(self, fill: str = "learned", **kwargs):
        super().__init__(**kwargs)
        self.fill = check_choice("fill", fill, ("zeros", "learned"))

    def build(self, input_shape):
        self.vector = None
        if self.fill == "learned":
            width = input_shape[-1]
            self.vector = self.add_weight((width,), initializer="zeros", name="vector")

    def call(self, inputs: Tensor, present: Tensor) -> Tensor:
        rank = len(inputs.shape)
        there = ops.reshape(ops.cast(present, "bool"), (-1, *[1] * (rank - 1)))
        other = ops.zeros_like(inputs)
        if self.vector is not None:
            other = other + ops.cast(self.vector, inputs.dtype)
        return ops.where(there, inputs, other)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {**super().get_config(), "fill": self.fill}
