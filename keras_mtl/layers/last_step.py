"""The last state of a sequence of states."""

import keras
from keras import ops

from keras_mtl.utils.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mtl")
class LastStep(keras.layers.Layer):
    """Takes the step of a sequence at which a recurrent layer has seen all of it.

    That is the last step that is not masked or, for units that run backwards, the
    first one.

    Args:
        backward_units: Number of units, at the end of the last axis, that run
            backwards.

    Call arguments:
        inputs: Tensor of shape `(batch, steps, units)`.
        mask: Optional boolean tensor of shape `(batch, steps)`, True at the steps
            that count; Keras passes it on from layer to layer.

    Returns:
        Tensor of shape `(batch, units)`. Where all steps are masked, it is that of
        an end.

    Example:
    >>> x = ops.reshape(ops.arange(6.0), (1, 3, 2))
    >>> mask = ops.array([[True, True, False]])
    >>> ops.convert_to_numpy(LastStep()(x, mask=mask))
    array([[2., 3.]], dtype=float32)
    """

    def __init__(self, backward_units: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.backward_units = backward_units
        self.supports_masking = True

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        steps = ops.shape(inputs)[1]
        if mask is None:
            mask = ops.ones_like(inputs[..., 0], dtype="bool")
        mask = ops.cast(mask, "int32")
        forward = inputs.shape[-1] - self.backward_units
        last = steps - 1 - ops.argmax(ops.flip(mask, axis=1), axis=1)
        parts = [_at(inputs[..., :forward], last)]
        if self.backward_units:
            parts.append(_at(inputs[..., forward:], ops.argmax(mask, axis=1)))
        return ops.concatenate(parts, axis=-1)

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[-1])

    def get_config(self):
        return {**super().get_config(), "backward_units": self.backward_units}


def _at(sequence, steps):
    index = ops.reshape(ops.cast(steps, "int32"), (-1, 1, 1))
    return ops.squeeze(ops.take_along_axis(sequence, index, axis=1), axis=1)
