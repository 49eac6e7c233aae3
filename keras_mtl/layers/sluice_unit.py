"""Sluice unit: a mixture of the subspaces of all towers; and one of layers."""

import keras
import numpy as np
from keras import ops

from keras_mtl.layers.tower_unit import TowerUnit, own_and_others
from keras_mtl.utils.checks import check_count, check_non_negative, check_share
from keras_mtl.utils.precision import in_single
from keras_mtl.utils.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mtl")
class SluiceUnit(TowerUnit):
    """Mixes the subspaces of all towers' features into those of one.

    A tensor's channels are cut into `num_subspaces` equal slices `h_jr`. Slice `s` of
    the output is

        x_s = Σ_j Σ_r α_sjr h_jr

    with one learned number per pair of slices. It starts with `own_weight` for the
    same slice of the same tower and equal shares of the rest for all others.

    In training, the unit adds the penalty of its own tower's slices,

        orthogonality · Σ_{r < s} mean((h_rᵀ h_s / rows)²)

    to the losses: the squared Frobenius norm of the product of two slices, rows being
    the positions of all examples, over the number of its entries. On several replicas
    it is the mean of that of their shards.

    Args:
        task: Index of the tower that goes on.
        num_subspaces: Number of slices; it must divide the channels.
        own_weight: Number from 0 to 1.
        orthogonality: Number `>= 0`, the weight of the penalty.

    Call arguments:
        inputs: List of tensors of one shape `(batch, …, channels)`, one per tower.

    Returns:
        Tensor of the shape of one input.

    Raises:
        ValueError: For arguments out of range, or channels that cannot be cut so.

    Example:
    >>> unit = SluiceUnit(task=0, own_weight=1.0)
    >>> ops.convert_to_numpy(unit([ops.ones((1, 4)), ops.zeros((1, 4))]))
    array([[1., 1., 1., 1.]], dtype=float32)

    Reference:
        - [Ruder et al., 2019](https://arxiv.org/abs/1705.08142), `α` and the
          orthogonality constraint.
    """

    def __init__(
        self,
        task: int,
        num_subspaces: int = 2,
        own_weight: float = 0.9,
        orthogonality: float = 0.01,
        **kwargs,
    ):
        super().__init__(task, **kwargs)
        self.num_subspaces = check_count("num_subspaces", num_subspaces)
        self.own_weight = check_share("own_weight", own_weight)
        self.orthogonality = check_non_negative("orthogonality", orthogonality)

    def build(self, input_shape):
        channels, slices = input_shape[0][-1], self.num_subspaces
        if channels % slices:
            raise ValueError(
                f"Expected the channels of a stage to be a multiple of `num_subspaces`."
                f" Received: num_subspaces={slices} and {channels} channels in "
                f"{self.name!r}"
            )
        total = len(input_shape) * slices
        own, other = own_and_others(self.own_weight, total - 1)
        start = np.full((slices, total), other)
        for index in range(slices):
            start[index, self.task * slices + index] = own
        self.alpha = self.add_weight(
            name="alpha",
            shape=start.shape,
            initializer=lambda shape, dtype: ops.convert_to_tensor(start, dtype),
        )

    def call(self, inputs: list[Tensor], training: bool | None = None) -> Tensor:
        if training and self.orthogonality and self.num_subspaces > 1:
            self.add_loss(self.orthogonality * self._overlap(inputs[self.task]))
        x = ops.concatenate(inputs, axis=-1)
        sizes = ops.shape(x)[:-1]
        slices = ops.reshape(x, (*sizes, self.alpha.shape[1], -1))
        mixed = ops.matmul(self.alpha, slices)
        return ops.reshape(mixed, (*sizes, inputs[0].shape[-1]))

    def _overlap(self, x):
        rows = ops.reshape(in_single(x), (-1, x.shape[-1]))
        slices = ops.split(rows, self.num_subspaces, axis=-1)
        number = ops.cast(ops.shape(rows)[0], rows.dtype)
        products = [
            ops.matmul(ops.transpose(one), other) / number
            for index, one in enumerate(slices)
            for other in slices[index + 1 :]
        ]
        return sum(ops.mean(ops.square(product)) for product in products)

    def get_config(self):
        return {
            **super().get_config(),
            "num_subspaces": self.num_subspaces,
            "own_weight": self.own_weight,
            "orthogonality": self.orthogonality,
        }


@keras.saving.register_keras_serializable(package="keras_mtl")
class LayerMixture(keras.layers.Layer):
    """A learned mixture of what several layers of one tower give, `x = Σ_k β_k h_k`.

    It starts with `last_weight` for the last one and equal shares of the rest.

    Args:
        last_weight: Number from 0 to 1.

    Call arguments:
        inputs: List of tensors of one shape.

    Returns:
        Tensor of the shape of one input.

    Example:
    >>> mixture = LayerMixture(last_weight=0.5)
    >>> ops.convert_to_numpy(mixture([ops.ones((1, 2)), 3 * ops.ones((1, 2))]))
    array([[2., 2.]], dtype=float32)

    Reference:
        - [Ruder et al., 2019](https://arxiv.org/abs/1705.08142), `β`.
    """

    def __init__(self, last_weight: float = 0.9, **kwargs):
        super().__init__(**kwargs)
        self.last_weight = check_share("last_weight", last_weight)

    def build(self, input_shape):
        last, other = own_and_others(self.last_weight, len(input_shape) - 1)
        start = [other] * (len(input_shape) - 1) + [last]
        self.beta = self.add_weight(
            name="beta",
            shape=(len(start),),
            initializer=lambda shape, dtype: ops.convert_to_tensor(start, dtype),
        )

    def call(self, inputs: list[Tensor]) -> Tensor:
        factors = ops.unstack(self.beta, len(inputs))
        return sum(factor * x for factor, x in zip(factors, inputs, strict=True))

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[-1])

    def compute_mask(self, inputs, previous_mask):
        return None if previous_mask is None else previous_mask[-1]

    def get_config(self):
        return {**super().get_config(), "last_weight": self.last_weight}
