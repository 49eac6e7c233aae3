"""Uncertainty weighting: every task learns the noise of its labels."""

import numpy as np
from keras import ops

from keras_mtl.utils.checks import check_choice
from keras_mtl.utils.types import State, Tensor
from keras_mtl.weightings.weighting import LossWeighting, registry


def uncertainty_objective(
    losses: Tensor,
    active: Tensor,
    log_variances: Tensor,
    factors: Tensor,
    form: str = "log_variance",
) -> Tensor:
    """Sum over active tasks of `factor * exp(-s) * loss + s / 2`.

    With `form="positive"` the last term is `log(1 + exp(s))`, which is above zero.

    Args:
        losses: Tensor of shape `(num_tasks,)`.
        active: Boolean tensor of shape `(num_tasks,)`.
        log_variances: Tensor of shape `(num_tasks,)`, `s = log σ²`.
        factors: Tensor of shape `(num_tasks,)`: 1/2 where the loss is that of a
            Gaussian likelihood (squared error), 1 for a classification.
        form: `"log_variance"` or `"positive"`.

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
        - [Liebel & Körner, 2018](https://arxiv.org/abs/1805.06334), equation 1.
    """
    penalty = log_variances / 2.0
    if form == "positive":
        penalty = ops.softplus(log_variances)
    terms = factors * ops.exp(-log_variances) * losses + penalty
    return ops.sum(ops.where(active, terms, ops.zeros_like(terms)))


@registry.register("uncertainty")
class Uncertainty(LossWeighting):
    """Learns the noise of every task's labels, and weighs by its inverse.

    One log-variance `s` per task, starting from 0; the objective is the sum of
    `f exp(-s) L + s / 2`. Whether a task counts as a regression (`f = 1/2`) or a
    classification (`f = 1`) follows from its head. The optimizer updates the
    log-variances without weight decay, clipping or averaging.

    Args:
        form: `"log_variance"`, or `"positive"` for the sum of
            `exp(-s) L / 2 + log(1 + exp(s))`, which is never negative and treats all
            tasks alike.

    Guarantee: For fixed losses the best `s` is `log(2 f L)`: every weighted loss is
        then 1/2, and the unit of a loss cancels.
    Needs: Losses, the kinds of the heads, and one variable per task.
    Cost: One backward pass, `O(num_tasks)` more, one variable per task.
    When: Losses that are negative log-likelihoods, of different noise. Not where a
        small loss means an easy task rather than a precise one, nor where the
        learning rate is too low for `s` to follow.

    Example:
    >>> Uncertainty(form="positive").get_config()
    {'form': 'positive'}

    Reference:
        - [Kendall et al., 2018](https://arxiv.org/abs/1705.07115), equations 7 and 10.
        - [Liebel & Körner, 2018](https://arxiv.org/abs/1805.06334), equation 1, with
          `exp(s)` for the square of their parameter, which cannot pass zero.
    """

    def __init__(self, form: str = "log_variance"):
        self.form = check_choice("form", form, ("log_variance", "positive"))

    def init(self, tasks):
        gaussian = [t.head.likelihood == "gaussian" for t in tasks]
        half = [self.form == "positive" or known for known in gaussian]
        zeros = np.zeros(len(tasks))
        return {"log_variances": zeros}, {"factors": np.where(half, 0.5, 1.0)}

    def objective(
        self, losses, active, variables: State, state: State, seed
    ) -> tuple[Tensor, State]:
        objective = uncertainty_objective(
            losses, active, variables["log_variances"], state["factors"], self.form
        )
        return objective, state

    def get_config(self):
        return {"form": self.form}
