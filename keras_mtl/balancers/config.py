"""ConFIG: the direction with the same cosine to every task gradient."""

from keras import ops

from keras_mtl.balancers.balancer import registry
from keras_mtl.balancers.preference import PreferenceBalancer, preference_shares
from keras_mtl.linalg import cosine, least_norm_solution, norms
from keras_mtl.utils.types import Tensor


def config_weights(gram: Tensor, shares: Tensor) -> Tensor:
    """Task weights of the conflict-free inverse of the unit gradients.

    With unit gradients `Û`, `b = Û⁺ shares` has cosines in the ratio of `shares` to
    the task gradients, and the update is `(Σ g_i · b̂) b̂`. With the norms `d` and
    the cosine matrix `C`,

        c = C⁺ shares,        w = (d · C c) / (cᵀ C c) c / d

    Args:
        gram: Tensor of shape `(num_tasks, num_tasks)`.
        shares: Tensor of shape `(num_tasks,)`, non-negative; 0 for tasks that are
            not active.

    Returns:
        Tensor of shape `(num_tasks,)`, 0 where no such direction exists.

    Cost: one eigendecomposition of that size, and no pass over the variables.

    Example:
    >>> gram = ops.array([[9.0, 0.0], [0.0, 1.0]])
    >>> weights = config_weights(gram, ops.array([0.5, 0.5]))
    >>> ops.convert_to_numpy(weights).round(4)
    array([0.6667, 2.    ], dtype=float32)

    Reference:
        - [Liu et al., 2025](https://arxiv.org/abs/2408.11104), equations 2 and 3.
    """
    matrix = ops.cast(gram, "float64")
    lengths = norms(matrix)
    c, square = least_norm_solution(gram, shares)
    # Of what `shares` is, this much is not orthogonal to the gradients.
    defined = square > 1e-9 * ops.sum(ops.cast(shares, "float64") ** 2)
    towards = ops.matmul(cosine(matrix), c[:, None])[:, 0]
    length = ops.sum(lengths * towards) / ops.where(defined, square, 1.0)
    w = ops.divide_no_nan(length * c, lengths)
    return ops.cast(ops.where(defined, w, ops.zeros_like(w)), gram.dtype)


@registry.register("config")
class ConFIG(PreferenceBalancer):
    """Takes the direction whose cosine is the same to every task gradient.

    Its length is the sum of the projections of the task gradients on it, so that
    it shrinks where they conflict.

    Args:
        preference: Cosines wanted, one non-negative number per task, of which only
            the ratios matter; None (the paper's default) for equal ones.

    Guarantee: While the task gradients are independent, the update has the same
        positive cosine to all of them, so no loss rises to first order.
    Needs: Gram matrix.
    Cost: One backward pass per task; one K×K eigendecomposition per step (order
        K³); no state.
    When: Losses of very different scales, as in physics-informed networks. Not with
        more tasks than independent gradients, where the cosines are equal only in
        the least-squares sense.

    Example:
    >>> gram, both = ops.array([[9.0, 0.0], [0.0, 1.0]]), ops.array([True, True])
    >>> weights, _ = ConFIG().weights(gram, None, both, {}, None)
    >>> ops.convert_to_numpy(weights).round(4)
    array([0.6667, 2.    ], dtype=float32)

    Reference:
        - [Liu et al., 2025](https://arxiv.org/abs/2408.11104), equations 2 and 3.
          The authors' code inverts the unit gradients themselves; from the Gram
          matrix, gradients closer than its rounding error count as parallel.
    """

    def weights(self, gram, losses, active, state, seed):
        shares = preference_shares(self.preference, active, gram.dtype)
        return config_weights(gram, shares), state
