"""FairGrad: gains of the tasks that are α-fair."""

from keras import ops

from keras_mtl.balancers.balancer import Balancer, registry
from keras_mtl.linalg import proportional_point
from keras_mtl.utils.checks import check_positive
from keras_mtl.utils.types import Tensor


def fairgrad_weights(gram: Tensor, active: Tensor, alpha: float = 1.0) -> Tensor:
    """Task weights whose update is α-fair.

        (G w)_i = w_i ^ (-1 / α),        w > 0

    The update `u = w @ J` maximises `Σ (u · g_i)^(1 - α) / (1 - α)` in a ball.

    Args:
        gram: Tensor of shape `(num_tasks, num_tasks)`.
        active: Boolean tensor of shape `(num_tasks,)`.
        alpha: Degree of fairness, `> 0`.

    Returns:
        Tensor of shape `(num_tasks,)`, positive, and 0 where a task is not active
        or has no gradient.

    Cost: about 10 solutions of a system of that size (50 for `alpha=10` and
        gradients of very different lengths), and no pass over the variables.

    Example:
    >>> gram = ops.array([[4.0, 0.0], [0.0, 0.25]])
    >>> weights = fairgrad_weights(gram, ops.array([True, True]), alpha=2.0)
    >>> ops.convert_to_numpy(weights).round(3)
    array([0.397, 2.52 ], dtype=float32)

    Reference:
        - [Ban & Ji, 2024](https://arxiv.org/abs/2402.15638), equation 8.
    """
    w = proportional_point(gram, 1.0 / alpha)
    return ops.where(active, w, ops.zeros_like(w))


@registry.register("fairgrad")
class FairGrad(Balancer):
    """Shares the decrease of the losses between tasks by α-fairness.

    The weights solve `(G w)_i = w_i ^ (-1 / α)`. With `α = 1` (proportional
    fairness) this is the solution of Nash-MTL; with `α → 0` the sum of the losses
    decreases fastest, with `α → ∞` that of the worst-off task.

    Args:
        alpha: Degree of fairness, `> 0`; the paper's runs use 1 and 2.

    Guarantee: A solution gives every task a descent direction, and the iteration
        converges to a Pareto-stationary point.
    Needs: Gram matrix.
    Cost: One backward pass per task; about 10 K×K systems per step; no state.
    When: One wants to choose between efficiency and fairness by one number. Not
        near the end of training on strongly conflicting tasks, see `NashMTL`.

    Example:
    >>> balancer = FairGrad(alpha=2.0)
    >>> gram, both = ops.array([[4.0, 0.0], [0.0, 0.25]]), ops.array([True, True])
    >>> weights, _ = balancer.weights(gram, None, both, {}, None)
    >>> ops.convert_to_numpy(weights).round(3)
    array([0.397, 2.52 ], dtype=float32)

    Reference:
        - [Ban & Ji, 2024](https://arxiv.org/abs/2402.15638), Algorithm 1. The
          authors' code solves by least squares, and multiplies the update by the number
          of tasks, which `BalancingOptions.scale` is for here.
    """

    def __init__(self, alpha: float = 1.0):
        self.alpha = check_positive("alpha", alpha)

    def weights(self, gram, losses, active, state, seed):
        return fairgrad_weights(gram, active, self.alpha), state

    def get_config(self):
        return {"alpha": self.alpha}
