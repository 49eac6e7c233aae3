"""Dense layers on several axes by one matrix product."""

import math

import keras
import tensorflow as tf
from keras import ops

from keras_mtl.utils.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mtl")
class EinsumDense(keras.layers.EinsumDense):
    """`keras.layers.EinsumDense`, by one product of matrices where that is the same.

    `"rows… inner…, inner… outer… -> rows… outer…"`, as the projections of attention
    are: `activation(inputs @ kernel + bias)` with the axes of each kind laid out as
    one. Keras' own layer makes of it one product per example, and sums the kernel's
    gradient over them. Variables, names, configuration and numbers are those of
    Keras' layer.

    What `falls_back` names is computed as Keras does.

    Args:
        **kwargs: As of `keras.layers.EinsumDense`.

    Cost:
        One product of `(rows, inner)` and `(inner, outer)`.

    Example:
    >>> layer = EinsumDense("abc,cde->abde", output_shape=(None, 2, 4), bias_axes="de")
    >>> layer(keras.ops.ones((1, 5, 3))).shape
    TensorShape([1, 5, 2, 4])
    """

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        kernel = ops.convert_to_tensor(self.kernel)
        if self.falls_back(self) or kernel.dtype != inputs.dtype:
            return super().call(inputs, training=training)
        inner = _inner_axes(self.equation)
        size = math.prod(kernel.shape[:inner])
        outputs = tf.matmul(
            tf.reshape(inputs, [-1, size]), tf.reshape(kernel, [size, -1])
        )
        if self.bias is not None:
            bias = ops.cast(self.bias, outputs.dtype)
            outputs = tf.nn.bias_add(outputs, tf.reshape(bias, [-1]))
        rows = ops.shape(inputs)[:-inner]
        outputs = tf.reshape(outputs, [*rows, *kernel.shape[inner:]])
        return outputs if self.activation is None else self.activation(outputs)

    @staticmethod
    def falls_back(layer: keras.layers.EinsumDense) -> str | None:
        """Why a built layer of this configuration computes as Keras does.

        Args:
            layer: Keras' layer or this one.

        Returns:
            The reason, or `None` if one product does it.
        """
        if layer.lora_enabled or layer.quantization_mode:
            return "its kernel is quantised, or has Keras' own LoRA"
        inner = _inner_axes(layer.equation)
        if not inner:
            return f"equation={layer.equation!r} is no product of matrices"
        if layer.bias is not None and layer.bias.shape != layer.kernel.shape[inner:]:
            return "the bias lacks axes of the outputs"
        return None


def _inner_axes(equation):
    """How many axes of the kernel are summed over; 0 if it is no plain product."""
    operands, result = equation.replace(" ", "").split("->")
    inputs, kernel = operands.split(",")
    inner = sum(axis not in result for axis in kernel)
    plain = inputs.endswith(kernel[:inner]) and result == (
        inputs[: len(inputs) - inner] + kernel[inner:]
    )
    return inner if plain and not set(kernel[inner:]) & set(inputs) else 0
