"""CR-MOGM: the task weights of any balancer, smoothed over the steps."""

from typing import Any

import numpy as np
from keras import ops, saving

from keras_mtl.balancers.balancer import Balancer, enclosed, registry, state_inside
from keras_mtl.utils.checks import check_decay
from keras_mtl.utils.types import Tensor


def cr_mogm_weights(
    weights: Tensor, last: Tensor, active: Tensor, alpha: float
) -> tuple[Tensor, Tensor]:
    """Running means `w_t = α w_{t-1} + (1 - α) w` of task weights.

    Args:
        weights: New weights `w`, shape `(num_tasks,)`.
        last: The running means of the last step, `NaN` where there is none yet.
        active: Boolean tensor of shape `(num_tasks,)`.
        alpha: Share of the past, `< 1`.

    Returns:
        The running means, and 0 for tasks that are not active; and the running means,
        kept as they were for tasks that are not active. Both of shape `(num_tasks,)`.

    Example:
    >>> new, last = ops.array([1.0, 1.0]), ops.array([0.5, float("nan")])
    >>> w, _ = cr_mogm_weights(new, last, ops.array([True, True]), alpha=0.8)
    >>> ops.convert_to_numpy(w)
    array([0.6, 1. ], dtype=float32)

    Reference:
        - [Zhou et al., 2022](https://papers.neurips.cc/paper_files/paper/2022/hash/f91bd64a3620aad8e70a27ad9cb3ca57-Abstract-Conference.html)
    """
    first = ops.isnan(last)
    mean = alpha * ops.where(first, weights, last) + (1.0 - alpha) * weights
    kept = ops.where(active, mean, last)
    return ops.where(active, mean, ops.zeros_like(mean)), kept


@registry.register("cr_mogm")
class CRMOGM(Balancer):
    """Smooths the task weights of another balancer over the steps.

    Weights that follow from the gradients of a batch depend on its noise, and a
    product of two noisy things is biased: stochastic MGDA, PCGrad or CAGrad may not
    converge. Running means of the weights, `w_t = α w_{t-1} + (1 - α) w`, remove the
    dependence; see `cr_mogm_weights`.

    Args:
        balancer: The balancer: an instance, a name, or a configuration.
        alpha: Share of the past, `< 1`; 0 smooths nothing.

    Guarantee: Converges to a Pareto-critical point with noisy gradients, if `alpha`
        goes to 1 as the learning rate goes to 0.

    Needs: What the balancer needs.

    Cost: That of the balancer, and a state of `num_tasks` numbers more.

    When: Small batches, or task weights that jump from step to step. Not where the
        balancer must answer a conflict at once: the weights lag by about
        `1 / (1 - alpha)` steps, so a step may climb a task's loss.

    Example:
    >>> balancer = CRMOGM("mgda", alpha=0.9)
    >>> balancer.init_state(num_tasks=2)
    {'task_weights': array([nan, nan])}

    Reference:
        - [Zhou et al., 2022](https://papers.neurips.cc/paper_files/paper/2022/hash/f91bd64a3620aad8e70a27ad9cb3ca57-Abstract-Conference.html),
          with a constant `α`. The mean of a task starts with its first weight.
    """

    def __init__(self, balancer: Any = "cagrad", alpha: float = 0.9):
        self.balancer = registry.get(balancer)
        if not isinstance(self.balancer, Balancer):
            raise ValueError(
                "Expected `balancer` to be a balancer that makes task weights of the "
                f"Gram matrix. Received: balancer={balancer!r}"
            )
        self.alpha = check_decay("alpha", alpha)
        self.batch_parts = self.balancer.batch_parts

    def init_state(self, num_tasks):
        inner = self.balancer.init_state(num_tasks)
        return {
            "task_weights": np.full(num_tasks, np.nan),
            **enclosed(self.balancer, inner),
        }

    def weights(self, gram, losses, active, state, seed):
        inner = state_inside(self.balancer, state)
        weights, inner = self.balancer.weights(gram, losses, active, inner, seed)
        last = ops.cast(state["task_weights"], weights.dtype)
        weights, kept = cr_mogm_weights(weights, last, active, self.alpha)
        return weights, {"task_weights": kept, **enclosed(self.balancer, inner)}

    def get_config(self):
        return {
            "balancer": saving.serialize_keras_object(self.balancer),
            "alpha": self.alpha,
        }
