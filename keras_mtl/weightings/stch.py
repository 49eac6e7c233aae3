"""Smooth Tchebycheff scalarisation: a smooth maximum of the losses."""

import numpy as np
from keras import ops

from keras_mtl.utils.checks import check_positive
from keras_mtl.utils.types import Tensor
from keras_mtl.weightings.weighting import LossWeighting, by_task, registry


def smooth_tchebycheff(
    losses: Tensor, active: Tensor, preference: Tensor, ideal: Tensor, mu: float
) -> Tensor:
    """`μ log Σ exp(λ (L - z) / μ)` over the active tasks.

    Args:
        losses: Tensor of shape `(num_tasks,)`.
        active: Boolean tensor of shape `(num_tasks,)`.
        preference: Positive tensor of shape `(num_tasks,)`; `λ` is its share of the
            sum over active tasks.
        ideal: Tensor of shape `(num_tasks,)`, `z`: the least value of each loss.
        mu: `μ > 0`; the smaller, the closer to the maximum.

    Returns:
        Scalar tensor, 0 where no task is active.

    Example:
    >>> value = smooth_tchebycheff(
    ...     ops.array([2.0, 2.0]), ops.array([True, True]), ops.ones(2),
    ...     ops.zeros(2), mu=1.0)
    >>> round(float(value), 4)
    1.6931

    Reference:
        - [Lin et al., 2024](https://arxiv.org/abs/2402.19078), equation 9.
    """
    preference = ops.where(active, preference, ops.zeros_like(preference))
    share = ops.divide_no_nan(preference, ops.sum(preference))
    exponents = share * ops.where(active, losses - ideal, ops.zeros_like(losses)) / mu
    # The largest exponent of an active task, 0 where there is none.
    lowest = ops.min(exponents)
    largest = ops.max(ops.where(active, exponents, lowest))
    largest = ops.stop_gradient(ops.where(ops.any(active), largest, 0.0))
    powers = ops.exp(ops.where(active, exponents - largest, 0.0))
    total = ops.sum(ops.where(active, powers, ops.zeros_like(powers)))
    return mu * (largest + ops.log(ops.where(ops.any(active), total, 1.0)))


@registry.register("stch")
class STCH(LossWeighting):
    """Minimises a smooth maximum of the preferred losses.

    The objective is `μ log Σ exp(λ (L - z) / μ)`; the weight of a task is `λ` times
    its softmax, so that the losses furthest from their ideal value count most.

    Args:
        mu: `μ > 0`, in the unit of `λ L`. Small values follow the worst task alone,
            large ones the weighted sum.
        preference: Optional list of positive numbers, one per task, of which `λ` is
            the share. Defaults to equal ones.
        ideal: Optional dict from task name to the least value `z` of its loss.
            Defaults to 0.

    Guarantee: A minimiser is Pareto optimal, and for small `μ` each Pareto optimal
        point is the minimiser of some preference, also on fronts that are not convex.
    Needs: Losses.
    Cost: One backward pass, `O(num_tasks)` more, no state.
    When: A chosen trade-off, above all on curved fronts that no weighted sum reaches.
        Not for losses of different units, unless `preference` brings them to one
        scale.

    Example:
    >>> objective, _ = STCH(mu=0.01).objective(
    ...     ops.array([2.0, 1.0]), ops.array([True, True]), {},
    ...     {"preference": ops.ones(2), "ideal": ops.zeros(2)}, seed=None)
    >>> round(float(objective), 4)
    1.0

    Reference:
        - [Lin et al., 2024](https://arxiv.org/abs/2402.19078), equation 9. The
          authors' multi-task code applies it to the logarithms of losses divided by
          their means in an epoch of warm-up, with `λ = 1`, and multiplies it by the
          number of tasks; we keep to the equation.
    """

    def __init__(
        self,
        mu: float = 1.0,
        preference: list | None = None,
        ideal: dict | None = None,
    ):
        self.mu = check_positive("mu", mu)
        if preference is not None:
            for value in preference:
                check_positive("preference", value)
        self.preference = preference
        self.ideal = ideal

    def init(self, tasks):
        preference = self.preference or [1.0] * len(tasks)
        if len(preference) != len(tasks):
            raise ValueError(
                "Expected `preference` to hold one number per task "
                f"{[t.name for t in tasks]}. Received: preference={self.preference}"
            )
        ideal = by_task("ideal", self.ideal or {}, tasks, default=0.0)
        return {}, {"preference": np.array(preference), "ideal": ideal}

    def objective(self, losses, active, variables, state, seed):
        value = smooth_tchebycheff(
            losses, active, state["preference"], state["ideal"], self.mu
        )
        return value, state

    def get_config(self):
        return {"mu": self.mu, "preference": self.preference, "ideal": self.ideal}
