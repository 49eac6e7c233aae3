"""Geometric loss strategy: the geometric mean of the losses."""

from keras import ops

from keras_mtl.utils.types import Tensor
from keras_mtl.weightings.weighting import LossWeighting, registry

_EPSILON = 1e-12  # Keeps the logarithm of a loss of zero finite.


def geometric_mean(losses: Tensor, active: Tensor) -> Tensor:
    """Geometric mean of the losses of the active tasks, `exp(mean log L)`.

    Args:
        losses: Tensor of shape `(num_tasks,)`, of losses that are not negative.
        active: Boolean tensor of shape `(num_tasks,)`.

    Returns:
        Scalar tensor, 0 where no task is active.

    Example:
    >>> float(geometric_mean(ops.array([2.0, 8.0]), ops.array([True, True])))
    4.0

    Reference:
        - [Chennupati et al., 2019](https://arxiv.org/abs/1904.08492), equation 2.
    """
    safe = ops.where(active, ops.maximum(losses, 0.0) + _EPSILON, 1.0)
    count = ops.sum(ops.cast(active, losses.dtype))
    mean = ops.sum(ops.log(safe)) / ops.maximum(count, 1.0)
    return ops.where(ops.any(active), ops.exp(mean), ops.zeros_like(mean))


@registry.register("gls")
class GLS(LossWeighting):
    """Minimises the geometric mean of the losses.

    The weight of a task is `exp(mean log L) / (K L)`: every task counts by the
    relative change of its loss, whatever its unit.

    Guarantee: Multiplying a loss by a constant changes no direction, only the
        length of the gradient.
    Needs: Losses, which must be positive.
    Cost: One backward pass, `O(num_tasks)` more, no state.
    When: Losses of different units that all fall towards zero. Not where a loss may
        reach zero (its task then gets all the weight) or be negative (its task gets
        none).

    Example:
    >>> objective, _ = GLS().objective(
    ...     ops.array([2.0, 8.0]), ops.array([True, True]), {}, {}, seed=None)
    >>> float(objective)
    4.0

    Reference:
        - [Chennupati et al., 2019](https://arxiv.org/abs/1904.08492), equation 2.
          We add 1e-12 to the losses, and take logarithms, where the product of many
          small losses would be zero.
    """

    def objective(self, losses, active, variables, state, seed):
        return geometric_mean(losses, active), state
