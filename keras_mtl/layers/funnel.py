"""Two ways in which the probability of a step of a funnel depends on the one before."""

import keras
from keras import ops

from keras_mtl.utils.checks import check_non_negative
from keras_mtl.utils.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mtl")
class ProbabilityProduct(keras.layers.Layer):
    """The logit of the product of the probabilities that two logits stand for.

        σ(outputs) = σ(a) σ(b),   so   outputs = -log(e^-a + e^-b + e^-(a + b))

    The sum of exponentials is computed without overflow, so that neither a tiny
    product nor one near 1 loses its digits, as a product of probabilities would.

    Call arguments:
        inputs: List of two tensors of logits of one shape.

    Returns:
        Tensor of logits of that shape; never above either of the two.

    Example:
    >>> logits = ProbabilityProduct()([ops.zeros((1, 1)), ops.zeros((1, 1))])
    >>> round(float(ops.sigmoid(logits)[0, 0]), 6)
    0.25
    """

    def call(self, inputs: list[Tensor]) -> Tensor:
        first, second = inputs
        terms = ops.stack([-first, -second, -(first + second)], axis=-1)
        return -ops.logsumexp(terms, axis=-1)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[0])


@keras.saving.register_keras_serializable(package="keras_mtl")
class MonotonePenalty(keras.layers.Layer):
    """Returns a logit as it is, with a loss where it is above another's.

        loss = weight * mean(max(0, σ(own) - σ(earlier)))

    The loss is added in training and in evaluation, as a regulariser's is. On several
    replicas it is the mean of their means, which is exact where all hold as many
    examples.

    Args:
        weight: Number `>= 0`.

    Call arguments:
        inputs: List of two tensors of logits of one shape: of the earlier step, and
            of this one.

    Returns:
        The second tensor.

    Example:
    >>> layer = MonotonePenalty(2.0)
    >>> _ = layer([ops.array([[0.0], [9.0]]), ops.array([[9.0], [9.0]])])
    >>> [round(float(loss), 3) for loss in layer.losses]
    [0.5]

    Reference:
        - [Xi et al., 2021](https://arxiv.org/abs/2105.08489), the behavioral
          expectation calibrator.
    """

    def __init__(self, weight: float, **kwargs):
        super().__init__(**kwargs)
        self.weight = check_non_negative("weight", weight)

    def call(self, inputs: list[Tensor]) -> Tensor:
        earlier, own = inputs
        above = ops.relu(ops.sigmoid(own) - ops.sigmoid(earlier))
        self.add_loss(self.weight * ops.mean(above))
        return own

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[1])

    def get_config(self):
        return {**super().get_config(), "weight": self.weight}
