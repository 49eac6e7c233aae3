"""GradVac: turn task gradients towards each other, up to their usual cosine."""

import numpy as np
from keras import ops

from keras_mtl.balancers.balancer import Balancer, registry
from keras_mtl.linalg import cosine, norms
from keras_mtl.utils.checks import check_share
from keras_mtl.utils.random import uniform
from keras_mtl.utils.types import Tensor

# A target cosine this near to 1 or -1 counts as this one: reaching it would take
# an infinite multiple of the other gradient.
_LARGEST = (1.0 - 1e-6) ** 0.5


def gradvac_weights(
    gram: Tensor, order: Tensor, target: Tensor, beta: float
) -> tuple[Tensor, Tensor]:
    """Task weights of gradient vaccine, and the next target cosines.

    For task `i`, and every other task `j` in the order given for `i`: if the cosine
    `φ` of the gradient of `i`, as altered so far, and that of `j` is below
    `t = target_ij`, a multiple of the latter is added, so that the cosine becomes `t`:

        g_i  <-  g_i + ‖g_i‖ (t √(1 - φ²) - φ √(1 - t²)) / (‖g_j‖ √(1 - t²)) g_j

    and, altered or not, `target_ij <- (1 - β) t + β φ`. The altered gradients are
    carried by their coefficients, in units of the lengths of the gradients.

    Args:
        gram: Tensor of shape `(num_tasks, num_tasks)`.
        order: Integer tensor of shape `(num_tasks, num_tasks)`. Row `i` is a
            permutation of the tasks; the entry equal to `i` is skipped.
        target: Tensor of shape `(num_tasks, num_tasks)`.
        beta: Share of the new cosine in the target.

    Returns:
        Tensor of shape `(num_tasks,)`: the column sums of the coefficients. And the
        next target; pairs with a gradient that is zero keep theirs.

    Cost: `O(num_tasks ** 3)`, and no pass over the variables.

    Example:
    >>> gram, order = ops.array([[1.0, 0.0], [0.0, 4.0]]), ops.array([[1, 0], [1, 0]])
    >>> target = 0.6 * ops.ones((2, 2))
    >>> weights, target = gradvac_weights(gram, order, target, beta=0.5)
    >>> ops.convert_to_numpy(weights).round(4)
    array([2.5  , 1.375], dtype=float32)

    Reference:
        - [Wang et al., 2021](https://arxiv.org/abs/2010.05874), equations 2 and 3.
    """
    num_tasks = gram.shape[0]
    tasks = ops.arange(num_tasks, dtype=order.dtype)
    lengths, cosines = norms(gram), cosine(gram)
    aims = ops.clip(target, -_LARGEST, _LARGEST)
    slopes = aims / ops.sqrt(1.0 - aims**2)
    coefficients = ops.eye(num_tasks, dtype=gram.dtype)
    # Inner products of the altered gradients, in the same units, with all unit ones.
    inner = cosines
    change = ops.zeros_like(target)
    for step in range(num_tasks):
        other = order[:, step]
        unit = ops.one_hot(other, num_tasks, dtype=gram.dtype)
        towards = ops.take(cosines, other, axis=0)
        length = ops.sqrt(ops.maximum(ops.sum(coefficients * inner, axis=1), 0.0))
        phi = ops.divide_no_nan(ops.sum(unit * inner, axis=1), length)
        phi = ops.clip(phi, -1.0, 1.0)
        pair = ops.logical_and(length > 0, ops.sum(unit * towards, axis=1) > 0)
        pair = ops.logical_and(pair, ops.not_equal(other, tasks))
        low = ops.logical_and(pair, phi < ops.sum(unit * aims, axis=1))
        shift = ops.sum(unit * slopes, axis=1) * ops.sqrt(1.0 - phi**2) - phi
        shift = ops.where(low, length * shift, ops.zeros_like(shift))
        coefficients = coefficients + shift[:, None] * unit
        inner = inner + shift[:, None] * towards
        seen = ops.cast(pair, gram.dtype)[:, None] * unit
        change = change + seen * (phi[:, None] - target)
    # What the tasks borrow from each other; of its own gradient each keeps one.
    borrowed = coefficients - ops.eye(num_tasks, dtype=gram.dtype)
    borrowed = ops.sum(lengths[:, None] * borrowed, axis=0)
    return 1.0 + ops.divide_no_nan(borrowed, lengths), target + beta * change


@registry.register("gradvac")
class GradVac(Balancer):
    """PCGrad with a goal for every pair: the cosine that the pair usually has.

    PCGrad alters a gradient where its cosine with another one is negative. GradVac
    does so where the cosine is below its running mean, and turns the gradient until
    it has that cosine; see `gradvac_weights`. Each task gets a fresh random order.

    Args:
        beta: Share of the new cosine in the running mean, which starts at 0. The
            paper uses 0.01; LibMTL and TorchJD use 0.5.

    Guarantee: After a gradient was turned, its cosine with the task it was turned
        to is the target; with targets of 0 the method is PCGrad.

    Needs: Gram matrix.

    Cost: One backward pass per task and step, `O(num_tasks ** 3)` operations on the
        Gram matrix, a state of `num_tasks ** 2` numbers.

    When: Related tasks whose gradients agree most of the time, such as languages. Not
        with very many tasks, since the order of the tasks matters, nor for tasks of
        very different gradient lengths, which it leaves as they are.

    Example:
    >>> balancer = GradVac(beta=0.01)
    >>> balancer.init_state(num_tasks=2)["target"]
    array([[0., 0.],
           [0., 0.]])

    Reference:
        - [Wang et al., 2021](https://arxiv.org/abs/2010.05874), section 3.2. Like
          theirs, and unlike LibMTL's, the running mean takes in every cosine, not
          only those below it. A target above `1 - 5e-7` counts as that.
    """

    def __init__(self, beta: float = 0.01):
        self.beta = check_share("beta", beta)

    def init_state(self, num_tasks):
        return {"target": np.zeros((num_tasks, num_tasks))}

    def weights(self, gram, losses, active, state, seed):
        tasks = ops.arange(gram.shape[0])
        keys = uniform(tasks[:, None] * 2**16 + tasks[None, :], seed)
        target = ops.cast(state["target"], gram.dtype)
        order = ops.argsort(keys, axis=1)
        weights, target = gradvac_weights(gram, order, target, self.beta)
        weights = ops.where(active, weights, ops.zeros_like(weights))
        return weights, {"target": target}

    def get_config(self):
        return {"beta": self.beta}
