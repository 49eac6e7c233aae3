"""A sum of modalities whose weights depend on all of them."""

import keras
from keras import layers, ops

from keras_mtl.utils.checks import check_count
from keras_mtl.utils.precision import in_single
from keras_mtl.utils.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mtl")
class GatedSum(keras.layers.Layer):
    """Adds the modalities, unit by unit, with weights that a gate gives.

        h_m = tanh(W_m x_m + b_m)
        z   = softmax over m of (V_m [x_1, …, x_M] + c_m)
        y   = Σ_m z_m h_m

    With two modalities this is the gate of Arevalo et al., whose sigmoid is a softmax
    of two; they leave out `b` and `c`. A modality that an example lacks gets weight 0.

    Args:
        units: Width of the sum.

    Call arguments:
        inputs: List of M tensors `(batch, width_m)`.
        present: Optional list of M boolean tensors `(batch,)`.

    Returns:
        Tensor of shape `(batch, units)`; zeros for an example that lacks all.

    Example:
    >>> GatedSum(4)([ops.ones((2, 3)), ops.ones((2, 5))]).shape
    TensorShape([2, 4])

    Reference:
        - [Arevalo et al., 2017](https://arxiv.org/abs/1702.01992), equations 1 to 4.
    """

    def __init__(self, units: int, **kwargs):
        super().__init__(**kwargs)
        self.units = check_count("units", units)

    def build(self, input_shape):
        number = len(input_shape)
        policy = self.dtype_policy
        self.transforms = [
            layers.Dense(
                self.units, activation="tanh", dtype=policy, name=f"transform_{index}"
            )
            for index in range(number)
        ]
        for transform, shape in zip(self.transforms, input_shape, strict=True):
            transform.build(shape)
        self.gate = layers.Dense(number * self.units, dtype=policy, name="gate")
        self.gate.build((None, sum(shape[-1] for shape in input_shape)))

    def call(self, inputs: list[Tensor], present: list[Tensor] | None = None) -> Tensor:
        hidden = [h(x) for h, x in zip(self.transforms, inputs, strict=True)]
        values = ops.stack(hidden, axis=1)
        scores = self.gate(ops.concatenate(inputs, axis=-1))
        scores = in_single(ops.reshape(scores, (-1, len(inputs), self.units)))
        if present is None:
            gates = ops.softmax(scores, axis=1)
        else:
            there = ops.stack(
                [ops.cast(flag, scores.dtype) for flag in present], axis=1
            )
            there = ops.expand_dims(there, axis=-1)
            gates = ops.softmax(scores + (there - 1.0) * 1e9, axis=1) * there
        return ops.sum(ops.cast(gates, values.dtype) * values, axis=1)

    def compute_output_shape(self, input_shape):
        return (input_shape[0][0], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units}
