"""Dynamic weight average: tasks whose loss falls slowly count more."""

import numpy as np
from keras import ops

from keras_mtl.utils.checks import check_positive
from keras_mtl.utils.types import Tensor
from keras_mtl.weightings.weighting import LossWeighting, registry, softmax


def dwa_weights(
    last: Tensor, before: Tensor, active: Tensor, temperature: float
) -> Tensor:
    """Weights `K softmax(r / T)` with `r = last / before`, over the active tasks.

    Args:
        last: Mean losses of the last epoch, shape `(num_tasks,)`.
        before: Mean losses of the epoch before; `NaN` where there is none yet,
            which stands for the ratio 1.
        active: Boolean tensor of shape `(num_tasks,)`.
        temperature: `T > 0`; large values make the weights equal.

    Returns:
        Tensor of shape `(num_tasks,)`, of sum `K` over the `K` active tasks.

    Example:
    >>> w = dwa_weights(ops.array([1.0, 0.5]), ops.array([1.0, 1.0]),
    ...                 ops.array([True, True]), temperature=2.0)
    >>> ops.convert_to_numpy(w).round(4)
    array([1.1244, 0.8756], dtype=float32)

    Reference:
        - [Liu et al., 2019](https://arxiv.org/abs/1803.10704), equation 7.
    """
    known = ops.logical_and(last > 0, before > 0)
    ratio = ops.where(known, last / ops.where(known, before, 1.0), 1.0)
    count = ops.sum(ops.cast(active, ratio.dtype))
    return count * softmax(ratio / temperature, active)


@registry.register("dwa")
class DWA(LossWeighting):
    """More weight to tasks whose loss fell little over the last two epochs.

    The weights are those of `dwa_weights`, from mean losses of epochs. Until two
    epochs are over all weights are 1. An epoch in which a task had no label leaves
    its losses as they were.

    Args:
        temperature: Softness of the weights; the paper uses 2.

    Guarantee: None.

    Needs: Losses of two epochs.

    Cost: One backward pass, `O(num_tasks)` algebra, four numbers per task as state.

    When: Tasks learn at different speeds. It looks at ratios only: losses of
        different scales stay so, and in short trainings it has no time to act.

    Example:
    >>> DWA().get_config()
    {'temperature': 2.0}

    Reference:
        - [Liu et al., 2019](https://arxiv.org/abs/1803.10704), equation 7.
    """

    def __init__(self, temperature: float = 2.0):
        self.temperature = check_positive("temperature", temperature)

    def init(self, tasks):
        zeros, unknown = np.zeros(len(tasks)), np.full(len(tasks), np.nan)
        state = {"sum": zeros, "steps": zeros, "last": unknown, "before": unknown}
        return {}, state

    def objective(self, losses, active, variables, state, seed):
        weights = dwa_weights(state["last"], state["before"], active, self.temperature)
        counted = ops.where(active, losses, ops.zeros_like(losses))
        state = {
            **state,
            "sum": state["sum"] + counted,
            "steps": state["steps"] + ops.cast(active, losses.dtype),
        }
        return ops.sum(weights * losses), state

    def end_epoch(self, state, logs, tasks):
        seen = state["steps"] > 0
        mean = state["sum"] / np.where(seen, state["steps"], 1.0)
        return {
            "sum": np.zeros_like(mean),
            "steps": np.zeros_like(mean),
            "last": np.where(seen, mean, state["last"]),
            "before": np.where(seen, state["last"], state["before"]),
        }

    def get_config(self):
        return {"temperature": self.temperature}
