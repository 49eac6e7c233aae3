"""Cross-stitch unit: a learned mixture of the towers' features."""

import keras
import numpy as np
from keras import ops

from keras_mtl.layers.tower_unit import TowerUnit, own_and_others
from keras_mtl.utils.checks import check_choice, check_share
from keras_mtl.utils.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mtl")
class CrossStitchUnit(TowerUnit):
    """Mixes the features of all towers into those of one.

    With `mixing="channel"` every channel has one factor per tower, with
    `mixing="full"` every pair of channels has:

        x_c = Σ_j α_jc h_jc                x_c = Σ_j Σ_d α_jdc h_jd

    Both start with `own_weight` for the tower's own channel and equal shares of the
    rest for the same channel of the others.

    Args:
        task: Index of the tower that goes on.
        mixing: `"channel"` or `"full"`.
        own_weight: Number from 0 to 1.

    Call arguments:
        inputs: List of tensors of one shape `(batch, …, channels)`, one per tower.

    Returns:
        Tensor of the shape of one input.

    Raises:
        ValueError: For an unknown `mixing`, or `own_weight` outside of 0 to 1.

    Example:
    >>> unit = CrossStitchUnit(task=0)
    >>> mixed = unit([ops.ones((1, 2)), ops.zeros((1, 2))])
    >>> ops.convert_to_numpy(mixed)
    array([[0.9, 0.9]], dtype=float32)

    Reference:
        - [Misra et al., 2016](https://arxiv.org/abs/1604.03539), equation 1.
    """

    def __init__(
        self, task: int, mixing: str = "channel", own_weight: float = 0.9, **kwargs
    ):
        super().__init__(task, **kwargs)
        self.mixing = check_choice("mixing", mixing, ("channel", "full"))
        self.own_weight = check_share("own_weight", own_weight)

    def build(self, input_shape):
        channels = input_shape[0][-1]
        own, other = own_and_others(self.own_weight, len(input_shape) - 1)
        start = np.full((len(input_shape), channels), other)
        start[self.task] = own
        if self.mixing == "full":
            start = np.concatenate([np.diag(row) for row in start])
        self.alpha = self.add_weight(
            name="alpha",
            shape=start.shape,
            initializer=lambda shape, dtype: ops.convert_to_tensor(start, dtype),
        )

    def call(self, inputs: list[Tensor]) -> Tensor:
        if self.mixing == "full":
            return ops.matmul(ops.concatenate(inputs, axis=-1), self.alpha)
        factors = ops.unstack(self.alpha, len(inputs))
        return sum(x * factor for x, factor in zip(inputs, factors, strict=True))

    def get_config(self):
        return {
            **super().get_config(),
            "mixing": self.mixing,
            "own_weight": self.own_weight,
        }
