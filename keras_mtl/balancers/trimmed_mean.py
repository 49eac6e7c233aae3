"""Trimmed mean: per coordinate, the average of all but the extreme task gradients."""

from keras import ops

from keras_mtl.balancers.balancer import JacobianBalancer, registry
from keras_mtl.utils.checks import check_count
from keras_mtl.utils.types import Tensor


def trimmed_mean(block: Tensor, active: Tensor, trim_number: int) -> Tensor:
    """Mean of the task gradients without the extremes of every coordinate.

    Each coordinate drops its `trim_number` largest and its `trim_number` smallest
    entries and averages the rest. Where the active tasks are too few for that, it
    drops as many as leave one or two entries, whose mean is the median.

    Args:
        block: Tensor of shape `(num_tasks, entries)`, the task gradients.
        active: Boolean tensor of shape `(num_tasks,)`; the others are not counted.
        trim_number: How many entries to drop on either side.

    Returns:
        Tensor of shape `(entries,)`.

    Cost: a sort of `num_tasks` numbers per entry.

    Example:
    >>> block = ops.array([[1e11, 3.0], [1.0, -1e11], [-1e10, 1e10], [2.0, 2.0]])
    >>> ops.convert_to_numpy(trimmed_mean(block, ops.ones(4, "bool"), 1))
    array([1.5, 2.5], dtype=float32)

    Reference:
        - [Yin et al., 2018](https://arxiv.org/abs/1803.01498), definition 2.
    """
    count = ops.sum(ops.cast(active, "int32"))
    trim = ops.minimum(trim_number, ops.maximum(count - 1, 0) // 2)
    last = ops.full_like(block, float("inf"))
    ordered = ops.sort(ops.where(active[:, None], block, last), axis=0)
    rank = ops.arange(block.shape[0], dtype="int32")
    kept = ops.logical_and(rank >= trim, rank < count - trim)[:, None]
    total = ops.sum(ops.where(kept, ordered, ops.zeros_like(block)), axis=0)
    return ops.divide_no_nan(total, ops.cast(count - 2 * trim, block.dtype))


@registry.register("trimmed_mean")
class TrimmedMean(JacobianBalancer):
    """Averages the task gradients without the extreme ones of every coordinate.

    `uₚ` is the mean over the tasks of `gᵢₚ` but the `trim_number` largest and the
    `trim_number` smallest; see `trimmed_mean`.

    Args:
        trim_number: How many entries to drop on either side, `>= 0`; more than
            `2 * trim_number` tasks are needed. The paper drops a given share of
            them; 0 is the mean. Defaults to 1.

    Guarantee: Every coordinate lies between the gradients of sound tasks, whatever
        `trim_number` corrupted ones are.

    Needs: Task gradients themselves, elementwise.

    Cost: One backward pass per task and a sort over the tasks at every shared weight;
        no state, one more copy of the Jacobian.

    When: Helps where labels of some tasks are broken or outliers occur; not with few
        tasks, or where a task with unusual gradients is one that you care for.

    Example:
    >>> from keras_mtl import balancers
    >>> balancers.get("trimmed_mean").get_config()
    {'trim_number': 1}

    Reference:
        - [Yin et al., 2018](https://arxiv.org/abs/1803.01498), Algorithm 1, option II,
          with tasks in the place of machines and a number in the place of a share.
    """

    def __init__(self, trim_number: int = 1):
        self.trim_number = check_count("trim_number", trim_number, 0)

    def init_state(self, num_tasks, shapes):
        if num_tasks <= 2 * self.trim_number:
            raise ValueError(
                f"Expected more than {2 * self.trim_number} tasks, since that many "
                "entries of every coordinate are dropped. Received: "
                f"trim_number={self.trim_number} and {num_tasks} tasks. Lower "
                "`trim_number`"
            )
        return {}

    def combine(self, blocks, gram, losses, active, state, seed):
        return [trimmed_mean(b, active, self.trim_number) for b in blocks], state

    def get_config(self):
        return {"trim_number": self.trim_number}
