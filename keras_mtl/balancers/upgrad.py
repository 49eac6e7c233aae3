"""UPGrad: every task's gradient, moved until it conflicts with none."""

from keras import ops

from keras_mtl.balancers.balancer import registry
from keras_mtl.balancers.preference import PreferenceBalancer, preference_shares
from keras_mtl.linalg import dual_cone_projection
from keras_mtl.utils.types import Tensor


def upgrad_weights(gram: Tensor, shares: Tensor) -> Tensor:
    """Task weights of UPGrad, from the Gram matrix of the task gradients.

    Each task gradient is projected onto the dual cone of all of them; row `i` of

        v_i = argmin of vᵀ G v  such that  v >= shares_i e_i

    are the coefficients, and the task weights are their sum.

    Args:
        gram: Tensor of shape `(num_tasks, num_tasks)`.
        shares: Tensor of shape `(num_tasks,)`, non-negative; 0 for tasks that are
            not active.

    Returns:
        Tensor of shape `(num_tasks,)`, not below `shares`.

    Cost: a few systems of that size for each task, and no pass over the variables.

    Example:
    >>> gram = ops.array([[18.0, -22.0], [-22.0, 38.0]])
    >>> weights = upgrad_weights(gram, ops.array([0.5, 0.5]))
    >>> ops.convert_to_numpy(weights).round(4)
    array([1.1111, 0.7895], dtype=float32)

    Reference:
        - [Quinton & Rey, 2024](https://arxiv.org/abs/2406.16232), Proposition 1.
    """
    eye = ops.eye(gram.shape[0], dtype=gram.dtype)
    return ops.sum(dual_cone_projection(gram, eye * shares), axis=0)


@registry.register("upgrad")
class UPGrad(PreferenceBalancer):
    """Projects every task gradient to where it conflicts with none, and averages.

    Args:
        preference: Importance of the tasks, one non-negative number each, of which
            only the ratios matter; None (the paper's default) for `1 / K` each.

    Guarantee: No task's loss rises to first order, a gradient's own scale enters
        linearly, and for convex losses the iteration converges to the Pareto front.
    Needs: Gram matrix.
    Cost: One backward pass per task; a few K×K systems per task and step (order
        K⁴); no state.
    When: Tasks conflict and none may lose, at a step that still follows the longer
        gradients. Not where loss scales differ without meaning: it keeps them.

    Example:
    >>> gram = ops.array([[18.0, -22.0], [-22.0, 38.0]])
    >>> weights, _ = UPGrad().weights(gram, None, ops.array([True, True]), {}, None)
    >>> ops.convert_to_numpy(weights).round(4)
    array([1.1111, 0.7895], dtype=float32)

    Reference:
        - [Quinton & Rey, 2024](https://arxiv.org/abs/2406.16232), Section 3. The
          authors' code adds 1e-4 of the mean squared norm to the diagonal of `G`;
          ours adds the rounding error of each entry.
    """

    def weights(self, gram, losses, active, state, seed):
        shares = preference_shares(self.preference, active, gram.dtype)
        return upgrad_weights(gram, shares), state
