"""IMTL-L: learned factors that bring all losses to one."""

import numpy as np
from keras import ops

from keras_mtl.utils.types import Tensor
from keras_mtl.weightings.weighting import LossWeighting, registry


def imtl_l_objective(losses: Tensor, active: Tensor, scales: Tensor) -> Tensor:
    """Sum over active tasks of `exp(s) * loss - s`.

    Args:
        losses: Tensor of shape `(num_tasks,)`.
        active: Boolean tensor of shape `(num_tasks,)`.
        scales: Tensor of shape `(num_tasks,)`, `s`, the logarithms of the weights.

    Returns:
        Scalar tensor.

    Example:
    >>> float(imtl_l_objective(
    ...     ops.array([2.0, 1.0]), ops.array([True, True]), ops.array([0.0, 0.0])))
    3.0

    Reference:
        - [Liu et al., 2021](https://openreview.net/forum?id=IMPnRXEWpvr), section
          3.2.
    """
    terms = ops.exp(scales) * losses - scales
    return ops.sum(ops.where(active, terms, ops.zeros_like(terms)))


@registry.register("imtl_l")
class IMTLL(LossWeighting):
    """Learns one factor per task, which keeps every weighted loss near 1.

    The objective is the sum of `exp(s) L - s`, where `s` starts from 0. The optimizer
    updates `s` without weight decay, clipping or averaging.

    Guarantee: At the best `s`, `-log L`, every weighted loss is 1, and multiplying a
        loss by a constant changes nothing.
    Needs: Losses, which must be positive, and one variable per task.
    Cost: One backward pass, `O(num_tasks)` more, one variable per task.
    When: Losses of different units, alone or beside IMTL-G, which it completes. Not
        where the learning rate is too low for `s` to follow, or where a small loss
        means that a task is done.

    Example:
    >>> objective, _ = IMTLL().objective(
    ...     ops.array([2.0, 1.0]), ops.array([True, True]),
    ...     {"scales": ops.zeros(2)}, {}, seed=None)
    >>> float(objective)
    3.0

    Reference:
        - [Liu et al., 2021](https://openreview.net/forum?id=IMPnRXEWpvr), section
          3.2 (loss balance).
    """

    def init(self, tasks):
        return {"scales": np.zeros(len(tasks))}, {}

    def objective(self, losses, active, variables, state, seed):
        return imtl_l_objective(losses, active, variables["scales"]), state
