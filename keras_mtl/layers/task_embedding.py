"""A learned vector that tells a network for which task it works."""

import keras
from keras import ops

from keras_mtl.utils.checks import check_count
from keras_mtl.utils.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mtl")
class TaskEmbedding(keras.layers.Layer):
    """Appends one learned vector, the same for all examples, to its inputs.

    Args:
        embedding_dim: Integer, width of the vector.

    Call arguments:
        inputs: Tensor of shape `(batch, ..., width)`.

    Returns:
        Tensor of shape `(batch, ..., width + embedding_dim)`.

    Example:
    >>> tuple(TaskEmbedding(4)(ops.ones((2, 5))).shape)
    (2, 9)
    """

    def __init__(self, embedding_dim: int, **kwargs):
        super().__init__(**kwargs)
        self.embedding_dim = check_count("embedding_dim", embedding_dim)
        self.supports_masking = True

    def build(self, input_shape):
        self.embedding = self.add_weight(
            name="embedding",
            shape=(self.embedding_dim,),
            # As `keras.layers.Embedding` starts.
            initializer=keras.initializers.RandomUniform(),
        )

    def call(self, inputs: Tensor) -> Tensor:
        shape = (*ops.shape(inputs)[:-1], self.embedding_dim)
        vector = ops.broadcast_to(ops.convert_to_tensor(self.embedding), shape)
        return ops.concatenate([inputs, vector], axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] + self.embedding_dim)

    def get_config(self):
        return {**super().get_config(), "embedding_dim": self.embedding_dim}
