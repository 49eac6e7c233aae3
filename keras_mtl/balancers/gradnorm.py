"""GradNorm: learn task weights that let all tasks train at similar rates."""

import numpy as np
from keras import ops

from keras_mtl.balancers.balancer import Balancer, registry
from keras_mtl.linalg import active_shares, norms, update_shares
from keras_mtl.utils.checks import check_non_negative, check_positive
from keras_mtl.utils.types import Tensor


def gradnorm_update(
    weights: Tensor,
    lengths: Tensor,
    ratios: Tensor,
    active: Tensor,
    alpha: float,
    learning_rate: float,
) -> Tensor:
    """Task weights of the next step.

    With the weighted norms `Gᵢ = wᵢ ‖gᵢ‖`, their mean `Ḡ`, and the loss ratios over
    their mean `rᵢ`, the weights take a gradient step on

        Σ |Gᵢ - Ḡ rᵢ^α| / Ḡ         (Ḡ rᵢ^α and the divisor held fixed)

    and are rescaled to the sum `K`. No weight falls by more than half.

    Args:
        weights: Tensor of shape `(num_tasks,)`, of sum `K` over the active tasks.
        lengths: Gradient norms, shape `(num_tasks,)`.
        ratios: Losses divided by the initial losses, shape `(num_tasks,)`.
        active: Boolean tensor of shape `(num_tasks,)`; means run over these.
        alpha: Strength with which slow tasks are favoured.
        learning_rate: Size of the step.

    Returns:
        Tensor of shape `(num_tasks,)`, of sum `K` over the `K` active tasks.

    Example:
    >>> ones, both = ops.ones(2), ops.array([True, True])
    >>> w = gradnorm_update(ones, ops.array([1.0, 3.0]), ones, both, 1.5, 0.1)
    >>> ops.convert_to_numpy(w).round(4)
    array([1.1053, 0.8947], dtype=float32)

    Reference:
        - [Chen et al., 2018](https://arxiv.org/abs/1711.02257), Algorithm 1 and
          equations 1 and 2.
    """
    on = ops.cast(active, weights.dtype)
    count = ops.sum(on)
    mean_length = ops.divide_no_nan(ops.sum(on * weights * lengths), count)
    relative = ops.divide_no_nan(lengths, mean_length)
    mean_ratio = ops.divide_no_nan(ops.sum(on * ratios), count)
    known = mean_ratio > 0
    rates = ops.where(known, ratios / ops.where(known, mean_ratio, 1.0), 1.0)
    aim = ops.power(ops.maximum(rates, 0.0), alpha)
    slope = ops.sign(weights * relative - aim) * relative
    moved = ops.maximum(weights - learning_rate * slope, 0.5 * weights)
    return count * active_shares(moved, active)


@registry.register("gradnorm")
class GradNorm(Balancer):
    """Learned weights: equal gradient norms, larger ones for tasks that lag behind.

    A task lags behind where its loss fell, relative to the start of the training,
    less than that of the others. The weights start at 1, are applied, and then take
    a step of their own; see `gradnorm_update`.

    Args:
        alpha: Restoring force: 0 evens the norms out, larger values favour slow
            tasks more. The paper uses 0.12 to 1.5.
        learning_rate: Step size of the weights, which the paper sets apart from that
            of the network.

    Guarantee: None for the descent; the weights rest where the weighted norm of every
        task is the mean norm times its relative loss ratio to the power of `alpha`.

    Needs: Gram matrix, only its diagonal, and positive losses.

    Cost: One backward pass per task and step, `O(num_tasks)` operations, a state of
        `2 * num_tasks` numbers.

    When: Losses of different scales, or tasks that learn at different speeds. Not
        against conflicts of direction, nor where the first loss of a task says
        little: a batch without much to learn, or a pretrained head.

    Example:
    >>> GradNorm(alpha=0.5).get_config()
    {'alpha': 0.5, 'learning_rate': 0.025}

    Reference:
        - [Chen et al., 2018](https://arxiv.org/abs/1711.02257), Algorithm 1. The
          rule for the step of the weights is open there; ours divides by the mean
          norm, so that the learning rate has no units, and all shared variables
          count, not only those of the last shared layer.
    """

    def __init__(self, alpha: float = 1.5, learning_rate: float = 0.025):
        self.alpha = check_non_negative("alpha", alpha)
        self.learning_rate = check_positive("learning_rate", learning_rate)

    def init_state(self, num_tasks):
        return {
            "shares": np.full(num_tasks, 1.0 / num_tasks),
            "initial_losses": np.full(num_tasks, np.nan),
        }

    def weights(self, gram, losses, active, state, seed):
        shares = ops.cast(state["shares"], gram.dtype)
        initial = ops.cast(state["initial_losses"], gram.dtype)
        losses = ops.cast(losses, gram.dtype)
        first = ops.logical_and(active, ops.isnan(initial))
        initial = ops.where(first, losses, initial)
        known = ops.logical_and(active, initial > 0)
        ratios = ops.where(known, losses / ops.where(known, initial, 1.0), 1.0)
        count = ops.sum(ops.cast(active, gram.dtype))
        weights = count * active_shares(shares, active)
        after = gradnorm_update(
            weights, norms(gram), ratios, active, self.alpha, self.learning_rate
        )
        after = ops.divide_no_nan(after, count)
        shares = update_shares(shares, after, active)
        return weights, {"shares": shares, "initial_losses": initial}

    def get_config(self):
        return {"alpha": self.alpha, "learning_rate": self.learning_rate}
