"""NDDR: the features of all towers, concatenated and reduced to those of one."""

import keras
import numpy as np
from keras import layers, ops

from keras_mtl.layers.tower_unit import TowerUnit, own_and_others
from keras_mtl.utils.checks import check_share
from keras_mtl.utils.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mtl")
class NDDRUnit(TowerUnit):
    """A 1×1 convolution over the channels of all towers, then normalisation.

        x = activation(BN([h_1; …; h_K] W))

    `W` starts with `own_weight` on the diagonal of the tower's own block and with
    equal shares of the rest on the diagonals of the others.

    Args:
        task: Index of the tower that goes on.
        own_weight: Number from 0 to 1.
        activation: What follows the normalisation.

    Call arguments:
        inputs: List of tensors of one shape `(batch, …, channels)`, one per tower.

    Returns:
        Tensor of the shape of one input.

    Example:
    >>> NDDRUnit(task=0)([ops.ones((5, 7, 4)), ops.zeros((5, 7, 4))]).shape
    TensorShape([5, 7, 4])

    Reference:
        - [Gao et al., 2019](https://arxiv.org/abs/1801.08297)
    """

    def __init__(
        self, task: int, own_weight: float = 0.9, activation: str = "relu", **kwargs
    ):
        super().__init__(task, **kwargs)
        self.own_weight = check_share("own_weight", own_weight)
        self.activation = keras.activations.get(activation)

    def build(self, input_shape):
        own, other = own_and_others(self.own_weight, len(input_shape) - 1)
        eye = np.eye(input_shape[0][-1])
        blocks = [other * eye for _ in input_shape]
        blocks[self.task] = own * eye
        start = np.concatenate(blocks)
        self.kernel = self.add_weight(
            name="kernel",
            shape=start.shape,
            initializer=lambda shape, dtype: ops.convert_to_tensor(start, dtype),
        )
        self.norm = layers.BatchNormalization(dtype=self.dtype_policy, name="norm")
        self.norm.build(tuple(input_shape[self.task]))

    def call(self, inputs: list[Tensor], training: bool | None = None) -> Tensor:
        x = ops.matmul(ops.concatenate(inputs, axis=-1), self.kernel)
        return self.activation(self.norm(x, training=training))

    def get_config(self):
        return {
            **super().get_config(),
            "own_weight": self.own_weight,
            "activation": keras.activations.serialize(self.activation),
        }
