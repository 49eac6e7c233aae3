"""Weighted sums over experts."""

import keras
from keras import ops

from keras_mtl.utils.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mtl")
class Mixture(keras.layers.Layer):
    """The sum of experts by the weights of a gate: `Σ_e weights_e experts_e`.

    Call arguments:
        inputs: List of the weights, of shape `(batch, ..., num_experts)`, and of one
            or several banks of experts, of shape `(batch, ..., experts, units)`.
            The weights belong to the banks in their order.

    Returns:
        Tensor of shape `(batch, ..., units)`.

    Raises:
        ValueError: If the banks do not hold as many experts as there are weights,
            or their widths differ.

    Example:
    >>> weights = ops.array([[0.5, 0.5, 2.0]])
    >>> two, one = ops.array([[[1.0], [3.0]]]), ops.array([[[10.0]]])
    >>> ops.convert_to_numpy(Mixture()([weights, two, one])).tolist()
    [[22.0]]
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape):
        weights, *banks = input_shape
        experts = [bank[-2] for bank in banks]
        if sum(experts) != weights[-1] or len({bank[-1] for bank in banks}) > 1:
            raise ValueError(
                f"Expected banks of {weights[-1]} experts in all, of one width. "
                f"Received: shapes of the banks {[tuple(bank) for bank in banks]}"
            )

    def call(self, inputs: list[Tensor]) -> Tensor:
        weights, *banks = inputs
        ends = [bank.shape[-2] for bank in banks]
        ends = [sum(ends[:count]) for count in range(1, len(ends))]
        parts = ops.split(weights, ends, axis=-1) if ends else [weights]
        mixed = [
            ops.sum(ops.expand_dims(part, -1) * bank, axis=-2)
            for part, bank in zip(parts, banks, strict=True)
        ]
        return sum(mixed[1:], mixed[0])

    def compute_mask(self, inputs, previous_mask=None):
        # Weights and experts come from the same tokens.
        return None if previous_mask is None else previous_mask[0]

    def compute_output_shape(self, input_shape):
        return (*input_shape[1][:-2], input_shape[1][-1])
