"""Aligned-MTL: the task gradients, made orthogonal and of one length."""

import keras
from keras import ops

from keras_mtl.balancers.balancer import registry
from keras_mtl.balancers.preference import PreferenceBalancer, preference_shares
from keras_mtl.linalg import inverse_power
from keras_mtl.utils.checks import check_choice
from keras_mtl.utils.types import Tensor

_SCALES = ("min", "median", "rmse")
_EPSILON = {"float32": 2.0**-23, "float64": 2.0**-52}


def aligned_mtl_weights(
    gram: Tensor, active: Tensor, shares: Tensor, scale: str = "min"
) -> Tensor:
    """Task weights of Aligned-MTL, from the Gram matrix of the task gradients.

    With `G = V Λ Vᵀ`, the principal components of the task gradients are brought to
    one length `σ`, the nearest gradients of condition number 1:

        w = σ V Λ^(-1/2) Vᵀ shares

    where `σ²` is the smallest eigenvalue (`"min"`), the (lower) median (`"median"`)
    or the mean (`"rmse"`) of the eigenvalues that exceed rounding; the others are
    left out.

    Args:
        gram: Tensor of shape `(num_tasks, num_tasks)`.
        active: Boolean tensor of shape `(num_tasks,)`.
        shares: Tensor of shape `(num_tasks,)`; 0 for tasks that are not active.
        scale: `"min"`, `"median"` or `"rmse"`.

    Returns:
        Tensor of shape `(num_tasks,)`.

    Cost: one eigendecomposition of that size, and no pass over the variables.

    Example:
    >>> gram = ops.array([[9.0, 0.0], [0.0, 1.0]])
    >>> both, half = ops.array([True, True]), ops.array([0.5, 0.5])
    >>> ops.convert_to_numpy(aligned_mtl_weights(gram, both, half)).round(4)
    array([0.1667, 0.5   ], dtype=float32)

    Reference:
        - [Senushkin et al., 2023](https://arxiv.org/abs/2305.19000), Algorithm 1.
    """
    num_tasks = gram.shape[0]
    epsilon = _EPSILON[keras.backend.standardize_dtype(gram.dtype)]
    matrix = ops.cast(gram, "float64")
    # Entries below 1e-154 would have no square.
    largest = ops.max(ops.diagonal(matrix))
    matrix = ops.divide_no_nan(matrix, largest)
    size = ops.sum(ops.cast(active, "float64"))
    bound = ops.max(ops.sum(ops.abs(matrix), axis=1))
    root, values = inverse_power(matrix, 0.5, epsilon * size * bound)
    rank = ops.sum(ops.cast(values > 0.0, "int32"))
    count = ops.maximum(ops.cast(rank, "float64"), 1.0)
    # Those left out are the zeros at the front.
    first = ops.minimum(num_tasks - rank, num_tasks - 1)
    middle = ops.minimum(first + ops.maximum(rank - 1, 0) // 2, num_tasks - 1)
    square = {
        "min": lambda: ops.take(ops.sort(values), first),
        "median": lambda: ops.take(ops.sort(values), middle),
        "rmse": lambda: ops.sum(values) / count,
    }[scale]()
    w = ops.matmul(root, ops.cast(shares, "float64")[:, None])[:, 0]
    w = ops.where(active, ops.sqrt(square) * w, ops.zeros_like(w))
    return ops.cast(w, gram.dtype)


@registry.register("aligned_mtl")
class AlignedMTL(PreferenceBalancer):
    """Makes the task gradients orthogonal and equally long, then averages them.

    Args:
        preference: Importance of the tasks, one non-negative number each, of which
            only the ratios matter; None for `1 / K` each.
        scale: Length that the principal components get: the shortest one's
            (`"min"`, the paper's), the median's or the root mean square's.

    Guarantee: The transformed gradients have condition number 1, so no task
        dominates or conflicts, and the iteration converges to a Pareto-stationary
        point of the preferred combination.
    Needs: Gram matrix.
    Cost: One backward pass per task; one K×K eigendecomposition per step (order
        K³); no state.
    When: Gradients both conflict and differ in length, and there is a preference
        to converge to. Not with nearly parallel gradients: with `"min"` the
        shortest component is then nearly zero, and training slow; take `"median"`
        or `"rmse"`.

    Example:
    >>> gram, both = ops.array([[9.0, 0.0], [0.0, 1.0]]), ops.array([True, True])
    >>> weights, _ = AlignedMTL().weights(gram, None, both, {}, None)
    >>> ops.convert_to_numpy(weights).round(4)
    array([0.1667, 0.5   ], dtype=float32)

    Reference:
        - [Senushkin et al., 2023](https://arxiv.org/abs/2305.19000), Algorithm 1.
          The authors' code sums (`p = 1`) where the paper and ours average.
    """

    def __init__(self, preference: list | None = None, scale: str = "min"):
        super().__init__(preference)
        self.scale = check_choice("scale", scale, _SCALES)

    def weights(self, gram, losses, active, state, seed):
        shares = preference_shares(self.preference, active, gram.dtype)
        return aligned_mtl_weights(gram, active, shares, self.scale), state

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}
