"""Training with modalities left out, so that a model learns to do without."""

import keras
from keras import ops

from keras_mtl.utils.checks import check_decay
from keras_mtl.utils.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mtl")
class ModalityDropout(keras.layers.Layer):
    """Takes modalities away from some examples in training, but never the last one.

    Args:
        rate: Probability with which an example loses each of its modalities.
        seed: Seed of the draws.

    Call arguments:
        inputs: List of boolean tensors `(batch,)`, one per modality: which examples
            have it.

    Returns:
        List of boolean tensors `(batch,)`; the same ones outside of training.

    Example:
    >>> flags = [ops.array([True, False]), ops.array([True, True])]
    >>> [ops.convert_to_numpy(flag).tolist() for flag in ModalityDropout(0.5)(flags)]
    [[True, False], [True, True]]

    Reference:
        - [Neverova et al., 2015](https://arxiv.org/abs/1501.00102), section 4.3.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.rate = check_decay("rate", rate)
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: list[Tensor], training: bool | None = None) -> list[Tensor]:
        there = ops.stack([ops.cast(flag, "bool") for flag in inputs], axis=-1)
        if not training or not self.rate:
            return ops.unstack(there, axis=-1)
        draws = keras.random.uniform(ops.shape(there), seed=self.generator)
        draws = ops.where(there, draws, -1.0)
        # Of those that there are, the one with the highest draw stays in any case.
        highest = ops.equal(draws, ops.max(draws, axis=-1, keepdims=True))
        kept = ops.logical_or(draws >= self.rate, highest)
        return ops.unstack(ops.logical_and(there, kept), axis=-1)

    def compute_output_shape(self, input_shape):
        return list(input_shape)

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
