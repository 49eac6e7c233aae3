"""Krum: only the task gradients that have the most company."""

from keras import ops

from keras_mtl.balancers.balancer import Balancer, registry
from keras_mtl.utils.checks import check_count
from keras_mtl.utils.types import Tensor

# Scores that differ by less than this share are equal: rounding must not decide.
_TOLERANCE = 1e-6


def krum_weights(
    gram: Tensor, active: Tensor, num_byzantine: int, num_selected: int = 1
) -> Tensor:
    """Task weights of (multi-)Krum.

    With `n` tasks of which `f` may be out of line, the score of a task is the sum of
    the squared distances `Gᵢᵢ + Gⱼⱼ - 2 Gᵢⱼ` to its `n - f - 2` nearest others (one,
    where labels are too few for that). The `m` tasks of the lowest scores get `1/m`.

    Args:
        gram: Tensor of shape `(num_tasks, num_tasks)`.
        active: Boolean tensor of shape `(num_tasks,)`; `n` counts these.
        num_byzantine: `f`.
        num_selected: `m`, at most `n`.

    Returns:
        Tensor of shape `(num_tasks,)`, of sum 1 over active tasks. Tasks that tie for
        the last places share them.

    Cost: `O(num_tasks ** 2 log(num_tasks))`, and no pass over the variables.

    Example:
    >>> gram = ops.array([[1.0, 1.0, 9.0], [1.0, 2.0, 9.0], [9.0, 9.0, 81.0]])
    >>> all_three = ops.array([True, True, True])
    >>> ops.convert_to_numpy(krum_weights(gram, all_three, num_byzantine=0))
    array([0.5, 0.5, 0. ], dtype=float32)

    Reference:
        - [Blanchard et al., 2017](https://arxiv.org/abs/1703.02757), section 4.
    """
    num_tasks, dtype = gram.shape[0], gram.dtype
    gram = ops.cast(0.5 * gram + 0.5 * ops.transpose(gram), "float64")
    squares = ops.diagonal(gram)
    distances = ops.maximum(squares[:, None] + squares[None, :] - 2.0 * gram, 0.0)
    itself = ops.eye(num_tasks, dtype="bool")
    pairs = ops.logical_and(active[:, None], active[None, :])
    pairs = ops.logical_and(pairs, ops.logical_not(itself))
    infinite = float("inf") * ops.ones_like(gram)
    nearest = ops.sort(ops.where(pairs, distances, infinite), axis=1)
    count = ops.sum(ops.cast(active, "int32"))
    neighbours = ops.minimum(ops.maximum(count - num_byzantine - 2, 1), count - 1)
    places = ops.arange(num_tasks, dtype="int32")
    near = (places < neighbours)[None, :]
    scores = ops.sum(ops.where(near, nearest, ops.zeros_like(nearest)), axis=1)
    scores = ops.where(active, scores, infinite[0])
    selected = ops.minimum(num_selected, count)
    last = ops.sort(scores)[ops.maximum(selected - 1, 0)]
    margin = ops.where(active, _TOLERANCE * last, ops.zeros_like(scores))
    inside = ops.cast(scores < last - margin, "float64")
    tied = ops.logical_and(active, ops.abs(scores - last) <= margin)
    tied = ops.cast(tied, "float64")
    places_left = ops.cast(selected, "float64") - ops.sum(inside)
    weights = inside + tied * ops.divide_no_nan(places_left, ops.sum(tied))
    weights = ops.divide_no_nan(weights, ops.cast(selected, "float64"))
    weights = ops.where(active, weights, ops.zeros_like(weights))
    return ops.cast(weights, dtype)


@registry.register("krum")
class Krum(Balancer):
    """The mean of the gradients that lie nearest to the others; outliers are out.

    Made for training with workers that may send anything; the tasks take the place
    of the workers. See `krum_weights`.

    Args:
        num_byzantine: How many tasks may be out of line, `f`. More than none takes
            `2 f + 3` tasks. Default 0.
        num_selected: How many gradients are averaged, `m`; 1 is Krum, more multi-Krum.

    Guarantee: With at most `f` outliers, `2 f + 2 < num_tasks`, and a spread of the
        others that is small beside their mean, the expected update has a positive
        inner product with that mean.

    Needs: Gram matrix.

    Cost: One backward pass per task and step, `O(num_tasks ** 2 log(num_tasks))`
        operations on the Gram matrix, no state.

    When: Many similar tasks (clients, sites, annotators), some of them broken. Not for
        tasks that differ by nature: those not selected do not train the shared part.

    Example:
    >>> Krum(num_byzantine=1).init_state(num_tasks=4)
    Traceback (most recent call last):
        ...
    ValueError: Expected at least 5 tasks with `num_byzantine=1`. Received: 4 tasks...

    Reference:
        - [Blanchard et al., 2017](https://arxiv.org/abs/1703.02757), section 4. Equal
          scores share their places, where the paper takes the first, so that the order
          of the tasks does not matter. TorchJD adds up distances that are not squared.
    """

    def __init__(self, num_byzantine: int = 0, num_selected: int = 1):
        self.num_byzantine = check_count("num_byzantine", num_byzantine, minimum=0)
        self.num_selected = check_count("num_selected", num_selected)

    def init_state(self, num_tasks):
        needed = 2 * self.num_byzantine + 3
        if self.num_byzantine > 0 and num_tasks < needed:
            raise ValueError(
                f"Expected at least {needed} tasks with `num_byzantine="
                f"{self.num_byzantine}`. Received: {num_tasks} tasks. Add tasks, or "
                "lower `num_byzantine`"
            )
        if self.num_selected > num_tasks:
            raise ValueError(
                f"Expected `num_selected` to be at most the number of tasks, "
                f"{num_tasks}. Received: num_selected={self.num_selected}"
            )
        return {}

    def weights(self, gram, losses, active, state, seed):
        weights = krum_weights(gram, active, self.num_byzantine, self.num_selected)
        return weights, state

    def get_config(self):
        return {
            "num_byzantine": self.num_byzantine,
            "num_selected": self.num_selected,
        }
