"""What a task of a funnel takes from the task before it."""

import keras
from keras import ops

from keras_mtl.utils.precision import in_single
from keras_mtl.utils.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mtl")
class InformationTransfer(keras.layers.Layer):
    """Attention over two vectors: what comes from the task before, and one's own.

    With `u` in `(transferred, own)`, three linear layers `h_1`, `h_2`, `h_3` and the
    width `d`

        a_u = softmax_u(⟨h_1(u), h_2(u)⟩ / √d)
        outputs = Σ_u a_u h_3(u)

    Call arguments:
        inputs: List of two tensors of the same shape `(batch, ..., width)`: what was
            transferred, and the task's own features.

    Returns:
        Tensor of shape `(batch, ..., width)`.

    Raises:
        ValueError: If the two differ in their width.

    Example:
    >>> layer = InformationTransfer()
    >>> tuple(layer([ops.ones((2, 8)), ops.ones((2, 8))]).shape)
    (2, 8)

    Reference:
        - [Xi et al., 2021](https://arxiv.org/abs/2105.08489), the AIT module.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape):
        widths = [shape[-1] for shape in input_shape]
        if len(widths) != 2 or widths[0] != widths[1]:
            raise ValueError(
                "Expected two inputs of one width: what is transferred, and the "
                f"task's own features. Received: shapes {input_shape}"
            )
        width = widths[0]
        # The three layers beside each other, with the fans of one.
        limit = (3.0 / width) ** 0.5
        self.kernel = self.add_weight(
            name="kernel",
            shape=(width, 3 * width),
            initializer=keras.initializers.RandomUniform(-limit, limit),
        )
        self.bias = self.add_weight(
            name="bias", shape=(3 * width,), initializer="zeros"
        )

    def call(self, inputs: list[Tensor]) -> Tensor:
        both = ops.stack(inputs, axis=-2)
        projected = ops.add(ops.matmul(both, self.kernel), self.bias)
        first, second, values = ops.split(projected, 3, axis=-1)
        scores = ops.sum(in_single(first) * in_single(second), axis=-1)
        shares = ops.softmax(scores / values.shape[-1] ** 0.5)
        shares = ops.cast(ops.expand_dims(shares, -1), values.dtype)
        return ops.sum(shares * values, axis=-2)

    def compute_mask(self, inputs, previous_mask=None):
        return None if previous_mask is None else previous_mask[1]

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[1])
