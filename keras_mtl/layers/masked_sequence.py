"""Says what of a sequence is padding."""

import keras


@keras.saving.register_keras_serializable(package="keras_mtl")
class MaskedSequence(keras.layers.Layer):
    """The sequence as it is, with a padding mask as Keras' mask on it.

    For backbones whose mask is an input, as those of keras-hub: later layers (pooling,
    attention, `heads.SequenceToSequence`) then find it.

    Call arguments:
        inputs: List of the sequence `(batch, length, width)` and its mask, boolean or
            0 and 1, `(batch, length)`, False at padding.

    Example:
    >>> ids = keras.Input((None,), dtype="int32", name="token_ids")
    >>> mask = keras.Input((None,), dtype="bool", name="padding_mask")
    >>> sequence = keras.layers.Embedding(9, 4)(ids)
    >>> features = {"sequence": MaskedSequence()([sequence, mask])}
    >>> backbone = keras.Model({"token_ids": ids, "padding_mask": mask}, features)
    """

    def call(self, inputs):
        # A tensor of its own: the one that came in keeps the mask that it has.
        return keras.ops.copy(inputs[0])

    def compute_mask(self, inputs, previous_mask):
        return keras.ops.cast(inputs[1], "bool")

    def compute_output_shape(self, input_shape):
        return input_shape[0]
