"""DB-MTL with averaging: running gradients of the log losses, all equally long."""

import numpy as np
from keras import ops

from keras_mtl.balancers.balancer import JacobianBalancer, registry
from keras_mtl.linalg import gram_matrix, norms
from keras_mtl.utils.checks import check_share
from keras_mtl.utils.types import Tensor

_EPSILON = 1e-8


def longest_norm_weights(gram: Tensor, active: Tensor) -> Tensor:
    """Task weights that make every gradient as long as the longest one.

        wᵢ = max d / dᵢ,        dᵢ = sqrt(Gᵢᵢ)

    Args:
        gram: Tensor of shape `(num_tasks, num_tasks)`.
        active: Boolean tensor of shape `(num_tasks,)`.

    Returns:
        Tensor of shape `(num_tasks,)`, 0 where a gradient is zero.

    Cost: `O(num_tasks)`, and no pass over the variables.

    Example:
    >>> gram = ops.array([[1.0, 0.0], [0.0, 4.0]])
    >>> ops.convert_to_numpy(longest_norm_weights(gram, ops.array([True, True])))
    array([2., 1.], dtype=float32)

    Reference:
        - [Lin et al., 2023](https://arxiv.org/abs/2308.12029), Algorithm 1.
    """
    lengths = norms(gram)
    lengths = ops.where(active, lengths, ops.zeros_like(lengths))
    return ops.divide_no_nan(ops.max(lengths) * ops.ones_like(lengths), lengths)


@registry.register("db_mtl_averaged")
class DBMTLAveraged(JacobianBalancer):
    """Averages the gradients of the log losses, and makes them equally long.

    `yᵢ ← β yᵢ + (1 - β) gᵢ / Lᵢ` and `u = max ‖y‖ · Σ yᵢ / ‖yᵢ‖`; `gᵢ / Lᵢ` is the
    gradient of `log Lᵢ`. The averages begin at zero. Losses have to be positive.

    Args:
        beta: Share of the old in the running average, in `[0, 1)`. Defaults to 0.9,
            as in the paper; 0 is `db_mtl`, which needs no state.

    Guarantee: None; every task contributes to the update with the same length, so a
        scaled loss changes nothing.

    Needs: Task gradients themselves, for their running averages, and losses.

    Cost: One backward pass per task, two passes over the Jacobian and its averages;
        a state of num_tasks × shared weights on every replica, as much memory as the
        Jacobian again.

    When: Helps where losses and gradients differ by orders of magnitude and batches
        are noisy; not where memory is short, or where the lengths mean something: a
        task that has converged pulls as hard as the others.

    Example:
    >>> from keras_mtl import balancers
    >>> balancers.get("db_mtl_averaged").get_config()
    {'beta': 0.9}

    Reference:
        - [Lin et al., 2023](https://arxiv.org/abs/2308.12029), Algorithm 1. Heads get
          the gradient of their loss, not of its logarithm, as with every balancer
          here. The authors' code can let β decay with the step; ours is constant.
    """

    def __init__(self, beta: float = 0.9):
        self.beta = check_share("beta", beta)
        if beta == 1:
            raise ValueError(
                "Expected `beta` to be below 1, or no gradient would enter the "
                f"average. Received: beta={beta!r}"
            )

    def init_state(self, num_tasks, shapes):
        return {
            f"average_{i}": np.zeros((num_tasks, size)) for i, size in enumerate(shapes)
        }

    def combine(self, blocks, gram, losses, active, state, seed):
        share = (1.0 - self.beta) / (ops.abs(losses) + _EPSILON)
        averages = []
        for index, block in enumerate(blocks):
            old = ops.cast(state[f"average_{index}"], block.dtype)
            new = self.beta * old + ops.cast(share, block.dtype)[:, None] * block
            averages.append(ops.where(active[:, None], new, old))
        weights = longest_norm_weights(gram_matrix(averages), active)
        gradients = [ops.matmul(weights[None, :], average)[0] for average in averages]
        return gradients, {f"average_{i}": a for i, a in enumerate(averages)}

    def get_config(self):
        return {"beta": self.beta}
