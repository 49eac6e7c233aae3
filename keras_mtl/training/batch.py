"""What one batch says of every task: outputs, losses, and who is active."""

import dataclasses
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_mtl import distribution
from keras_mtl.task import Task
from keras_mtl.training.labels import (
    Labels,
    labels_by_key,
    read_labels,
    weights_by_task,
)
from keras_mtl.training.losses import loss_terms
from keras_mtl.utils.types import Tensor


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
        features: Features that all tasks share, where these are balanced.
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
    features: list[Tensor] = dataclasses.field(default_factory=list)

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

    def among(self, chosen: Tensor) -> "Batch":
        """The batch as if only the chosen tasks had labels.

        Args:
            chosen: Boolean tensor of shape `(num_tasks,)`.
        """
        active = self.active & chosen
        return dataclasses.replace(
            self,
            losses=tf.where(active, self.losses, tf.zeros_like(self.losses)),
            active=active,
            nonfinite=self.nonfinite & chosen,
        )

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
    raw = [outputs[task.name] for task in tasks]
    labels = [
        read_labels(task, y, sample_weight, output)
        for task, output in zip(tasks, raw, strict=True)
    ]
    return _measured(tasks, raw, labels, differentiate)


def halves(tasks: tuple[Task, ...], batch: Batch) -> Batch:
    """The two halves of a batch, by the parity of the rows in the global batch.

    Args:
        tasks: The tasks, with their loss objects.
        batch: The whole batch.

    Returns:
        A batch of twice as many tasks: those of the even rows (the first, the
        third, …), then those of the odd ones. Two small collectives more.
    """
    rows = batch_rows(batch.outputs)
    odd = tf.cast((distribution.first_row(rows) + tf.range(rows)) % 2, tf.bool)
    labels = [
        None if found is None else found.of_rows(chosen)
        for chosen in (~odd, odd)
        for found in batch.labels
    ]
    return _measured(tasks * 2, batch.outputs * 2, labels, True)


def _measured(tasks, outputs, labels, differentiate):
    """The batch of these outputs and labels, where an output may occur twice."""
    copies = [None if output is None else tf.identity(output) for output in outputs]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([copy for copy in copies if copy is not None])
        terms = [
            None if found is None else loss_terms(task, found, copy)
            for task, found, copy in zip(tasks, labels, copies, strict=True)
        ]
    there = [i for i, term in enumerate(terms) if term is not None]
    slopes: list = [None] * len(tasks)
    if differentiate:
        sums = [term[0] for term in terms if term is not None]
        found = tape.gradient(sums, [copies[i] for i in there])
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
            None if term is None else output
            for output, term in zip(outputs, terms, strict=True)
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


def batch_rows(x: Any) -> Tensor:
    """Number of examples in a local batch of inputs or outputs."""
    first = next(part for part in keras.tree.flatten(x) if part is not None)
    return tf.shape(first)[0]
