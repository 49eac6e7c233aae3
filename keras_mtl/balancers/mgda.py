"""MGDA: the shortest convex combination of the task gradients."""

from keras import ops

from keras_mtl.balancers.balancer import Balancer, registry
from keras_mtl.linalg import min_norm_point, norms
from keras_mtl.utils.checks import check_choice
from keras_mtl.utils.types import Tensor

_NORMALIZATIONS = ("none", "l2", "loss", "loss+")


def mgda_weights(gram: Tensor, active: Tensor) -> Tensor:
    """Task weights of the multiple-gradient descent algorithm.

        w = argmin over the simplex of wᵀ G w

    The update `w @ J` is a descent direction of every task, or zero where no such
    direction exists (Pareto-stationary).

    Args:
        gram: Tensor of shape `(num_tasks, num_tasks)`.
        active: Boolean tensor of shape `(num_tasks,)`.

    Returns:
        Tensor of shape `(num_tasks,)`, non-negative, of sum 1 over active tasks.

    Cost: `O(num_tasks ** 4)`, and no pass over the variables.

    Example:
    >>> gram = ops.array([[1.0, 0.0], [0.0, 3.0]])
    >>> ops.convert_to_numpy(mgda_weights(gram, ops.array([True, True])))
    array([0.75, 0.25], dtype=float32)

    Reference:
        - [Désidéri, 2012](https://doi.org/10.1016/j.crma.2012.03.014)
        - [Sener & Koltun, 2018](https://arxiv.org/abs/1810.04650), equation 3.
          Their Frank-Wolfe iteration stops near the minimum; ours is exact.
    """
    return min_norm_point(gram, active)


@registry.register("mgda")
class MGDA(Balancer):
    """The shortest convex combination of the task gradients.

    Args:
        normalization: What the task gradients are divided by before the min-norm
            point is sought: `"none"`, their norm (`"l2"`), the task's loss
            (`"loss"`), or loss times norm (`"loss+"`). The weights found are
            applied to the gradients as they are, as in the authors' code.

    Guarantee: The update descends on every task's loss, to first order, or is zero
        at a Pareto-stationary point.

    Needs: Gram matrix; with a normalisation by losses, these too.

    Cost: One backward pass per task, `O(num_tasks ** 4)` algebra in float64, no
        state; the task gradients are in memory together.

    When: No task may get worse. A task with tiny gradients takes all the weight and
        slows the others (`normalization="l2"` helps), and it stops at the first
        point of the Pareto front that it meets.

    Example:
    >>> MGDA(normalization="l2").get_config()
    {'normalization': 'l2'}

    Reference:
        - [Désidéri, 2012](https://doi.org/10.1016/j.crma.2012.03.014)
        - [Sener & Koltun, 2018](https://arxiv.org/abs/1810.04650), equation 3.
    """

    def __init__(self, normalization: str = "none"):
        self.normalization = check_choice(
            "normalization", normalization, _NORMALIZATIONS
        )

    def weights(self, gram, losses, active, state, seed):
        divisor = ops.ones_like(losses)
        if self.normalization in ("l2", "loss+"):
            divisor = divisor * ops.cast(norms(gram), losses.dtype)
        if self.normalization in ("loss", "loss+"):
            divisor = divisor * losses
        divisor = ops.cast(divisor, gram.dtype)
        factor = ops.divide_no_nan(ops.ones_like(divisor), divisor)
        scaled = gram * factor[:, None] * factor[None, :]
        return mgda_weights(scaled, active), state

    def get_config(self):
        return {"normalization": self.normalization}
