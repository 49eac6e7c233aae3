"""Data-based weights: what the labels alone say, fixed before training."""

from typing import Any

import numpy as np
from keras import ops

from keras_mtl.task import Task
from keras_mtl.utils.checks import check_positive
from keras_mtl.utils.types import Tensor
from keras_mtl.weightings.weighting import (
    LossWeighting,
    by_task,
    check_every_task,
    registry,
)


def inverse_shares(values: Tensor, active: Tensor) -> Tensor:
    """Weights in proportion to `1 / values`, of sum `K` over the `K` active tasks.

    Args:
        values: Positive tensor of shape `(num_tasks,)`.
        active: Boolean tensor of shape `(num_tasks,)`.

    Returns:
        Tensor of shape `(num_tasks,)`.

    Example:
    >>> w = inverse_shares(ops.array([300.0, 100.0]), ops.array([True, True]))
    >>> ops.convert_to_numpy(w)
    array([0.5, 1.5], dtype=float32)
    """
    # Over the smallest first, so that the sum stays in range.
    weights = ops.where(active, ops.min(values) / values, ops.zeros_like(values))
    count = ops.sum(ops.cast(active, weights.dtype))
    return count * ops.divide_no_nan(weights, ops.sum(weights))


def label_counts(y: dict[str, Any], tasks: Any) -> dict[str, int]:
    """Number of labelled examples of every task.

    An example has no label where the label is NaN or `Task.missing`, or its mask is
    false.

    Args:
        y: Dict from the tasks' label keys to arrays, as for `fit`.
        tasks: The tasks.

    Returns:
        Dict by task name, the `counts` of `DataBased`.

    Example:
    >>> import keras_mtl as mtl
    >>> task = mtl.Task("digit", mtl.heads.Classification(10), missing=-1)
    >>> label_counts({"digit": np.array([3, -1, 3, 7])}, [task])
    {'digit': 3}
    """
    return {task.name: len(_labelled(y, task)) for task in tasks}


def label_entropies(y: dict[str, Any], tasks: Any) -> dict[str, float]:
    """Entropy of the class frequencies of every task, in nats.

    Args:
        y: Dict from the tasks' label keys to arrays of classes, as for `fit`.
        tasks: The tasks.

    Returns:
        Dict by task name, the `entropies` of `DataBased`.

    Raises:
        ValueError: If labels are not whole numbers.

    Example:
    >>> import keras_mtl as mtl
    >>> task = mtl.Task("sold", mtl.heads.BinaryClassification())
    >>> round(label_entropies({"sold": np.array([0, 1, 0, 1])}, [task])["sold"], 4)
    0.6931
    """
    entropies = {}
    for task in tasks:
        labels = _labelled(y, task)
        if not np.all(labels == np.round(labels)):
            raise ValueError(
                "Expected the labels of a task to be classes, as only they have an "
                f"entropy of frequencies. Received: fractions in task {task.name!r}"
            )
        _, counts = np.unique(labels, axis=0, return_counts=True)
        shares = counts / counts.sum()
        entropies[task.name] = float(-np.sum(shares * np.log(shares)))
    return entropies


def _labelled(y: dict[str, Any], task: Task) -> np.ndarray:
    """The labels of the labelled examples, one row each."""
    labels = np.asarray(y[str(task.label)])
    labels = labels.reshape(len(labels), -1)
    there = ~np.isnan(labels.astype("float64"))
    if task.missing is not None:
        there &= labels != task.missing
    if task.mask_key in y:
        there &= np.asarray(y[task.mask_key], bool).reshape(len(labels), -1)
    return labels[there.all(axis=1)]


@registry.register("data_based")
class DataBased(LossWeighting):
    """Weights from the labels of the training data: rare or easy ones count more.

    With `counts`, the weight is in proportion to the inverse of the task's share of
    the labels. With `entropies`, to the inverse of its label entropy, which is the
    loss of the best constant prediction: all classifications start on one scale.

    Args:
        counts: Dict from every task's name to its number of labels, such as
            `label_counts` gives.
        entropies: Instead, dict from every task's name to its label entropy, such as
            `label_entropies` gives.

    Guarantee: None.
    Needs: Losses, and numbers about the training data.
    Cost: One backward pass, one number of state per task.
    When: Data sets of very different sizes mixed at one rate (`counts`),
        classifications with different numbers of classes (`entropies`). Not where
        mixing has evened out the sizes already.

    Example:
    >>> DataBased(counts={"digit": 300, "parity": 100}).counts
    {'digit': 300, 'parity': 100}

    Reference:
        - Common practice: the weights of rare classes of
          [King & Zeng, 2001](https://doi.org/10.1093/oxfordjournals.pan.a004868),
          for tasks.
    """

    def __init__(
        self, counts: dict[str, int] | None = None, entropies: dict | None = None
    ):
        if (counts is None) == (entropies is None):
            raise ValueError(
                "Expected one of `counts` and `entropies`, a dict by task name. "
                f"Received: counts={counts}, entropies={entropies}"
            )
        for name, values in (("counts", counts), ("entropies", entropies)):
            for value in (values or {}).values():
                check_positive(name, value)
        self.counts = counts
        self.entropies = entropies

    def init(self, tasks):
        name = "entropies" if self.counts is None else "counts"
        values: Any = self.entropies if self.counts is None else self.counts
        check_every_task(name, values, tasks)
        return {}, {"values": by_task(name, values, tasks)}

    def objective(self, losses, active, variables, state, seed):
        return ops.sum(inverse_shares(state["values"], active) * losses), state

    def get_config(self):
        return {"counts": self.counts, "entropies": self.entropies}
