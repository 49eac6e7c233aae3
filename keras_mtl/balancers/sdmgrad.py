"""SDMGrad: MGDA for noisy gradients, held near a preferred direction."""

import numpy as np
from keras import ops

from keras_mtl.balancers.balancer import registry
from keras_mtl.balancers.preference import PreferenceBalancer, preference_shares
from keras_mtl.linalg import active_shares, simplex_projection, update_shares
from keras_mtl.utils.checks import (
    check_count,
    check_decay,
    check_non_negative,
    check_positive,
)
from keras_mtl.utils.types import Tensor


def sdmgrad_shares(
    gram: Tensor,
    shares: Tensor,
    preference: Tensor,
    active: Tensor,
    regularization: float,
    num_iterations: int,
    learning_rate: float,
    momentum: float,
) -> Tensor:
    """Point of the simplex after some projected stochastic gradient steps.

    With two independent batches, `A = J₁ J₂ᵀ` is the Gram matrix without the bias that
    the noise of one batch gives it. From `w = shares`, the steps minimise
    `½ ‖Jᵀ w + λ Jᵀ p‖²` over the simplex:

        m <- μ m + A (w + λ p) / s²,        w <- Π(w - γ m)

    where `s` is the mean gradient norm, the mean of `√max(Aᵢᵢ, 0)`.

    Args:
        gram: Tensor of shape `(num_tasks, num_tasks)`, `A`, not symmetric.
        shares: Tensor of shape `(num_tasks,)`, on the simplex over active tasks.
        preference: Tensor of shape `(num_tasks,)`, `p`, likewise.
        active: Boolean tensor of shape `(num_tasks,)`.
        regularization: `λ`.
        num_iterations: Number of steps.
        learning_rate: `γ`.
        momentum: `μ`.

    Returns:
        Tensor of shape `(num_tasks,)`, on the simplex over active tasks. Computed in
        float64, returned in the dtype of `gram`.

    Cost: `O(num_tasks ** 2)` per iteration.

    Example:
    >>> gram, both = ops.array([[1.0, 0.0], [0.0, 3.0]]), ops.array([True, True])
    >>> half = ops.array([0.5, 0.5])
    >>> w = sdmgrad_shares(gram, half, half, both, 0.0, 20, 0.5, 0.5)
    >>> ops.convert_to_numpy(w).round(3)
    array([0.75, 0.25], dtype=float32)

    Reference:
        - [Xiao et al., 2023](https://arxiv.org/abs/2305.18409), Algorithm 1.
    """
    dtype = gram.dtype
    gram, shares, preference = (
        ops.cast(x, "float64") for x in (gram, shares, preference)
    )
    lengths = ops.sqrt(ops.maximum(ops.diagonal(gram), 0.0))
    on = ops.cast(active, "float64")
    scale = ops.divide_no_nan(ops.sum(on * lengths), ops.sum(on))
    gram = ops.divide_no_nan(gram, scale**2)
    pull = regularization * preference

    def step(_, carried):
        w, velocity = carried
        slope = ops.matmul(gram, (w + pull)[:, None])[:, 0]
        velocity = momentum * velocity + slope
        return simplex_projection(w - learning_rate * velocity, active), velocity

    start = (shares, ops.zeros_like(shares))
    shares, _ = ops.fori_loop(0, num_iterations, step, start)
    return ops.cast(shares, dtype)


@registry.register("sdmgrad")
class SDMGrad(PreferenceBalancer):
    """The shortest combination of the gradients, pulled towards the preferred one.

    The weights `(w + λ p) / (1 + λ)` lie between MGDA (`λ = 0`) and the preference `p`
    (large `λ`). `w` starts where the last step left it; see `sdmgrad_shares`. Each
    batch is split in two halves, so that the noise of one does not meet itself.

    Args:
        regularization: `λ`, `>= 0`.
        num_iterations: Steps on `w` per batch.
        learning_rate: Of these steps. With the authors' 5 they do not settle: `w` jumps
            between corners, and rounding errors grow. Below about 1 it does settle.
        momentum: Of these steps, `< 1`.
        preference: Preferred weights, one per task; default: equal ones.

    Guarantee: Converges to a Pareto-stationary point with noisy gradients, without
        growing batches.

    Needs: Gram matrix between the gradients of two halves of each batch.

    Cost: Two backward passes per task and step, one for each half of the batch,
        `O(num_iterations * num_tasks ** 2)` operations, a state of `num_tasks` numbers.

    When: Small batches, whose noise MGDA would take for a conflict. Not where a half
        of the batch lacks the labels of some tasks: these wait for the next batch.

    Example:
    >>> SDMGrad(regularization=0.3).batch_parts
    2

    Reference:
        - [Xiao et al., 2023](https://arxiv.org/abs/2305.18409), Algorithm 1; the steps
          on `w` and the division by `s²` are those of the authors' code. The update
          uses the whole batch, where the paper takes a third one.
    """

    batch_parts = 2

    def __init__(
        self,
        regularization: float = 0.3,
        num_iterations: int = 20,
        *,
        learning_rate: float = 5.0,
        momentum: float = 0.5,
        preference: list | None = None,
    ):
        self.regularization = check_non_negative("regularization", regularization)
        self.num_iterations = check_count("num_iterations", num_iterations)
        self.learning_rate = check_positive("learning_rate", learning_rate)
        self.momentum = check_decay("momentum", momentum)
        super().__init__(preference)

    def init_state(self, num_tasks):
        super().init_state(num_tasks)
        return {"shares": np.full(num_tasks, 1.0 / num_tasks)}

    def weights(self, gram, losses, active, state, seed):
        stored = ops.cast(state["shares"], gram.dtype)
        preference = preference_shares(self.preference, active, gram.dtype)
        shares = sdmgrad_shares(
            gram,
            active_shares(stored, active),
            preference,
            active,
            self.regularization,
            self.num_iterations,
            self.learning_rate,
            self.momentum,
        )
        pull = self.regularization
        weights = (shares + pull * preference) / (1.0 + pull)
        return weights, {"shares": update_shares(stored, shares, active)}

    def get_config(self):
        return {
            "regularization": self.regularization,
            "num_iterations": self.num_iterations,
            "learning_rate": self.learning_rate,
            "momentum": self.momentum,
            **super().get_config(),
        }
