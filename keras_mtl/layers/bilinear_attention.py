"""Attention whose score is a bilinear form."""

import keras
from keras import layers, ops

from keras_mtl.utils.precision import in_single
from keras_mtl.utils.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mtl")
class BilinearAttention(keras.layers.Layer):
    """Every query gets the mean of the keys, by weights from a bilinear form.

        s_ij = q_iᵀ W k_j        a_i = softmax over j of s_i        y_i = Σ_j a_ij k_j

    Call arguments:
        queries: Tensor of shape `(batch, queries, width)`.
        keys: Tensor of shape `(batch, keys, channels)`.
        keys_mask: Optional boolean tensor `(batch, keys)`, which keys are real;
            by default the mask that Keras has for them.

    Returns:
        Tensor of shape `(batch, queries, channels)`.

    Example:
    >>> BilinearAttention()(ops.ones((2, 5, 3)), ops.ones((2, 7, 4))).shape
    TensorShape([2, 5, 4])

    Reference:
        - [Luong et al., 2015](https://arxiv.org/abs/1508.04025), the score "general".
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, queries_shape, keys_shape):
        self.product = layers.Dense(
            keys_shape[-1], use_bias=False, dtype=self.dtype_policy, name="product"
        )
        self.product.build(queries_shape)

    def call(
        self, queries: Tensor, keys: Tensor, keys_mask: Tensor | None = None
    ) -> Tensor:
        scores = ops.matmul(self.product(queries), ops.swapaxes(keys, 1, 2))
        scores = in_single(scores)
        if keys_mask is not None:
            real = ops.expand_dims(ops.cast(keys_mask, scores.dtype), axis=1)
            scores = scores + (real - 1.0) * 1e9
        # `ops.softmax` warns of a single key.
        weights = ops.exp(scores - ops.logsumexp(scores, axis=-1, keepdims=True))
        return ops.matmul(ops.cast(weights, keys.dtype), keys)

    def compute_output_shape(self, queries_shape, keys_shape):
        return (*queries_shape[:-1], keys_shape[-1])
