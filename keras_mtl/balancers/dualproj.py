"""DualProj: the average gradient, moved until it conflicts with no task."""

from keras_mtl.balancers.balancer import registry
from keras_mtl.balancers.preference import PreferenceBalancer, preference_shares
from keras_mtl.linalg import dual_cone_projection
from keras_mtl.utils.types import Tensor


def dualproj_weights(gram: Tensor, shares: Tensor) -> Tensor:
    """Task weights of the mean gradient's projection onto the dual cone.

        w = argmin of vᵀ G v  such that  v >= shares

    Args:
        gram: Tensor of shape `(num_tasks, num_tasks)`.
        shares: Tensor of shape `(num_tasks,)`, non-negative; 0 for tasks that are
            not active.

    Returns:
        Tensor of shape `(num_tasks,)`, not below `shares`.

    Cost: a few systems of that size, and no pass over the variables.

    Example:
    >>> from keras import ops
    >>> gram = ops.array([[18.0, -22.0], [-22.0, 38.0]])
    >>> weights = dualproj_weights(gram, ops.array([0.5, 0.5]))
    >>> ops.convert_to_numpy(weights).round(4)
    array([0.6111, 0.5   ], dtype=float32)

    Reference:
        - [Lopez-Paz & Ranzato, 2017](https://arxiv.org/abs/1706.08840), equation 11.
    """
    return dual_cone_projection(gram, shares[None, :])[0]


@registry.register("dualproj")
class DualProj(PreferenceBalancer):
    """Projects the mean gradient to the nearest one that conflicts with no task.

    Args:
        preference: Importance of the tasks in the mean, one non-negative number
            each, of which only the ratios matter; None for `1 / K` each.

    Guarantee: No task's loss rises to first order, and no update that can say so is
        nearer to the mean gradient.
    Needs: Gram matrix.
    Cost: One backward pass per task; a few K×K systems per step (order K³); no
        state.
    When: The mean loss is what counts and no task may lose. Not to help a task
        whose gradient is short: it is protected from loss but gains little.

    Example:
    >>> from keras import ops
    >>> gram = ops.array([[18.0, -22.0], [-22.0, 38.0]])
    >>> weights, _ = DualProj().weights(gram, None, ops.array([True, True]), {}, None)
    >>> ops.convert_to_numpy(weights).round(4)
    array([0.6111, 0.5   ], dtype=float32)

    Reference:
        - [Lopez-Paz & Ranzato, 2017](https://arxiv.org/abs/1706.08840) (GEM),
          equations 8 to 11, with the task gradients in place of the memories', and
          without the margin that the authors' code adds.
    """

    def weights(self, gram, losses, active, state, seed):
        shares = preference_shares(self.preference, active, gram.dtype)
        return dualproj_weights(gram, shares), state
