"""Task losses over the labelled elements of the global batch."""

import dataclasses
import math
import numbers
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_mtl import distribution
from keras_mtl.data.labels import label_mask
from keras_mtl.task import Task
from keras_mtl.utils.checks import check_keys
from keras_mtl.utils.types import Tensor

# Losses that average over the last axis, so that each entry can stand alone.
_ELEMENTWISE = (
    keras.losses.BinaryCrossentropy,
    keras.losses.BinaryFocalCrossentropy,
    keras.losses.Huber,
    keras.losses.LogCosh,
    keras.losses.MeanAbsoluteError,
    keras.losses.MeanAbsolutePercentageError,
    keras.losses.MeanSquaredError,
    keras.losses.MeanSquaredLogarithmicError,
    keras.losses.Poisson,
)
_REDUCTIONS = ("sum_over_batch_size", "mean", "mean_with_sample_weight", "sum")


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


@dataclasses.dataclass(frozen=True)
class Batch:
    """Outputs and losses of all tasks in one batch.

    Lists have one entry per task, `None` for tasks that the batch has no key for;
    tensors have shape `(num_tasks,)`.

    Attributes:
        outputs: Raw outputs.
        labels: Labels.
        slopes: Gradient of the local sum of losses with respect to the outputs.
        sums: Sums of the losses over the local labelled elements.
        counts: Local share of the denominators.
        global_counts: Denominators, over all replicas.
        losses: Losses of the global batch, 0 for tasks that are not active.
        active: Whether the global batch has a label with positive weight for the
            task, and loss and slopes are finite.
        nonfinite: Whether it has such a label but they are not.
    """

    outputs: list[Tensor | None]
    labels: list[Labels | None]
    slopes: list[Tensor | None]
    sums: Tensor
    counts: Tensor
    global_counts: Tensor
    losses: Tensor
    active: Tensor
    nonfinite: Tensor

    def seeds(self, loss_weights: Tensor) -> list[Tensor | None]:
        """Gradients of the weighted mean losses with respect to the outputs.

        Exactly zero where the factor is zero, even if the slope is not finite:
        `0 * NaN` must not reach the model.
        """
        factors = loss_weights * ops.cast(self.active, loss_weights.dtype)
        factors = tf.math.divide_no_nan(factors, self.global_counts)
        factors = tf.unstack(factors)
        return [
            None
            if slope is None
            else tf.math.multiply_no_nan(slope, tf.cast(factor, slope.dtype))
            for slope, factor in zip(self.slopes, factors, strict=True)
        ]

    def present(self, seeds: list[Tensor | None]) -> tuple[list, list]:
        """Outputs and seeds without the tasks that the batch lacks."""
        pairs = [
            (o, s)
            for o, s in zip(self.outputs, seeds, strict=True)
            if o is not None and s is not None
        ]
        return [o for o, _ in pairs], [s for _, s in pairs]


def measure(
    tasks: tuple[Task, ...],
    outputs: dict[str, Tensor],
    y: Any,
    sample_weight: Any,
    differentiate: bool = True,
) -> Batch:
    """Losses of all tasks over the labelled elements of the global batch.

    The loss of a task is the weighted sum over labelled elements, divided by their
    number in the batches of all replicas: exact for partial labels and for replicas
    that hold different numbers of examples. One small collective per step.

    Args:
        tasks: The tasks, with their loss objects.
        outputs: Raw outputs by task name.
        y: Labels by key; see `labels_by_key`.
        sample_weight: Weights by task name; see `weights_by_task`.
        differentiate: Whether slopes are needed.
    """
    y, sample_weight = labels_by_key(y, tasks), weights_by_task(sample_weight, tasks)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(list(outputs.values()))
        labels = [read_labels(t, y, sample_weight, outputs[t.name]) for t in tasks]
        terms = [
            None if found is None else loss_terms(task, found, outputs[task.name])
            for task, found in zip(tasks, labels, strict=True)
        ]
    there = [i for i, term in enumerate(terms) if term is not None]
    slopes: list = [None] * len(tasks)
    if differentiate:
        sums = [term[0] for term in terms if term is not None]
        found = tape.gradient(sums, [outputs[tasks[i].name] for i in there])
        for i, slope in zip(there, found, strict=True):
            slopes[i] = slope
    zero = tf.zeros((), keras.config.floatx())
    columns = []
    for term, slope in zip(terms, slopes, strict=True):
        total, count, positive = (zero,) * 3 if term is None else term
        # One sum tells whether all slopes are finite.
        finite = zero if slope is None else tf.reduce_sum(slope)
        columns.append(
            [tf.cast(v, zero.dtype) for v in (total, count, positive, finite)]
        )
    local = tf.stack([tf.stack(row) for row in zip(*columns, strict=True)])
    sums, counts, positives, slope_sums = tf.unstack(
        distribution.all_reduce_sum([local])[0]
    )
    labelled = positives > 0
    finite = tf.math.is_finite(sums) & tf.math.is_finite(slope_sums)
    active = labelled & finite
    means = tf.math.divide_no_nan(sums, counts)
    return Batch(
        outputs=[
            None if s is None else outputs[t.name]
            for t, s in zip(tasks, terms, strict=True)
        ],
        labels=labels,
        slopes=slopes,
        sums=local[0],
        counts=local[1],
        global_counts=counts,
        losses=tf.where(active, means, tf.zeros_like(means)),
        active=active,
        nonfinite=labelled & ~finite,
    )


def check_loss(task_name: str, loss: Any) -> keras.losses.Loss:
    """A Keras loss object from a loss, a name or a function.

    Raises:
        ValueError: For a loss without reduction, or one that is unknown.
    """
    loss = keras.losses.get(loss)
    if not isinstance(loss, keras.losses.Loss):
        loss = FunctionLoss(loss)
    if loss.reduction not in _REDUCTIONS:
        raise ValueError(
            f"Expected the loss of task {task_name!r} to have a reduction of "
            f"{list(_REDUCTIONS)}. Received: reduction={loss.reduction!r}"
        )
    return loss


@keras.saving.register_keras_serializable(package="keras_mtl")
class FunctionLoss(keras.losses.Loss):
    """Loss object of a function `(y_true, y_pred) -> one value per example`."""

    def __init__(self, fn: Any, name: str | None = None, **kwargs):
        super().__init__(name=name or getattr(fn, "__name__", None), **kwargs)
        self.fn = fn

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return self.fn(y_true, y_pred)

    def get_config(self) -> dict:
        fn = keras.saving.serialize_keras_object(self.fn)
        return {**super().get_config(), "fn": fn}

    @classmethod
    def from_config(cls, config: dict) -> "FunctionLoss":
        return cls(
            **{**config, "fn": keras.saving.deserialize_keras_object(config["fn"])}
        )


def read_labels(task: Task, y: Any, sample_weight: Any, outputs: Tensor):
    """The task's labels in a batch, or `None` where the batch has no such key.

    Raises:
        ValueError: If dtype or shape of the labels cannot be the task's.
    """
    labels = y.get(task.label)
    if labels is None:
        return None
    labels = ops.convert_to_tensor(labels)
    try:
        task.head.check_labels(labels, outputs)
    except ValueError as error:
        raise ValueError(f"Task {task.name!r}: {error}") from error
    mask = label_mask(labels, task.missing, y.get(task.mask_key))
    labels = task.head.prepare_labels(labels)
    if mask is not None:
        mask = task.head.prepare_labels(mask)
        labels = ops.where(mask, labels, ops.zeros_like(labels))
    weights = sample_weight.get(task.name)
    if weights is not None:
        weights = ops.convert_to_tensor(weights, dtype=keras.config.floatx())
    if task.class_weight is not None:
        of_class = _class_weights(task, labels)
        weights = of_class if weights is None else of_class * _like(weights, of_class)
    return Labels(labels, mask, weights)


def loss_terms(task: Task, labels: Labels, outputs: Tensor) -> tuple[Tensor, ...]:
    """Sum of the weighted losses of a local batch, and what to divide it by.

    Returns:
        Three scalars: the sum over labelled elements (differentiable), the share of
        this replica in the denominator, and the number of labelled elements whose
        weight is positive.
    """
    loss = task.loss
    target = ops.cast(task.head.encode_labels(labels.values), loss.dtype)
    outputs = ops.cast(outputs, loss.dtype)
    mask = labels.mask
    elementwise = task.head.labels_per_element and isinstance(loss, _ELEMENTWISE)
    if elementwise:
        # Not `[..., None]`, a slice whose gradient costs more than the loss.
        target, outputs = (ops.expand_dims(x, -1) for x in (target, outputs))
    values = loss.call(target, outputs)
    if len(values.shape) == 0:
        raise ValueError(
            f"Expected the loss of task {task.name!r} to return one value per "
            "example, so that missing labels and uneven replicas can be left out "
            "exactly. It returned a scalar: leave the mean over the batch to "
            f"keras_mtl. Received: loss={loss}"
        )
    if mask is not None:
        while len(mask.shape) > len(values.shape):
            mask = ops.all(mask, axis=-1)
        mask = ops.logical_and(_like(mask, values), ops.ones_like(values, dtype="bool"))
        values = ops.where(mask, values, ops.zeros_like(values))
        count = ops.sum(ops.cast(mask, loss.dtype))
    else:
        count = ops.cast(ops.size(values), loss.dtype)
    if labels.weights is None:
        total, positive, weighted_count = ops.sum(values), count, count
    else:
        weights = ops.cast(_like(labels.weights, values), loss.dtype)
        weights = weights * ops.ones_like(values)
        if mask is not None:
            weights = ops.where(mask, weights, ops.zeros_like(weights))
        total = ops.sum(values * weights)
        positive = ops.sum(ops.cast(weights > 0, loss.dtype))
        weighted_count = ops.sum(weights)
    if loss.reduction == "mean_with_sample_weight":
        count = weighted_count
    elif loss.reduction == "sum":
        count = ops.full_like(count, 1.0 / distribution.num_replicas())
    return total, count, positive


def labels_by_key(y: Any, tasks: tuple[Task, ...]) -> dict[str, Any]:
    """`y` as a dict by label key; a list is taken in the order of the tasks.

    Raises:
        ValueError: If it is neither, or holds none of the tasks' labels.
    """
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


def _class_weights(task, labels):
    """Weight of every example by its class, of shape `(batch,)`."""
    if labels.shape[-1:] not in ((), (1,)) and len(labels.shape) > 1:
        index = ops.argmax(labels, axis=-1)
    else:
        index = ops.cast(ops.reshape(labels, (-1,)), "int32")
    classes = np.ones(max(task.class_weight) + 1, keras.config.floatx())
    for index_of_class, weight in task.class_weight.items():
        classes[index_of_class] = weight
    table = ops.convert_to_tensor(classes)
    known = ops.logical_and(index >= 0, index < len(classes))
    weights = tf.gather(table, ops.where(known, index, ops.zeros_like(index)))
    return ops.where(known, weights, ops.ones_like(weights))


def _like(tensor, reference):
    """`tensor` with trailing axes added or dropped to the rank of `reference`."""
    while len(tensor.shape) < len(reference.shape):
        tensor = ops.expand_dims(tensor, -1)
    while len(tensor.shape) > len(reference.shape) and tensor.shape[-1] == 1:
        tensor = ops.squeeze(tensor, axis=-1)
    return tensor


def batch_rows(x: Any) -> Tensor:
    """Number of examples in a local batch."""
    first = next(part for part in keras.tree.flatten(x) if part is not None)
    return tf.shape(first)[0]


def check_loss_weights(loss_weights: Any, tasks: tuple[Task, ...]) -> list[float]:
    """The fixed weight of every task: `compile`'s where given, or the task's.

    Raises:
        ValueError: For an unknown task, a negative or an infinite weight.
    """
    names = [task.name for task in tasks]
    given = loss_weights if loss_weights is not None else {}
    if isinstance(given, list | tuple):
        if len(given) != len(tasks):
            raise ValueError(
                f"Expected `loss_weights` to hold one weight per task {names}. "
                f"Received: loss_weights={loss_weights}"
            )
        given = dict(zip(names, given, strict=True))
    weights = []
    if isinstance(given, dict) and set(given) <= set(names):
        weights = [given.get(task.name, task.loss_weight) for task in tasks]
    if not weights or not all(_is_weight(weight) for weight in weights):
        raise ValueError(
            "Expected `loss_weights` to be finite numbers >= 0 by task name "
            f"{names}. Received: loss_weights={loss_weights}"
        )
    return [float(weight) for weight in weights]


def _is_weight(value):
    number = isinstance(value, numbers.Real)
    return number and math.isfinite(value) and float(value) >= 0
