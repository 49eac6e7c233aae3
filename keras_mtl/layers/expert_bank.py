"""Several small networks of one shape, computed together."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_mtl.utils.checks import check_count, check_decay
from keras_mtl.utils.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mtl")
class ExpertBank(keras.layers.Layer):
    """Experts: stacks of dense layers of equal widths, which all read one input.

    With `h = inputs` at first, layer `l` of expert `e` is

        h_e = activation(h_e @ kernel_l[e] + bias_l[e])

    The experts are one computation, whatever their number. Since all read the same
    input, their first layer is one dense layer as wide as all of them together;
    each further layer is one batched product. Every expert starts with kernels of
    its own, from the distribution that `keras.layers.Dense` uses (Glorot's uniform).

    Args:
        num_experts: Integer, number of experts.
        units: Widths of the layers of each expert.
        activation: Activation of every layer.
        dropout: Dropout rate after each layer.

    Call arguments:
        inputs: Tensor of shape `(batch, ..., width)`.

    Returns:
        Tensor of shape `(batch, ..., num_experts, units[-1])`.

    Raises:
        ValueError: If there is no expert or no layer, or a width is below 1.

    Cost:
        The multiplications of `num_experts` stacks. A copy of the activations before
        the second layer, and one after the last, since a batched product wants the
        experts in front.

    Example:
    >>> bank = ExpertBank(3, (16, 8))
    >>> tuple(bank(ops.ones((2, 5))).shape)
    (2, 3, 8)
    """

    def __init__(
        self,
        num_experts: int,
        units: Sequence[int],
        *,
        activation: Any = "relu",
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_experts = check_count("num_experts", num_experts)
        self.units = tuple(check_count("units", width) for width in units)
        if not self.units:
            raise ValueError(
                "Expected `units` to hold the width of at least one layer. "
                f"Received: units={units!r}"
            )
        self.activation = keras.activations.get(activation)
        self.dropout = check_decay("dropout", dropout)
        self.supports_masking = True
        self._drop = keras.layers.Dropout(dropout) if dropout else None

    def build(self, input_shape):
        self.kernels, self.biases = [], []
        width = input_shape[-1]
        for index, units in enumerate(self.units):
            # Fans are those of one expert. The kernels are drawn together: the same
            # initializer called once per expert would make all experts equal.
            limit = (6.0 / (width + units)) ** 0.5
            shape = [self.num_experts, width, units]
            if index == 0:
                # Experts beside each other, as the columns of one wide kernel.
                shape = [width, self.num_experts, units]
            self.kernels.append(
                self.add_weight(
                    name=f"kernel_{index}",
                    shape=shape,
                    initializer=keras.initializers.RandomUniform(-limit, limit),
                )
            )
            self.biases.append(
                self.add_weight(
                    name=f"bias_{index}",
                    shape=(self.num_experts, units),
                    initializer="zeros",
                )
            )
            width = units

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        width = inputs.shape[-1]
        x = ops.reshape(inputs, (-1, width))
        x = ops.matmul(x, ops.reshape(self.kernels[0], (width, -1)))
        x = ops.reshape(x, (-1, self.num_experts, self.units[0]))
        x = self._after(ops.add(x, self.biases[0]), training)
        if len(self.units) > 1:
            x = ops.transpose(x, (1, 0, 2))
            for kernel, bias in zip(self.kernels[1:], self.biases[1:], strict=True):
                x = ops.matmul(x, kernel)
                x = self._after(ops.add(x, ops.expand_dims(bias, 1)), training)
            x = ops.transpose(x, (1, 0, 2))
        batch_axes = ops.shape(inputs)[:-1]
        return ops.reshape(x, (*batch_axes, self.num_experts, self.units[-1]))

    def _after(self, x, training):
        x = self.activation(x)
        return x if self._drop is None else self._drop(x, training=training)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.num_experts, self.units[-1])

    def get_config(self):
        return {
            **super().get_config(),
            "num_experts": self.num_experts,
            "units": list(self.units),
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout,
        }
