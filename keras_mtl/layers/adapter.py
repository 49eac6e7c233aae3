"""A small bottleneck that is added to what it is given."""

import keras
from keras import layers

from keras_mtl.utils.checks import check_count
from keras_mtl.utils.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mtl")
class Adapter(layers.Layer):
    """`inputs + up(activation(down(inputs)))`, over the last axis.

    The projection `up` starts at zero, so that at first nothing is added.

    Args:
        bottleneck_dim: Width between the two projections.
        activation: Activation there.

    Call arguments:
        inputs: Tensor of shape `(batch, …, width)`.

    Returns:
        Tensor of the same shape.

    Example:
    >>> Adapter(4)(keras.ops.ones((2, 7, 16))).shape
    TensorShape([2, 7, 16])

    Reference:
        - [Houlsby et al., 2019](https://arxiv.org/abs/1902.00751), figure 2.
    """

    def __init__(self, bottleneck_dim: int, *, activation: str = "relu", **kwargs):
        super().__init__(**kwargs)
        self.bottleneck_dim = check_count("bottleneck_dim", bottleneck_dim)
        self.activation = keras.activations.get(activation)
        self.supports_masking = True

    def build(self, input_shape):
        policy = self.dtype_policy
        self.down = layers.Dense(
            self.bottleneck_dim, activation=self.activation, name="down", dtype=policy
        )
        self.up = layers.Dense(
            input_shape[-1], kernel_initializer="zeros", name="up", dtype=policy
        )
        self.down.build(input_shape)
        self.up.build((*input_shape[:-1], self.bottleneck_dim))

    def call(self, inputs: Tensor) -> Tensor:
        return inputs + self.up(self.down(inputs))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "bottleneck_dim": self.bottleneck_dim,
            "activation": keras.activations.serialize(self.activation),
        }
