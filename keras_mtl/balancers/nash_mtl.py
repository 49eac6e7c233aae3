"""Nash-MTL: the update that tasks would agree on in a bargaining game."""

from keras import ops

from keras_mtl.balancers.balancer import Balancer, registry
from keras_mtl.linalg import proportional_point
from keras_mtl.utils.checks import check_positive
from keras_mtl.utils.types import Tensor


def nash_mtl_weights(
    gram: Tensor, active: Tensor, max_norm: float | None = None
) -> Tensor:
    """Task weights of the Nash bargaining solution.

        (G w)_i = 1 / w_i,        w > 0

    The update `u = w @ J` maximises `Σ log(u · g_i)` in a ball. Its norm is the
    square root of the number of tasks; a longer one than `max_norm` is shortened.

    Args:
        gram: Tensor of shape `(num_tasks, num_tasks)`.
        active: Boolean tensor of shape `(num_tasks,)`.
        max_norm: Largest norm of the update, `> 0`, or None.

    Returns:
        Tensor of shape `(num_tasks,)`, positive, and 0 where a task is not active
        or has no gradient.

    Cost: about 6 solutions of a system of that size, and no pass over the variables.

    Example:
    >>> gram = ops.array([[4.0, 0.0], [0.0, 0.25]])
    >>> ops.convert_to_numpy(nash_mtl_weights(gram, ops.array([True, True]))).round(4)
    array([0.5, 2. ], dtype=float32)

    Reference:
        - [Navon et al., 2022](https://arxiv.org/abs/2202.01017), Claim 3.1.
    """
    w = proportional_point(gram)
    w = ops.where(active, w, ops.zeros_like(w))
    if max_norm is None:
        return w
    norm = ops.sqrt(ops.maximum(ops.sum(w * ops.matmul(gram, w[:, None])[:, 0]), 0.0))
    return w * (max_norm / ops.maximum(norm, max_norm))


@registry.register("nash_mtl")
class NashMTL(Balancer):
    """The update on which tasks that bargain for their share would agree.

    The weights solve `(G w)_i = 1 / w_i` and are unique, so that no state is kept.
    Multiplying a task's loss by a number leaves the update as it is. At a
    Pareto-stationary point the game has no solution; there the weights are large
    multiples (bounded, `1e3` in float32) of a combination that vanishes.

    Args:
        max_norm: Largest norm of the update, 1 in the paper's runs. Unless gradients
            nearly cancel, the update of `K` tasks has norm `√K`, so with the default
            it has norm 1. None leaves it as it is.

    Guarantee: A solution gives every task a descent direction, proportionally fair
        (no other update in the ball gains more in the sum of relative changes), and
        the iteration converges to a Pareto-stationary point.
    Needs: Gram matrix.
    Cost: One backward pass per task; about 6 K×K systems per step (one for two
        tasks); no state.
    When: Losses of different scales, where no task may be left behind. Not near the
        end of training on strongly conflicting tasks: the norm of the update does
        not shrink with the gradients, so lower the learning rate.

    Example:
    >>> balancer = NashMTL(max_norm=1.0)
    >>> gram, both = ops.array([[4.0, 0.0], [0.0, 0.25]]), ops.array([True, True])
    >>> weights, _ = balancer.weights(gram, None, both, {}, None)
    >>> ops.convert_to_numpy(weights).round(4)
    array([0.3536, 1.4142], dtype=float32)

    Reference:
        - [Navon et al., 2022](https://arxiv.org/abs/2202.01017), Algorithm 1. The
          authors' code approaches the solution by a sequence of convex programs
          from the last step's, on `G / ‖G‖`, which multiplies `w` by `√‖G‖` before
          the norm is limited; ours is the solution itself.
    """

    def __init__(self, max_norm: float | None = 1.0):
        self.max_norm = (
            None if max_norm is None else check_positive("max_norm", max_norm)
        )

    def weights(self, gram, losses, active, state, seed):
        return nash_mtl_weights(gram, active, self.max_norm), state

    def get_config(self):
        return {"max_norm": self.max_norm}
