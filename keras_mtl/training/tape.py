"""The tape of the step: backward passes of one sum, and of all tasks together."""

import dataclasses

import keras
import tensorflow as tf
from keras import ops

from keras_mtl.utils.types import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Tap:
    """A call of a dense layer, where the tape was cut.

    Attributes:
        variable: The kernel.
        inputs: Tensor of shape `(rows, inputs)`.
        kernel: The kernel as it was used, of shape `(inputs, units)`.
        outputs: Their product, of shape `(rows, units)`, as a source of the tape.
    """

    variable: keras.Variable
    inputs: Tensor
    kernel: Tensor
    outputs: Tensor

    def gradient(self, slope: Tensor) -> Tensor:
        """Gradient of the kernel, from that of the outputs."""
        product = tf.matmul(self.inputs, slope, transpose_a=True)
        return tf.cast(product, self.variable.dtype)

    def back(self, slopes: list[Tensor | None]) -> list[Tensor | None]:
        """Gradients of the inputs, from those of the outputs, by one product."""
        present = [slope for slope in slopes if slope is not None]
        if not present:
            return slopes
        together = tf.matmul(tf.concat(present, 0), self.kernel, transpose_b=True)
        parts = iter(tf.split(together, len(present)))
        return [None if slope is None else next(parts) for slope in slopes]


class Tape:
    """A persistent tape, cut at dense layers, which all tasks pass together.

    A backward pass per task goes through a dense layer with a product of its own,
    `slope @ kernelᵀ`. Cut there, the tape gives the slopes of every task at the
    layer's outputs; one product of all of them together, which a processor does
    faster, gives those at its inputs, and the tape goes on. What is between two
    such layers is the tape's. The kernels' gradients are `inputsᵀ @ slope`, and may
    be left as these two factors.

    Args:
        layers: Layers that `can_be_cut`; their calls on matrices are.
    """

    def __init__(self, layers: list[keras.layers.Dense]):
        self.taps: list[Tap] = []
        self._layers = layers
        self._tape = tf.GradientTape(persistent=True)

    def __enter__(self) -> "Tape":
        self._tape.__enter__()
        self._graph = _graph()
        for layer in self._layers:
            layer.__dict__["call"] = self._cut(layer)
        return self

    def __exit__(self, *error) -> None:
        for layer in self._layers:
            del layer.__dict__["call"]
        self._tape.__exit__(*error)

    def _cut(self, layer):
        """`keras.layers.Dense.call`, with the tape cut before the bias."""

        def call(inputs, training=None):
            if inputs.shape.rank != 2 or _graph() is not self._graph:
                return type(layer).call(layer, inputs, training)
            kernel = tf.cast(layer.kernel.value, inputs.dtype)
            outputs = tf.stop_gradient(tf.matmul(inputs, kernel))
            self._tape.watch(outputs)
            self.taps.append(Tap(layer.kernel, inputs, kernel, outputs))
            if layer.bias is not None:
                outputs = ops.add(outputs, layer.bias)
            return outputs if layer.activation is None else layer.activation(outputs)

        return call

    def gradient(self, outputs: list, seeds: list, variables: list) -> list:
        """One backward pass: the sum over outputs of `seedᵀ ∂output / ∂variable`.

        Args:
            outputs: Tensors.
            seeds: Tensors of the same shapes.
            variables: Keras variables, or tensors that the tape has seen.
        """
        (found,), slopes = self.gradients([outputs], [seeds], [variables])
        for tap, (slope,) in zip(self.taps, slopes, strict=True):
            for position, variable in enumerate(variables):
                if variable is tap.variable and slope is not None:
                    found[position] = add(found[position], tap.gradient(slope))
        return found

    def gradients(
        self, outputs: list[list], seeds: list[list], variables: list[list]
    ) -> tuple[list[list], list[list]]:
        """Several backward passes, together where the tape was cut.

        Args:
            outputs: Per pass, tensors.
            seeds: Per pass, tensors of the same shapes.
            variables: Per pass, Keras variables or tensors.

        Returns:
            Per pass, the gradients of its variables, without what kernels get by
            the calls of their layers; and per tap, the slope at its outputs in every
            pass. `None` where nothing arrives.
        """
        found: list[list] = [[None] * len(wanted) for wanted in variables]
        slopes: list[list] = [[None] * len(outputs) for _ in self.taps]

        def descend(row, targets, target_seeds, earlier):
            cuts = [tap.outputs for tap in self.taps[:earlier]]
            sources = cuts + raw(variables[row])
            if not targets or not sources:
                return
            arrived = self._tape.gradient(targets, sources, target_seeds)
            for position, slope in enumerate(arrived[:earlier]):
                slopes[position][row] = add(slopes[position][row], slope)
            for position, gradient in enumerate(arrived[earlier:]):
                found[row][position] = add(found[row][position], gradient)

        for row, pair in enumerate(zip(outputs, seeds, strict=True)):
            descend(row, *pair, len(self.taps))
        for position, tap in reversed(list(enumerate(self.taps))):
            for row, seed in enumerate(tap.back(slopes[position])):
                if seed is not None:
                    descend(row, [tap.inputs], [seed], position)
        return found, slopes


def raw(variables: list) -> list:
    """The TensorFlow variables behind Keras variables; tensors as they are."""
    return [v.value if isinstance(v, keras.Variable) else v for v in variables]


def add(gradient: Tensor | None, other: Tensor | None) -> Tensor | None:
    """Sum of two gradients, either of which may be absent."""
    if gradient is None or other is None:
        return other if gradient is None else gradient
    return tf.convert_to_tensor(gradient) + tf.convert_to_tensor(other)


def can_be_cut(layer: keras.layers.Layer) -> bool:
    """Whether it is a plain `Dense` layer, whose call a `Tape` knows."""
    return (
        type(layer) is keras.layers.Dense
        and not (layer.lora_enabled or layer.quantization_mode)
        and getattr(layer, "_remat_mode", None) is None
    )


def _graph():
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
