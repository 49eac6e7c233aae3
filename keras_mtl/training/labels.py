"""The labels and weights of a batch, task by task."""

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_mtl.data.labels import label_mask
from keras_mtl.task import Task
from keras_mtl.utils.checks import check_keys
from keras_mtl.utils.types import Tensor


@dataclasses.dataclass(frozen=True)
class Labels:
    """The labels of one task in one batch.

    Attributes:
        values: Prepared labels, zero where there is none.
        mask: Boolean tensor of the same shape, or `None` if all are labelled.
        weights: Weights of the examples (`sample_weight`, `class_weight`), or
            `None`.
    """

    values: Tensor
    mask: Tensor | None
    weights: Tensor | None

    def of_rows(self, rows: Tensor) -> "Labels":
        """The labels of some examples, as if the others had none.

        Args:
            rows: Boolean tensor of shape `(batch,)`.
        """
        shape = [-1] + [1] * (len(self.values.shape) - 1)
        chosen = tf.broadcast_to(tf.reshape(rows, shape), tf.shape(self.values))
        mask = chosen if self.mask is None else self.mask & chosen
        return dataclasses.replace(self, mask=mask)


def read_labels(task: Task, y: Any, sample_weight: Any, outputs: Tensor):
    """The task's labels in a batch, or `None` where the batch has no such key.

    A head that needs no labels has its own then.

    Raises:
        ValueError: If dtype or shape of the labels cannot be the task's.
    """
    labels, missing = y.get(task.label), task.missing
    if labels is None:
        if task.head.needs_label:
            return None
        labels, missing = task.head.own_labels(outputs), None
    labels = ops.convert_to_tensor(labels)
    if labels.shape.rank is None:
        raise ValueError(
            f"Task {task.name!r}: expected labels of the same rank in every batch and "
            "every call since `compile`. Received: labels of several ranks. Check "
            "their shape, and compile again"
        )
    try:
        task.head.check_labels(labels, outputs)
    except ValueError as error:
        raise ValueError(f"Task {task.name!r}: {error}") from error
    mask = label_mask(labels, missing, y.get(task.mask_key))
    labels = task.head.prepare_labels(labels)
    if mask is not None:
        mask = task.head.prepare_labels(mask)
        labels = ops.where(mask, labels, ops.zeros_like(labels))
    weights = sample_weight.get(task.name)
    if weights is not None:
        weights = ops.convert_to_tensor(weights, dtype=keras.config.floatx())
    if task.class_weight is not None:
        of_class = _class_weights(task, labels)
        weights = of_class if weights is None else of_class * like(weights, of_class)
    return Labels(labels, mask, weights)


def labels_by_key(y: Any, tasks: tuple[Task, ...]) -> dict[str, Any]:
    """`y` as a dict by label key; a list is taken in the order of the tasks.

    `None` is an empty dict, if no task needs labels.

    Raises:
        ValueError: If it is neither, or holds none of the tasks' labels.
    """
    if y is None and not any(task.head.needs_label for task in tasks):
        return {}
    if not isinstance(y, dict):
        parts = list(y) if isinstance(y, list | tuple) else [y]
        if len(parts) != len(tasks) or y is None:
            raise ValueError(
                "Expected `y` to be a dict with the labels of the tasks "
                f"{[task.label for task in tasks]}, or a list in their order. "
                f"Received: {type(y).__name__} with {len(parts)} entries"
            )
        y = dict(zip((task.label for task in tasks), parts, strict=True))
    labelled = any(y.get(task.label) is not None for task in tasks)
    if not labelled and any(task.head.needs_label for task in tasks):
        raise ValueError(
            "Expected `y` to hold the labels of at least one task. "
            f"Received: keys {sorted(y)}; the tasks' labels are "
            f"{[task.label for task in tasks]}"
        )
    return y


def weights_by_task(sample_weight: Any, tasks: tuple[Task, ...]) -> dict[str, Any]:
    """`sample_weight` as a dict by task name; one tensor counts for all tasks.

    Raises:
        ValueError: For a key that is no task.
    """
    names = [task.name for task in tasks]
    if sample_weight is None:
        return {}
    if not isinstance(sample_weight, dict):
        if isinstance(sample_weight, list | tuple):
            return dict(zip(names, sample_weight, strict=True))
        return dict.fromkeys(names, sample_weight)
    check_keys("sample_weight", sample_weight, names)
    return sample_weight


def like(tensor: Tensor, reference: Tensor) -> Tensor:
    """`tensor` with trailing axes added or dropped to the rank of `reference`."""
    while len(tensor.shape) < len(reference.shape):
        tensor = ops.expand_dims(tensor, -1)
    while len(tensor.shape) > len(reference.shape) and tensor.shape[-1] == 1:
        tensor = ops.squeeze(tensor, axis=-1)
    return tensor


def _class_weights(task, labels):
    """Weight of every example (or pixel) by its class."""
    index = task.head.class_indices(labels)
    classes = np.ones(max(task.class_weight) + 1, keras.config.floatx())
    for index_of_class, weight in task.class_weight.items():
        classes[index_of_class] = weight
    table = ops.convert_to_tensor(classes)
    known = ops.logical_and(index >= 0, index < len(classes))
    weights = tf.gather(table, ops.where(known, index, ops.zeros_like(index)))
    return ops.where(known, weights, ops.ones_like(weights))
