"""An encoder for an input that not every example of a batch has."""

from typing import Any

import keras
import tensorflow as tf

from keras_mtl.utils.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mtl")
class PresentRows(keras.layers.Layer):
    """Runs a model on the examples that have its input, and on no other.

    Batch statistics are those of these examples, and nothing is computed for the
    others: their features are zero. A batch in which no example has the input leaves
    the statistics as they are.

    Encoders that end in features of one shape are joined by a sum; what comes after it
    sees every example of the batch.

    Args:
        encoder: A built Keras model or layer, of one tensor or of a structure.

    Call arguments:
        inputs: What the encoder takes; the first axis is the batch.
        present: Boolean tensor of shape `(batch,)`; `keras_mtl.data.mix` gives it as
            `"<input>_present"`.

    Returns:
        What the encoder gives, for the whole batch, zero where the input is absent.

    Raises:
        ValueError: If the encoder is not built, or has a BatchNormalization with
            `synchronized=True`, which takes replicas to have equally many examples.

    Cost:
        The encoder's, for the present examples. XLA cannot compile it: the number of
        rows is not known beforehand.

    Example:

    >>> image = keras.Input((4,), name="image")
    >>> text = keras.Input((9,), name="text")
    >>> there = {
    ...     key: keras.Input((), dtype="bool", name=f"{key}_present")
    ...     for key in ("image", "text")
    ... }
    >>> encoders = {
    ...     "image": keras.Sequential([keras.Input((4,)), keras.layers.Dense(8)]),
    ...     "text": keras.Sequential([keras.Input((9,)), keras.layers.Dense(8)]),
    ... }
    >>> joined = keras.layers.Add()(
    ...     [
    ...         PresentRows(encoders["image"])(image, there["image"]),
    ...         PresentRows(encoders["text"])(text, there["text"]),
    ...     ]
    ... )
    >>> joined.shape
    (None, 8)
    """

    def __init__(self, encoder: Any, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(encoder, keras.layers.Layer) or not encoder.built:
            raise ValueError(
                "Expected `encoder` to be a built Keras model or layer. "
                f"Received: encoder={encoder!r}"
            )
        for layer in encoder._flatten_layers():
            if getattr(layer, "synchronized", False):
                raise ValueError(
                    "Expected an encoder without `synchronized=True`, which takes "
                    "every replica to have equally many examples. Received: layer "
                    f"{layer.name!r} of encoder={encoder.name!r}"
                )
        self.encoder = encoder

    def call(self, inputs: Any, present: Tensor, training: bool | None = None):
        present = tf.cast(present, "bool")
        number = tf.shape(present, out_type=tf.int64)[0]
        some = tf.reduce_any(present)
        # Without any, the first example: batch statistics of nothing are NaN.
        stand_in = ~some & (tf.range(number) == 0)
        rows = tf.where(present | stand_in)
        kept = self._kept() if training else []
        before = [tf.convert_to_tensor(variable.value) for variable in kept]
        features = self.encoder(
            keras.tree.map_structure(lambda t: tf.gather_nd(t, rows), inputs),
            training=training,
        )
        for variable, old in zip(kept, before, strict=True):
            new = tf.convert_to_tensor(variable.value)
            variable.assign(tf.where(some, new, old))

        def spread(feature):
            feature = tf.where(some, feature, tf.zeros_like(feature))
            shape = tf.concat([number[None], tf.shape(feature, tf.int64)[1:]], axis=0)
            spread_out = tf.scatter_nd(rows, feature, shape)
            return tf.ensure_shape(spread_out, [None, *feature.shape[1:]])

        return keras.tree.map_structure(spread, features)

    def _kept(self):
        """Variables that the encoder itself moves, such as batch statistics."""
        return self.encoder.non_trainable_variables if self.encoder.trainable else []

    def compute_output_spec(self, inputs, present, training=None):
        return self.encoder.compute_output_spec(inputs)

    def get_config(self):
        encoder = keras.saving.serialize_keras_object(self.encoder)
        return {**super().get_config(), "encoder": encoder}

    @classmethod
    def from_config(cls, config):
        encoder = keras.saving.deserialize_keras_object(config.pop("encoder"))
        return cls(encoder, **config)
