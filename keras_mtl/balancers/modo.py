"""MoDo: MGDA for noisy gradients, one step on the weights per batch."""

import numpy as np
from keras import ops

from keras_mtl.balancers.balancer import Balancer, registry
from keras_mtl.linalg import active_shares, simplex_projection, update_shares
from keras_mtl.utils.checks import check_non_negative, check_positive
from keras_mtl.utils.types import Tensor


def modo_shares(
    gram: Tensor, shares: Tensor, active: Tensor, gamma: float, rho: float
) -> Tensor:
    """Task weights after one projected step towards the min-norm point.

        w <- Π(w - γ (A w + ρ w)),        A = J₁ J₂ᵀ

    Args:
        gram: Tensor of shape `(num_tasks, num_tasks)`, `A`: row `i` holds the inner
            products of the gradient of task `i` on one batch with all gradients on an
            independent one. Not symmetric.
        shares: Tensor of shape `(num_tasks,)`, on the simplex over active tasks.
        active: Boolean tensor of shape `(num_tasks,)`.
        gamma: Step size, in units of one over a squared gradient norm.
        rho: Weight of the regulariser `½ ρ ‖w‖²`.

    Returns:
        Tensor of shape `(num_tasks,)`, on the simplex over active tasks.

    Cost: `O(num_tasks ** 2)`, and no pass over the variables.

    Example:
    >>> gram, both = ops.array([[1.0, 0.0], [0.0, 3.0]]), ops.array([True, True])
    >>> w = modo_shares(gram, ops.array([0.5, 0.5]), both, gamma=0.1, rho=0.0)
    >>> ops.convert_to_numpy(w).round(4)
    array([0.55, 0.45], dtype=float32)

    Reference:
        - [Chen et al., 2023](https://arxiv.org/abs/2305.20057), Algorithm 1.
    """
    slope = ops.matmul(gram, shares[:, None])[:, 0] + rho * shares
    return simplex_projection(shares - gamma * slope, active)


@registry.register("modo")
class MoDo(Balancer):
    """Double sampling: weights that move slowly to MGDA's, without its bias.

    Each step moves the weights a little towards those of the shortest combination, as
    two halves of the batch see it, and applies them; see `modo_shares`.

    Args:
        gamma: Step size of the weights. What is small depends on the gradient norms:
            `gamma` times their square.
        rho: Regularisation of the weights towards equal ones.

    Guarantee: Converges to a Pareto-stationary point with noisy gradients; a small
        `gamma` keeps the weights near equal and generalises best, a larger one avoids
        conflicts better.

    Needs: Gram matrix between the gradients of two halves of each batch.

    Cost: Two backward passes per task and step, one for each half of the batch,
        `O(num_tasks ** 2)` operations, a state of `num_tasks` numbers.

    When: Small batches, whose noise MGDA would take for a conflict. Not for gradients
        of an unknown scale: `gamma` has to fit it.

    Example:
    >>> MoDo(gamma=0.01).batch_parts
    2

    Reference:
        - [Chen et al., 2023](https://arxiv.org/abs/2305.20057), Algorithm 1, with the
          defaults of the authors' code (LibMTL has `gamma=0.001`). The update uses
          the whole batch, where the paper takes a third one.
    """

    batch_parts = 2

    def __init__(self, gamma: float = 0.1, rho: float = 0.1):
        self.gamma = check_positive("gamma", gamma)
        self.rho = check_non_negative("rho", rho)

    def init_state(self, num_tasks):
        return {"shares": np.full(num_tasks, 1.0 / num_tasks)}

    def weights(self, gram, losses, active, state, seed):
        stored = ops.cast(state["shares"], gram.dtype)
        shares = active_shares(stored, active)
        shares = modo_shares(gram, shares, active, self.gamma, self.rho)
        return shares, {"shares": update_shares(stored, shares, active)}

    def get_config(self):
        return {"gamma": self.gamma, "rho": self.rho}
