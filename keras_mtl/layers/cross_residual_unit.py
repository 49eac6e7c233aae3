"""Cross-residual unit: a tower's features and what it takes from the others."""

import keras
from keras import ops

from keras_mtl.layers.tower_unit import TowerUnit
from keras_mtl.utils.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mtl")
class CrossResidualUnit(TowerUnit):
    """Adds projections of the other towers' features to those of one.

        x_i = h_i + Σ_{j ≠ i} h_j R_ij

    The matrices start at zero, so that the towers are independent at first.

    Args:
        task: Index of the tower that goes on.

    Call arguments:
        inputs: List of tensors of one shape `(batch, …, channels)`, one per tower,
            at least two.

    Returns:
        Tensor of the shape of one input.

    Example:
    >>> unit = CrossResidualUnit(task=1)
    >>> ops.convert_to_numpy(unit([ops.zeros((1, 2)), ops.ones((1, 2))]))
    array([[1., 1.]], dtype=float32)

    Reference:
        - [Jou & Chang, 2016](https://arxiv.org/abs/1604.01335)
    """

    def build(self, input_shape):
        channels = input_shape[0][-1]
        self.kernel = self.add_weight(
            name="kernel",
            shape=((len(input_shape) - 1) * channels, channels),
            initializer="zeros",
        )

    def call(self, inputs: list[Tensor]) -> Tensor:
        others = [x for index, x in enumerate(inputs) if index != self.task]
        residual = ops.matmul(ops.concatenate(others, axis=-1), self.kernel)
        return inputs[self.task] + residual
