"""Validation-adaptive weights: tasks whose validation loss still moves count more."""

import numpy as np
from keras import ops

from keras_mtl.utils.checks import check_count
from keras_mtl.utils.types import Tensor
from keras_mtl.weightings.weighting import (
    LossWeighting,
    check_every_task,
    check_log_names,
    from_logs,
    registry,
)


def trend_weights(moves: Tensor, active: Tensor) -> Tensor:
    """Weights in proportion to how far the validation losses moved, of mean 1.

    The paper multiplies the trend `|now - before| / now` of a task with its loss
    `now`, each over its mean, and brings the products to the mean 1. The loss
    cancels: what remains is `|now - before|` over its mean.

    Args:
        moves: Tensor of shape `(num_tasks,)`, `|now - before|`, or NaN where it is
            not known yet, which stands for the mean.
        active: Boolean tensor of shape `(num_tasks,)`.

    Returns:
        Tensor of shape `(num_tasks,)`, of sum `K` over the `K` active tasks.

    Example:
    >>> w = trend_weights(ops.array([0.5, 2.0]), ops.array([True, True]))
    >>> ops.convert_to_numpy(w)
    array([0.4, 1.6], dtype=float32)

    Reference:
        - [He et al., 2017](https://doi.org/10.1145/3123266.3123424), the validation
          loss trend algorithm.
    """
    known = ops.logical_and(active, ops.logical_not(ops.isnan(moves)))
    moves = ops.where(known, moves, ops.zeros_like(moves))
    mean = ops.divide_no_nan(ops.sum(moves), ops.sum(ops.cast(known, moves.dtype)))
    scaled = ops.divide_no_nan(moves, mean)
    weights = ops.where(ops.logical_and(known, mean > 0), scaled, 1.0)
    return ops.where(active, weights, ops.zeros_like(weights))


@registry.register("validation_adaptive")
class ValidationAdaptive(LossWeighting):
    """Weights a task by how much its validation loss still moves.

    At the end of an epoch the weight becomes the difference between the mean
    validation loss of the last `window` epochs and that of the `window` before, over
    the mean of this difference over the tasks. Until then all weights are 1. A task
    whose validation loss is NaN, as it had no label, keeps its history.

    Args:
        window: Number of epochs that are averaged.
        metrics: Optional dict from every task's name to another value in the logs of
            an epoch, such as `{"digit": "val_digit_accuracy"}`. Defaults to the
            validation losses, `val_<task>_loss`.

    Guarantee: None.
    Needs: Losses, and validation data in every epoch of `fit`.
    Cost: One backward pass, `2 * window + 1` numbers of state per task, and the
        validation.
    When: Tasks that converge at different speeds: those that are done, and those that
        overfit slowly, make room. Not with few or noisy validation examples, nor with
        losses of different units.

    Example:
    >>> ValidationAdaptive(window=2).get_config()
    {'window': 2, 'metrics': None}

    Reference:
        - [He et al., 2017](https://doi.org/10.1145/3123266.3123424), the validation
          loss trend algorithm. The paper validates one batch every few steps; we read
          the validation of an epoch.
    """

    def __init__(self, window: int = 1, metrics: dict[str, str] | None = None):
        self.window = check_count("window", window)
        self.metrics = None if metrics is None else check_log_names("metrics", metrics)

    def init(self, tasks):
        if self.metrics is not None:
            check_every_task("metrics", self.metrics, tasks)
        history = np.full((len(tasks), 2 * self.window), np.nan)
        return {}, {"history": history, "moves": history[:, 0]}

    def objective(self, losses, active, variables, state, seed):
        return ops.sum(trend_weights(state["moves"], active) * losses), state

    def end_epoch(self, state, logs, tasks):
        names = [f"val_{task.name}_loss" for task in tasks]
        if self.metrics is not None:
            names = [self.metrics[task.name] for task in tasks]
        values = from_logs(names, logs)
        shifted = np.column_stack([state["history"][:, 1:], values])
        seen = ~np.isnan(values)
        history = np.where(seen[:, None], shifted, state["history"])
        before, now = history[:, : self.window], history[:, self.window :]
        return {
            "history": history,
            "moves": abs(now.mean(axis=1) - before.mean(axis=1)),
        }

    def get_config(self):
        return {"window": self.window, "metrics": self.metrics}
