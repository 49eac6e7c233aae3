"""Uncertainty weighting: every task learns the noise of its labels."""

import numpy as np
from keras import ops

from keras_mtl.utils.types import State, Tensor
from keras_mtl.weightings.weighting import LossWeighting, registry


def uncertainty_objective(
    losses: Tensor, active: Tensor, log_variances: Tensor, factors: Tensor
) -> Tensor:
    """Sum over active tasks of `factor * exp(-s) * loss + s / 2`.

    Args:
        losses: Tensor of shape `(num_tasks,)`.
        active: Boolean tensor of shape `(num_tasks,)`.
        log_variances: Tensor of shape `(num_tasks,)`, `s = log σ²`.
        factors: Tensor of shape `(num_tasks,)`: 1/2 where the loss is that of a
            Gaussian likelihood (squared error), 1 for a classification.

    Returns:
        Scalar tensor.

    Example:
    >>> s = ops.array([0.0, 0.0])
    >>> both = ops.array([True, True])
    >>> float(uncertainty_objective(
    ...     ops.array([2.0, 1.0]), both, s, ops.array([0.5, 1.0])))
    2.0

    Reference:
        - [Kendall et al., 2018](https://arxiv.org/abs/1705.07115), equations 7
          and 10.
    """
    terms = factors * ops.exp(-log_variances) * losses + log_variances / 2.0
    return ops.sum(ops.where(active, terms, ops.zeros_like(terms)))


@registry.register("uncertainty")
class Uncertainty(LossWeighting):
    """Learns the noise of every task's labels, and weighs by its inverse.

    One log-variance per task, starting from 0: `uncertainty_objective`. Whether a task
    counts as a regression or a classification follows from its head. The optimizer
    updates the log-variances without weight decay, clipping or averaging.

    Guarantee: None.

    Needs: Losses that are likelihoods: squared errors or cross-entropies.

    Cost: One backward pass, `O(num_tasks)` algebra, one variable per task.

    When: Losses have different units and there is no time to tune weights. A task
        whose loss nears zero gets ever more weight.

    Example:
    >>> Uncertainty().get_config()
    {}

    Reference:
        - [Kendall et al., 2018](https://arxiv.org/abs/1705.07115), equations 7
          and 10; log-variances, as the paper advises.
    """

    def init(self, tasks):
        factors = [0.5 if t.head.likelihood == "gaussian" else 1.0 for t in tasks]
        zeros = np.zeros(len(tasks))
        return {"log_variances": zeros}, {"factors": np.array(factors)}

    def objective(
        self, losses, active, variables: State, state: State, seed
    ) -> tuple[Tensor, State]:
        objective = uncertainty_objective(
            losses, active, variables["log_variances"], state["factors"]
        )
        return objective, state
