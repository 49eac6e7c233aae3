"""Turns one score into the logits of "above class k", for ordered classes."""

import math

import keras
from keras import ops

from keras_mtl.utils.types import Tensor

_STEP = 2.0  # between two thresholds at the start
_STEP_VARIABLE = math.log(math.expm1(_STEP))  # of which it is the softplus


@keras.saving.register_keras_serializable(package="keras_mtl")
class OrderedThresholds(keras.layers.Layer):
    """Logits `score - threshold_k` with thresholds that increase with `k`.

    The first threshold is free, every further one adds a positive step
    (`softplus` of its own variable), so the probabilities of "above class k"
    never increase with `k`, during training too.

    They start 2 apart and around 0, so that every class is the most probable one for
    some scores. Of three classes the middle one never is while the step is below
    2 ln 2, and fine-tuning has rates that hardly move the thresholds.

    Args:
        num_thresholds: Integer, number of classes minus one.

    Call arguments:
        inputs: Tensor of shape `(batch, 1)`, the score.

    Returns:
        Tensor of shape `(batch, num_thresholds)`.

    Reference:
        - [McCullagh, 1980](https://doi.org/10.1111/j.2517-6161.1980.tb01109.x),
          the proportional-odds model.
    """

    def __init__(self, num_thresholds: int, **kwargs):
        super().__init__(**kwargs)
        self.num_thresholds = num_thresholds

    def build(self, input_shape):
        steps = self.num_thresholds - 1
        constant = keras.initializers.Constant
        self.first = self.add_weight(
            name="first", shape=(1,), initializer=constant(-_STEP * steps / 2)
        )
        self.steps = self.add_weight(
            name="steps", shape=(steps,), initializer=constant(_STEP_VARIABLE)
        )

    def call(self, inputs: Tensor) -> Tensor:
        steps = ops.concatenate([self.first, ops.softplus(self.steps)])
        return inputs - ops.cumsum(steps)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.num_thresholds)

    def get_config(self):
        return {**super().get_config(), "num_thresholds": self.num_thresholds}
