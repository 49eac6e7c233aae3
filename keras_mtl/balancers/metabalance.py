"""MetaBalance: bring the gradients of all tasks to the length of one task's."""

import numpy as np
from keras import ops

from keras_mtl.balancers.balancer import Balancer, registry
from keras_mtl.linalg import norms
from keras_mtl.utils.checks import check_count, check_decay, check_share
from keras_mtl.utils.types import Tensor


def metabalance_weights(
    lengths: Tensor, active: Tensor, target: int, relaxation: float
) -> Tensor:
    """Task weights of MetaBalance.

        wᵢ = r m_target / mᵢ + (1 - r)

    Args:
        lengths: Mean gradient norms `m`, of shape `(num_tasks,)`.
        active: Boolean tensor of shape `(num_tasks,)`.
        target: Index of the task whose gradient sets the length. Where it is not
            active, the first active task stands in for it.
        relaxation: `r`; 1 gives all gradients the target's length, 0 leaves them.

    Returns:
        Tensor of shape `(num_tasks,)`.

    Example:
    >>> lengths, both = ops.array([2.0, 8.0]), ops.array([True, True])
    >>> w = metabalance_weights(lengths, both, target=0, relaxation=1.0)
    >>> ops.convert_to_numpy(w)
    array([1.  , 0.25], dtype=float32)

    Reference:
        - [He et al., 2022](https://arxiv.org/abs/2203.06801), Algorithm 1.
    """
    index = ops.where(active[target], target, ops.argmax(ops.cast(active, "int32")))
    chosen = ops.one_hot(index, lengths.shape[0], dtype=lengths.dtype)
    ratio = ops.divide_no_nan(ops.sum(chosen * lengths), lengths)
    weights = relaxation * ratio + (1.0 - relaxation)
    return ops.where(active, weights, ops.zeros_like(weights))


@registry.register("metabalance")
class MetaBalance(Balancer):
    """Auxiliary gradients get a length near that of the target task's gradient.

    The lengths are running means, `m <- β m + (1 - β) ‖g‖`, divided by
    `1 - β^steps`; see `metabalance_weights` for what is made of them.

    Args:
        target: Index of the target task. Default 0, the first task.
        relaxation: Nearness of the lengths, from 0 (as they are) to 1 (equal). The
            paper tunes it; its code has 0.7.
        beta: Share of the past in the running means, `< 1`; the paper uses 0.9.

    Guarantee: None for the descent; with `relaxation=1` and constant norms all tasks
        pull with the target's strength.

    Needs: Gram matrix; only its diagonal.

    Cost: One backward pass per task and step, `O(num_tasks)` operations, a state of
        `2 * num_tasks` numbers.

    When: One task matters and the others are there to help it, with gradients of
        other lengths. Not when all tasks matter, nor against conflicts of direction.

    Example:
    >>> balancer = MetaBalance(target=1, relaxation=0.5)
    >>> balancer.get_config()
    {'target': 1, 'relaxation': 0.5, 'beta': 0.9}

    Reference:
        - [He et al., 2022](https://arxiv.org/abs/2203.06801), Algorithm 1. Their
          code balances every variable on its own, and leaves the running means
          undivided, which makes a difference only for tasks without labels in some
          batches: here these are not taken for tasks with short gradients.
    """

    def __init__(self, target: int = 0, relaxation: float = 0.7, beta: float = 0.9):
        self.target = check_count("target", target, minimum=0)
        self.relaxation = check_share("relaxation", relaxation)
        self.beta = check_decay("beta", beta)

    def init_state(self, num_tasks):
        if self.target >= num_tasks:
            raise ValueError(
                f"Expected `target` to be the index of one of {num_tasks} tasks. "
                f"Received: target={self.target}"
            )
        return {"length": np.zeros(num_tasks), "steps": np.zeros(num_tasks)}

    def weights(self, gram, losses, active, state, seed):
        length, steps = (ops.cast(state[k], gram.dtype) for k in ("length", "steps"))
        steps = steps + ops.cast(active, gram.dtype)
        mean = self.beta * length + (1.0 - self.beta) * norms(gram)
        length = ops.where(active, mean, length)
        past = ops.power(ops.cast(self.beta, gram.dtype), steps)
        mean = ops.divide_no_nan(length, 1.0 - past)
        weights = metabalance_weights(mean, active, self.target, self.relaxation)
        return weights, {"length": length, "steps": steps}

    def get_config(self):
        return {
            "target": self.target,
            "relaxation": self.relaxation,
            "beta": self.beta,
        }
