"""PCGrad: project every task gradient off the ones it conflicts with."""

from keras import ops

from keras_mtl.balancers.balancer import Balancer, registry
from keras_mtl.utils.random import uniform
from keras_mtl.utils.types import Tensor


def pcgrad_weights(gram: Tensor, order: Tensor) -> Tensor:
    """Task weights of PCGrad, from the Gram matrix of the task gradients.

    A projected gradient never leaves the span of the task gradients, so it is
    carried by its coefficients alone. Row `i` of `C` starts as the `i`-th unit
    vector; for every other task `j`, in the order given for task `i`,

        C_ij  <-  C_ij - min(0, (C G)_ij) / G_jj

    and the task weights are the column sums of `C`.

    Args:
        gram: Tensor of shape `(num_tasks, num_tasks)`, `G = J @ J.T`, where row
            `i` of `J` is the gradient of task `i` on the shared variables.
        order: Integer tensor of shape `(num_tasks, num_tasks)`. Row `i` is a
            permutation of the tasks; the entry equal to `i` is skipped.

    Returns:
        Tensor of shape `(num_tasks,)`: the weights `w` of the update `w @ J`.

    Cost: `O(num_tasks ** 3)`, and no pass over the variables.

    Example:
    >>> gram = ops.array([[18.0, -22.0], [-22.0, 38.0]])
    >>> weights = pcgrad_weights(gram, order=ops.array([[0, 1], [0, 1]]))
    >>> ops.convert_to_numpy(weights).round(4)
    array([2.2222, 1.5789], dtype=float32)

    Reference:
        - [Yu et al., 2020](https://arxiv.org/abs/2001.06782), Algorithm 1.
    """
    num_tasks = gram.shape[0]
    tasks = ops.arange(num_tasks, dtype=order.dtype)
    squared_norms = ops.diagonal(gram)
    coefficients = ops.eye(num_tasks, dtype=gram.dtype)
    for step in range(num_tasks):
        other = order[:, step]
        inner = ops.sum(ops.take(gram, other, axis=0) * coefficients, axis=1)
        conflict = ops.logical_and(inner < 0, ops.not_equal(other, tasks))
        shift = ops.divide_no_nan(inner, ops.take(squared_norms, other))
        shift = ops.where(conflict, shift, ops.zeros_like(shift))
        unit = ops.one_hot(other, num_tasks, dtype=gram.dtype)
        coefficients = coefficients - shift[:, None] * unit
    return ops.sum(coefficients, axis=0)


@registry.register("pcgrad")
class PCGrad(Balancer):
    """Projects every task gradient off those that it conflicts with.

    Every task meets the others in a fresh random order; see `pcgrad_weights`.

    Guarantee: With small steps two convex tasks reach the minimum of the summed loss
        or a point where their gradients are opposite (theorem 1).

    Needs: Gram matrix.

    Cost: One backward pass per task, `O(num_tasks ** 3)` algebra, no state; the task
        gradients are in memory together.

    When: Gradients often conflict and are of similar length. A task of much longer
        gradients still leads, and with more than two tasks conflicts may remain.

    Example:
    >>> PCGrad().get_config()
    {}

    Reference:
        - [Yu et al., 2020](https://arxiv.org/abs/2001.06782), Algorithm 1. The task
          itself is skipped in its order.
    """

    def weights(self, gram, losses, active, state, seed):
        tasks = ops.arange(gram.shape[0])
        keys = uniform(tasks[:, None] * 2**16 + tasks[None, :], seed)
        weights = pcgrad_weights(gram, ops.argsort(keys, axis=1))
        return ops.where(active, weights, ops.zeros_like(weights)), state
