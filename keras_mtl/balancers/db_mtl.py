"""DB-MTL without averaging: logarithms of the losses, gradients of one length."""

from keras import ops

from keras_mtl.balancers.balancer import Balancer, registry
from keras_mtl.linalg import norms
from keras_mtl.utils.types import Tensor

# What the authors add to a loss before they take its logarithm.
_EPSILON = 1e-8


def db_mtl_weights(gram: Tensor, losses: Tensor, active: Tensor) -> Tensor:
    """Task weights of dual-balancing multi-task learning, without averaging.

    The gradients of the logarithms, `gᵢ / Lᵢ`, are all brought to the length of the
    longest one, `d̃ = max ‖gⱼ‖ / Lⱼ`, and added; on the gradients themselves these are

        wᵢ = d̃ / ‖gᵢ‖

    Args:
        gram: Tensor of shape `(num_tasks, num_tasks)`.
        losses: Tensor of shape `(num_tasks,)`, `>= 0`.
        active: Boolean tensor of shape `(num_tasks,)`.

    Returns:
        Tensor of shape `(num_tasks,)`, 0 where a gradient is zero.

    Example:
    >>> gram, losses = ops.array([[4.0, 0.0], [0.0, 1.0]]), ops.array([1.0, 0.25])
    >>> w = db_mtl_weights(gram, losses, ops.array([True, True]))
    >>> ops.convert_to_numpy(w)
    array([2., 4.], dtype=float32)

    Reference:
        - [Lin et al., 2023](https://arxiv.org/abs/2308.12029), Algorithm 1 with
          `β = 0`.
    """
    lengths = norms(gram)
    relative = lengths / (ops.maximum(losses, 0.0) + _EPSILON)
    relative = ops.where(active, relative, ops.zeros_like(relative))
    weights = ops.divide_no_nan(ops.max(relative), lengths)
    return ops.where(active, weights, ops.zeros_like(weights))


@registry.register("db_mtl")
class DBMTL(Balancer):
    """Dual balancing with `β = 0`: of the log losses, all gradients equally long.

    Balancing by logarithms makes the scale of a loss drop out, normalisation that of
    its gradient; see `db_mtl_weights`. This is the form without a moving average of
    the gradients, which needs the Gram matrix and the losses only.

    Guarantee: The same update for losses in other units, and the same length of every
        task's part in it.

    Needs: Gram matrix, only its diagonal, and positive losses.

    Cost: One backward pass per task and step, `O(num_tasks)` operations, no state.

    When: Losses and gradients of very different scales. Not against conflicts of
        direction, nor near the end of a task's training: its gradient is noise then,
        and gets as long as the others.

    Example:
    >>> DBMTL().get_config()
    {}

    Reference:
        - [Lin et al., 2023](https://arxiv.org/abs/2308.12029), Algorithm 1. The
          update is theirs, except for gradients as short as the `1e-8` that their
          code adds to the norms.
    """

    def weights(self, gram, losses, active, state, seed):
        losses = ops.cast(losses, gram.dtype)
        return db_mtl_weights(gram, losses, active), state
