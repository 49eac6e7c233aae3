"""MoCo: the min-norm direction of running averages of the task gradients."""

import numpy as np
from keras import ops

from keras_mtl.balancers.balancer import JacobianBalancer, registry
from keras_mtl.linalg import gram_matrix, simplex_projection
from keras_mtl.utils.checks import check_choice, check_non_negative, check_share
from keras_mtl.utils.types import Tensor


def moco_weights(
    weights: Tensor,
    gram: Tensor,
    active: Tensor,
    gamma: float,
    rho: float = 0.0,
    projection: str = "simplex",
) -> Tensor:
    """One step of the task weights of MoCo towards the min-norm point.

        w  <-  projection of  w - γ (Y Yᵀ + ρ I) w

    Args:
        weights: Tensor of shape `(num_tasks,)`, the weights before the step. Those
            of tasks that are not active are kept, and the step is that of the
            others alone, within what is left of the sum 1.
        gram: Tensor of shape `(num_tasks, num_tasks)`, `Y Yᵀ`.
        active: Boolean tensor of shape `(num_tasks,)`.
        gamma: Step size.
        rho: Strength of the pull to equal weights.
        projection: `"simplex"` (nearest point) or `"softmax"`.

    Returns:
        Two tensors of shape `(num_tasks,)`: the weights to combine with, of sum 1
        over active tasks and 0 elsewhere, and the weights to remember.

    Cost: `O(num_tasks ** 2)`, and no pass over the variables.

    Example:
    >>> half, both = ops.array([0.5, 0.5]), ops.array([True, True])
    >>> gram = ops.array([[1.0, 0.0], [0.0, 3.0]])
    >>> ops.convert_to_numpy(moco_weights(half, gram, both, gamma=0.1)[0])
    array([0.55, 0.45], dtype=float32)

    Reference:
        - [Fernando et al., 2023](https://arxiv.org/abs/2210.12624), Algorithm 1.
    """
    held = ops.where(active, weights, ops.zeros_like(weights))
    mass = ops.sum(held)
    current = ops.divide_no_nan(held, mass)
    slope = ops.matmul(gram, current[:, None])[:, 0] + rho * current
    moved = current - gamma * slope
    if projection == "simplex":
        fresh = simplex_projection(moved, active)
    else:
        largest = ops.max(ops.where(active, moved, ops.full_like(moved, -float("inf"))))
        shifted = ops.where(active, moved - largest, ops.zeros_like(moved))
        powers = ops.where(active, ops.exp(shifted), ops.zeros_like(moved))
        fresh = ops.divide_no_nan(powers, ops.sum(powers))
    return fresh, ops.where(active, mass * fresh, weights)


@registry.register("moco")
class MoCo(JacobianBalancer):
    """Follows every task gradient with a running average, and weights those.

    `yᵢ ← yᵢ - β (yᵢ - gᵢ)`, one step of `moco_weights` on `Y Yᵀ`, and the update
    `u = Σ wᵢ yᵢ`. The averages begin at zero, the weights at `1/K`.

    Args:
        beta: How much of the new gradient the running average takes, in `[0, 1]`.
        gamma: Step size of the task weights.
        rho: Regularisation of the task weights, `>= 0`.
        projection: How the weights get back to the simplex: `"simplex"` as in the
            paper, or `"softmax"`, as in the authors' first code.

    Guarantee: Converges to a Pareto-stationary point with stochastic gradients and
        decaying step sizes, without larger batches.

    Needs: Task gradients themselves, for their running averages.

    Cost: One backward pass per task, two passes over the Jacobian and its averages;
        a state of num_tasks × shared weights on every replica, as much memory as the
        Jacobian again.

    When: Helps where MGDA is right but batches are small and their gradients noisy;
        not where memory is short, or where the task losses differ by orders of
        magnitude (it takes gradients as they are).

    Example:
    >>> from keras_mtl import balancers
    >>> balancers.get("moco").get_config()
    {'beta': 0.5, 'gamma': 0.1, 'rho': 0.0, 'projection': 'simplex'}

    Reference:
        - [Fernando et al., 2023](https://arxiv.org/abs/2210.12624), Algorithm 1,
          without the projection of the averages to a ball of given radius. LibMTL
          lets β and γ decay with the step and scales gradients by their losses; we
          do neither.
    """

    def __init__(
        self,
        beta: float = 0.5,
        gamma: float = 0.1,
        rho: float = 0.0,
        projection: str = "simplex",
    ):
        self.beta = check_share("beta", beta)
        self.gamma = check_non_negative("gamma", gamma)
        self.rho = check_non_negative("rho", rho)
        self.projection = check_choice("projection", projection, ("simplex", "softmax"))

    def init_state(self, num_tasks, shapes):
        averages = {
            f"average_{i}": np.zeros((num_tasks, size)) for i, size in enumerate(shapes)
        }
        return {"weights": np.full(num_tasks, 1 / num_tasks), **averages}

    def combine(self, blocks, gram, losses, active, state, seed):
        averages = []
        for index, block in enumerate(blocks):
            old = ops.cast(state[f"average_{index}"], block.dtype)
            new = old - self.beta * (old - block)
            averages.append(ops.where(active[:, None], new, old))
        weights, kept = moco_weights(
            ops.cast(state["weights"], gram.dtype),
            gram_matrix(averages),
            active,
            self.gamma,
            self.rho,
            self.projection,
        )
        gradients = [ops.matmul(weights[None, :], average)[0] for average in averages]
        named = {f"average_{i}": average for i, average in enumerate(averages)}
        return gradients, {"weights": kept, **named}

    def get_config(self):
        return {
            "beta": self.beta,
            "gamma": self.gamma,
            "rho": self.rho,
            "projection": self.projection,
        }
