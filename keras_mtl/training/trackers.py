"""Metrics of a multi-task model: task losses by their labels, and task metrics."""

from typing import Any

import keras
from keras import ops

from keras_mtl.task import Task
from keras_mtl.training.labels import Labels, like
from keras_mtl.utils.types import Tensor


class LossTracker(keras.metrics.Metric):
    """Means of the task losses over labelled elements, and of the total over rows.

    All live in one variable, so that a step updates them with one operation.

    Args:
        task_names: Names of the tasks whose losses are tracked.
    """

    def __init__(self, task_names: tuple[str, ...]):
        super().__init__(name="loss")
        self.task_names = task_names
        self.totals = self.add_variable(
            (2, len(task_names) + 1), initializer="zeros", name="totals"
        )

    def update_state(
        self, sums: Tensor, counts: Tensor, total: Tensor, rows: Tensor
    ) -> None:
        """Adds a local batch.

        Args:
            sums: Sum of the losses per task, shape `(num_tasks,)`.
            counts: Labelled elements per task, the same shape.
            total: Total loss of the global batch, a scalar.
            rows: Number of local examples.
        """
        rows = ops.cast(rows, self.dtype)
        total = ops.cast(total, self.dtype)
        sums = ops.concatenate(
            [ops.cast(sums, self.dtype), ops.reshape(total * rows, (1,))]
        )
        counts = ops.concatenate(
            [ops.cast(counts, self.dtype), ops.reshape(rows, (1,))]
        )
        self.totals.assign_add(ops.stack([sums, counts]))

    def result(self) -> dict[str, Tensor]:
        """`loss` and `<task>_loss`; NaN for a task that had no label."""
        sums, counts = ops.unstack(ops.convert_to_tensor(self.totals), 2)
        means = sums / counts
        logs = {"loss": means[-1]}
        for index, name in enumerate(self.task_names):
            logs[f"{name}_loss"] = means[index]
        return logs

    @property
    def counts(self) -> Tensor:
        """Labelled elements per task since the last reset."""
        return ops.convert_to_tensor(self.totals)[1, :-1]


class TaskMetrics:
    """The metrics of one task, over its labelled examples.

    Args:
        task: The task.
        metrics: Metrics that leave sample weights out.
        weighted: Metrics that use them.
    """

    def __init__(self, task: Task, metrics: list[Any], weighted: list[Any]):
        self.task = task
        self.metrics = [named_metric(task, metric) for metric in metrics]
        self.weighted = [named_metric(task, metric) for metric in weighted]

    @property
    def all_metrics(self) -> list[keras.metrics.Metric]:
        return self.metrics + self.weighted

    def update_state(self, labels: Labels | None, outputs: Tensor, active: Tensor):
        """Adds a batch; nothing of it where the task is not `active`."""
        if labels is None or not (self.metrics or self.weighted):
            return
        activated = self.task.head.activate(outputs)
        activated = ops.where(active, activated, ops.zeros_like(activated))
        values = ops.where(active, labels.values, ops.zeros_like(labels.values))
        counted = self._weights_of(labels.mask, values, activated, active)
        for metric in self.metrics:
            metric.update_state(values, activated, sample_weight=counted)
        for metric in self.weighted:
            weights = counted
            if labels.weights is not None:
                given = ops.cast(labels.weights, weights.dtype)
                weights = weights * like(given, weights)
            metric.update_state(values, activated, sample_weight=weights)

    def _weights_of(self, mask, values, activated, active):
        """1 for labels that are there and 0 for others.

        One weight per example, token or pixel: outputs have one more axis, that of
        the classes or units.
        """
        if mask is None:
            mask = ops.ones_like(values, dtype="bool")
        while len(mask.shape) > max(len(activated.shape) - 1, 1):
            mask = ops.all(mask, axis=-1)
        counted = ops.logical_and(mask, active)
        return ops.cast(counted, keras.config.floatx())


def named_metric(task: Task, metric: Any) -> keras.metrics.Metric:
    """A fresh metric from a metric, a name or a function, named for its task.

    Raises:
        ValueError: For an unknown name.
    """
    given = metric if isinstance(metric, str) else None
    if given in ("accuracy", "acc"):
        metric = task.head.accuracy()
    metric = keras.metrics.get(metric)
    if isinstance(metric, keras.metrics.Metric):
        config = metric.get_config()
        config["name"] = f"{task.name}_{given or metric.name}"
        return type(metric).from_config(config)
    name = f"{task.name}_{given or metric.__name__}"
    return keras.metrics.MeanMetricWrapper(fn=metric, name=name)
