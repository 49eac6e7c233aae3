"""ExcessMTL: weights grow with a task's distance from its own optimum."""

import numpy as np
from keras import ops

from keras_mtl.balancers.balancer import JacobianBalancer, registry
from keras_mtl.utils.checks import check_non_negative
from keras_mtl.utils.types import Tensor

_LARGEST = 1e30  # An exponent that stays finite in float32, and decides everything.


def excess_weights(
    log_weights: Tensor, excess: Tensor, initial: Tensor, active: Tensor, eta: float
) -> tuple[Tensor, Tensor, Tensor]:
    """One exponentiated-gradient step of the task weights on the excess risks.

        w  ∝  w exp(η e / e⁰)

    Args:
        log_weights: Tensor of shape `(num_tasks,)`. Those of tasks that are not
            active are kept, and so is the sum over the others.
        excess: Tensor of shape `(num_tasks,)`, the excess risks `e >= 0`.
        initial: Tensor of shape `(num_tasks,)`, the first positive excess risk of a
            task, 0 before there is one.
        active: Boolean tensor of shape `(num_tasks,)`.
        eta: Step size.

    Returns:
        Three tensors of shape `(num_tasks,)`: the weights, of sum 1 over active
        tasks and 0 elsewhere, and the next `log_weights` and `initial`.

    Cost: `O(num_tasks)`, and no pass over the variables.

    Example:
    >>> zeros, both = ops.zeros(2), ops.array([True, True])
    >>> excess, first = ops.array([3.0, 1.0]), ops.array([1.0, 1.0])
    >>> weights, _, _ = excess_weights(zeros, excess, first, both, eta=0.5)
    >>> ops.convert_to_numpy(weights).round(4)
    array([0.7311, 0.2689], dtype=float32)

    Reference:
        - [He et al., 2024](https://arxiv.org/abs/2402.02009), equation 9.
    """
    first = ops.logical_and(active, initial == 0.0)
    initial = ops.where(first, excess, initial)
    ratio = ops.minimum(eta * ops.divide_no_nan(excess, initial), _LARGEST)
    moved = log_weights + ops.where(active, ratio, ops.zeros_like(ratio))
    before, after = (_log_sum(x, active) for x in (log_weights, moved))
    relative = ops.where(active, moved - after, ops.zeros_like(moved))
    weights = ops.where(active, ops.exp(relative), ops.zeros_like(moved))
    return weights, ops.where(active, relative + before, log_weights), initial


def _log_sum(values, active):
    """`log Σ exp` over the active tasks, 0 where there is none."""
    lowest = ops.full_like(values, -float("inf"))
    largest = ops.max(ops.where(active, values, lowest))
    largest = ops.where(ops.any(active), largest, ops.zeros_like(largest))
    powers = ops.exp(ops.where(active, values - largest, ops.zeros_like(values)))
    total = ops.sum(ops.where(active, powers, ops.zeros_like(powers)))
    return largest + ops.log(ops.where(total > 0.0, total, ops.ones_like(total)))


@registry.register("excess_mtl")
class ExcessMTL(JacobianBalancer):
    """Weights the tasks by an estimate of how far each is from its own optimum.

    `Sᵢ ← Sᵢ + gᵢ²` (elementwise), the excess risk `eᵢ = Σ gᵢ² / √Sᵢ`, then a step of
    `excess_weights`, and `u = Σ wᵢ gᵢ`. Label noise raises a loss but not its
    distance from what can be reached, so noisy tasks do not take over.

    Args:
        eta: Step size of the task weights, `>= 0`. Defaults to 0.01, as in the
            authors' code.

    Guarantee: Converges to a Pareto-stationary point with decaying step sizes (to a
        Pareto-optimal one for convex losses).

    Needs: Task gradients themselves, squared elementwise.

    Cost: One backward pass per task, two passes over the Jacobian and its squares;
        a state of num_tasks × shared weights on every replica, as much memory as the
        Jacobian again.

    When: Helps where some tasks have noisy labels and loss-based weights would feed
        them; not where memory is short, or where all tasks converge alike.

    Example:
    >>> from keras_mtl import balancers
    >>> balancers.get("excess_mtl").get_config()
    {'eta': 0.01}

    Reference:
        - [He et al., 2024](https://arxiv.org/abs/2402.02009), Algorithm 1, equations 6
          to 9. `e⁰` is that of the task's first active step (their code: of the first
          step; their appendix: a mean over warm-up steps). We divide by `√S` without
          their `1e-7` in it, so that scaled gradients get the same weights; LibMTL's
          weights have the sum K, the paper's and ours the sum 1.
    """

    def __init__(self, eta: float = 0.01):
        self.eta = check_non_negative("eta", eta)

    def init_state(self, num_tasks, shapes):
        squares = {
            f"squares_{i}": np.zeros((num_tasks, size)) for i, size in enumerate(shapes)
        }
        zeros = np.zeros(num_tasks)
        return {"log_weights": zeros, "initial_excess": zeros, **squares}

    def combine(self, blocks, gram, losses, active, state, seed):
        squares, excess = {}, ops.zeros((gram.shape[0],), dtype=gram.dtype)
        for index, block in enumerate(blocks):
            name = f"squares_{index}"
            squares[name] = ops.cast(state[name], block.dtype) + block**2
            excess += ops.sum(
                ops.divide_no_nan(block**2, ops.sqrt(squares[name])), axis=1
            )
        weights, log_weights, initial = excess_weights(
            ops.cast(state["log_weights"], gram.dtype),
            excess,
            ops.cast(state["initial_excess"], gram.dtype),
            active,
            self.eta,
        )
        gradients = [ops.matmul(weights[None, :], block)[0] for block in blocks]
        kept = {"log_weights": log_weights, "initial_excess": initial}
        return gradients, {**kept, **squares}

    def get_config(self):
        return {"eta": self.eta}
