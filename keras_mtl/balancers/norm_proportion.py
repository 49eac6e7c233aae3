"""Gradient-norm proportion: a task's weight is its share of all gradient norms."""

from keras_mtl.balancers.balancer import Balancer, registry
from keras_mtl.linalg import active_shares, norms
from keras_mtl.utils.types import Tensor


def norm_proportion_weights(gram: Tensor, active: Tensor) -> Tensor:
    """Task weights `wᵢ = ‖gᵢ‖ / Σ ‖gⱼ‖`, equal ones where all gradients are zero.

    Args:
        gram: Tensor of shape `(num_tasks, num_tasks)`.
        active: Boolean tensor of shape `(num_tasks,)`.

    Returns:
        Tensor of shape `(num_tasks,)`, of sum 1 over active tasks.

    Example:
    >>> from keras import ops
    >>> gram, both = ops.array([[1.0, 0.0], [0.0, 9.0]]), ops.array([True, True])
    >>> ops.convert_to_numpy(norm_proportion_weights(gram, both))
    array([0.25, 0.75], dtype=float32)
    """
    return active_shares(norms(gram), active)


@registry.register("norm_proportion")
class NormProportion(Balancer):
    """Tasks with long gradients, those far from done, get large weights.

    The weights are `‖gᵢ‖ / Σ ‖gⱼ‖`, so the part of a task in the update grows with
    the square of its norm. A recipe that tutorials give, without a paper.

    Guarantee: None.

    Needs: Gram matrix; only its diagonal.

    Cost: One backward pass per task and step, `O(num_tasks)` operations, no state.

    When: Losses in the same units, where a long gradient means that much is left to
        learn. Not for losses of different scales: the largest one takes over; use
        DB-MTL or GradNorm, which even the norms out.

    Example:
    >>> NormProportion().get_config()
    {}

    Reference:
        - None; it is the opposite of the normalisation of
          [Chen et al., 2018](https://arxiv.org/abs/1711.02257).
    """

    def weights(self, gram, losses, active, state, seed):
        return norm_proportion_weights(gram, active), state
