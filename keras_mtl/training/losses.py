"""The loss of one task over its labelled elements."""

from typing import Any

import keras
from keras import ops

from keras_mtl import distribution
from keras_mtl.task import Task
from keras_mtl.training.labels import Labels, like
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


def loss_terms(task: Task, labels: Labels, outputs: Tensor) -> tuple[Tensor, ...]:
    """Sum of the weighted losses of a local batch, and what to divide it by.

    Returns:
        Three scalars: the sum over labelled elements (differentiable; NaN if one with
        a positive weight has a label that no label of the head can be), the share of
        this replica in the denominator, and the number of labelled elements whose
        weight is positive.
    """
    loss = task.loss
    valid = task.head.labels_in_range(labels.values)
    target = labels.values
    if valid is not None:
        target = ops.where(valid, target, ops.zeros_like(target))
    target = ops.cast(task.head.encode_labels(target), loss.dtype)
    outputs = ops.cast(outputs, loss.dtype)
    mask = labels.mask
    if mask is not None and task.head.unlabelled is not None:
        target = ops.where(mask, target, ops.full_like(target, task.head.unlabelled))
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
        mask = _per_value(mask, values)
        values = ops.where(mask, values, ops.zeros_like(values))
        count = ops.sum(ops.cast(mask, loss.dtype))
    else:
        count = ops.cast(ops.size(values), loss.dtype)
    if labels.weights is None:
        total, positive, weighted_count = ops.sum(values), count, count
        used = ops.ones_like(values, dtype="bool") if mask is None else mask
    else:
        weights = ops.cast(like(labels.weights, values), loss.dtype)
        weights = weights * ops.ones_like(values)
        if mask is not None:
            weights = ops.where(mask, weights, ops.zeros_like(weights))
        used = weights > 0
        total = ops.sum(values * weights)
        positive = ops.sum(ops.cast(used, loss.dtype))
        weighted_count = ops.sum(weights)
    if valid is not None:
        wrong = ops.logical_and(ops.logical_not(_per_value(valid, values)), used)
        total += ops.where(ops.any(wrong), float("nan"), ops.zeros_like(total))
    if loss.reduction == "mean_with_sample_weight":
        count = weighted_count
    elif loss.reduction == "sum":
        count = ops.full_like(count, 1.0 / distribution.num_replicas())
    return total, count, positive


def _per_value(flags, values):
    """Flags of elements as flags of loss values: all elements of one have to be so."""
    while len(flags.shape) > len(values.shape):
        flags = ops.all(flags, axis=-1)
    return ops.logical_and(like(flags, values), ops.ones_like(values, dtype="bool"))
