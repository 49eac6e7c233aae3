"""IMTL-G: an update with equal projections on all task gradients."""

from keras import ops

from keras_mtl.balancers.balancer import Balancer, registry
from keras_mtl.linalg import least_norm_solution, norms
from keras_mtl.utils.types import Tensor


def imtl_g_weights(gram: Tensor, active: Tensor) -> Tensor:
    """Task weights of an update that projects equally on all unit gradients.

    With the norms `d` and the cosine matrix `C`,

        v = C⁺ 1 / d,        w = v / Σ v

    which for independent gradients is `G⁻¹ d / (1ᵀ G⁻¹ d)`. Weights may be negative.

    Args:
        gram: Tensor of shape `(num_tasks, num_tasks)`.
        active: Boolean tensor of shape `(num_tasks,)`.

    Returns:
        Tensor of shape `(num_tasks,)`, of sum 1; 0 where no update has equal
        projections other than zero, or the sum of `v` vanishes.

    Cost: one eigendecomposition of that size, and no pass over the variables.

    Example:
    >>> gram = ops.array([[9.0, 0.0], [0.0, 1.0]])
    >>> ops.convert_to_numpy(imtl_g_weights(gram, ops.array([True, True])))
    array([0.25, 0.75], dtype=float32)

    Reference:
        - [Liu et al., 2021](https://openreview.net/forum?id=IMPnRXEWpvr), equation 6.
    """
    lengths = ops.cast(norms(gram), "float64")
    v, reached = least_norm_solution(gram, active)
    v = ops.where(active, ops.divide_no_nan(v, lengths), ops.zeros_like(v))
    total = ops.sum(v)
    defined = ops.logical_and(
        reached > 1e-9, ops.abs(total) > 1e-9 * ops.sum(ops.abs(v))
    )
    w = ops.where(defined, v / ops.where(defined, total, 1.0), ops.zeros_like(v))
    return ops.cast(w, gram.dtype)


@registry.register("imtl_g")
class IMTLG(Balancer):
    """Weighs tasks so that the update projects equally on every unit gradient.

    Guarantee: `u · g_i / ‖g_i‖` is the same for all tasks (while their gradients
        are independent), whatever the scales of the losses.
    Needs: Gram matrix.
    Cost: One backward pass per task; one K×K eigendecomposition per step (order
        K³); no state.
    When: Losses on different scales, and mild conflicts. Not with strong conflicts:
        the weights sum to 1 but have no sign, so a task's gradient may be
        subtracted, and they grow without bound where their sum nearly vanishes.

    Example:
    >>> gram, both = ops.array([[9.0, 0.0], [0.0, 1.0]]), ops.array([True, True])
    >>> weights, _ = IMTLG().weights(gram, None, both, {}, None)
    >>> ops.convert_to_numpy(weights)
    array([0.25, 0.75], dtype=float32)

    Reference:
        - [Liu et al., 2021](https://openreview.net/forum?id=IMPnRXEWpvr),
          Algorithm 1. Parallel gradients, for which the paper's inverse does not
          exist, are covered by the pseudo-inverse of the cosine matrix.
    """

    def weights(self, gram, losses, active, state, seed):
        return imtl_g_weights(gram, active), state
