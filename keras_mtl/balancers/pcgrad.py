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

    Cost: `O(num_tasks ** 4)`, in `num_tasks` products of K×K matrices, and no pass
    over the variables.

    Example:
    >>> gram = ops.array([[18.0, -22.0], [-22.0, 38.0]])
    >>> weights = pcgrad_weights(gram, order=ops.array([[0, 1], [0, 1]]))
    >>> ops.convert_to_numpy(weights).round(4)
    array([2.2222, 1.5789], dtype=float32)

    Reference:
        - [Yu et al., 2020](https://arxiv.org/abs/2001.06782), Algorithm 1.
    """
    tasks = ops.arange(gram.shape[0], dtype=order.dtype)
    turns = ops.equal(ops.transpose(order)[:, :, None], tasks)
    return _projected(gram, turns)


def _projected(gram, turns):
    """Column sums of `C`; `turns[s, i, j]`: does task `i` meet `j` in turn `s`?"""
    num_tasks = gram.shape[0]
    eye = ops.eye(num_tasks, dtype=gram.dtype)
    squared_norms = ops.diagonal(gram)
    coefficients, zeros = eye, ops.zeros_like(gram)
    for turn in ops.unstack(ops.logical_and(turns, eye == 0), num_tasks):
        # All inner products at once, of which a turn needs one per row: a product of
        # matrices costs less than picking them.
        inner = ops.minimum(ops.matmul(coefficients, gram), 0.0)
        shift = ops.divide_no_nan(inner, squared_norms)
        coefficients = coefficients - ops.where(turn, shift, zeros)
    return ops.sum(coefficients, axis=0)


@registry.register("pcgrad")
class PCGrad(Balancer):
    """Projects every task gradient off those that it conflicts with.

    Every task meets the others in a fresh random order; see `pcgrad_weights`.

    Guarantee: With small steps two convex tasks reach the minimum of the summed loss
        or a point where their gradients are opposite (theorem 1).

    Needs: Gram matrix.

    Cost: One backward pass per task, `O(num_tasks ** 4)` algebra, no state; the task
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
        weights = _projected(gram, _turns(keys))
        return ops.where(active, weights, ops.zeros_like(weights)), state


def _turns(keys):
    """Who meets whom when, in the order of the keys of a row; equal ones by index.

    Counting smaller keys needs no sort, which XLA would have to call.
    """
    num_tasks = keys.shape[0]
    tasks = ops.arange(num_tasks)
    keys = ops.cast(keys, "float64") + ops.cast(tasks, "float64") * 2.0**-40
    smaller = ops.expand_dims(keys, 1) < ops.expand_dims(keys, 2)
    turn = ops.sum(ops.cast(smaller, "int32"), axis=2)
    return ops.equal(turn, tasks[:, None, None])
