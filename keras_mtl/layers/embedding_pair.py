"""Two embeddings of an example, ready to be compared with those of others."""

import math

import keras
from keras import ops

from keras_mtl.utils.types import Tensor

_MOST = 100.0


@keras.saving.register_keras_serializable(package="keras_mtl")
class EmbeddingPair(keras.layers.Layer):
    """Stacks two vectors, each of length `1 / √temperature`.

    The inner product of two such vectors is their cosine over the temperature, the
    logit of a contrastive loss.

    Args:
        temperature: Number above 0.01, or its first value.
        learn_temperature: Whether it is learned, as the logarithm of its inverse,
            which is kept below `log 100`.

    Call arguments:
        inputs: List of two tensors of shape `(batch, width)`.

    Returns:
        Tensor of shape `(batch, 2, width)`.

    Example:
    >>> pair = EmbeddingPair(temperature=0.25)
    >>> ops.convert_to_numpy(pair([ops.array([[3.0, 0.0]]), ops.array([[0.0, 1.0]])]))
    array([[[2., 0.],
            [0., 2.]]], dtype=float32)

    Reference:
        - [Radford et al., 2021](https://arxiv.org/abs/2103.00020), section 2.5, for the
          temperature.
    """

    def __init__(
        self, temperature: float = 0.07, learn_temperature: bool = False, **kwargs
    ):
        super().__init__(**kwargs)
        self.temperature = temperature
        self.learn_temperature = learn_temperature

    def build(self, input_shape):
        if self.learn_temperature:
            first = keras.initializers.Constant(-math.log(self.temperature))
            self.log_scale = self.add_weight(
                name="log_scale", shape=(), initializer=first
            )

    def call(self, inputs: list[Tensor]) -> Tensor:
        stacked = ops.stack(inputs, axis=1)
        unit = ops.normalize(stacked, axis=-1, epsilon=1e-12)
        if not self.learn_temperature:
            return unit * self.temperature**-0.5
        log_scale = ops.minimum(ops.convert_to_tensor(self.log_scale), math.log(_MOST))
        return unit * ops.exp(log_scale / 2.0)

    def compute_output_shape(self, input_shape):
        batch, width = input_shape[0]
        return (batch, 2, width)

    def get_config(self):
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "learn_temperature": self.learn_temperature,
        }
