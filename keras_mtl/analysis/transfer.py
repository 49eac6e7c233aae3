"""What further training did to tasks that a model knew, and to new ones."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras

from keras_mtl.plots import Table
from keras_mtl.utils.logs import by_task

Values = dict[str, dict[str, float]]


@dataclasses.dataclass(frozen=True)
class TransferReport:
    """What `transfer_report` finds.

    Attributes:
        before: `{task: {metric: value}}` of the old tasks before further training.
        alone: The same of new tasks, of models that learnt them alone.
        after: The same of all tasks after further training.
    """

    before: Values
    alone: Values
    after: Values

    @property
    def backward(self) -> Values:
        """Change of the old tasks: after − before. A loss that grew was forgotten."""
        return _changes(self.after, self.before)

    @property
    def forward(self) -> Values:
        """Gain of the new tasks: after − alone. A loss below zero was a gain."""
        return _changes(self.after, self.alone)

    def table(self, *, digits: int = 3) -> Table:
        """A row per task and metric: without and with the other training, and change.

        Args:
            digits: Digits after the decimal point.
        """
        rows = []
        for name, reference in (("backward", self.before), ("forward", self.alone)):
            for task, metrics in _changes(self.after, reference).items():
                for metric, change in metrics.items():
                    values = (reference[task][metric], self.after[task][metric])
                    cells = [f"{value:.{digits}f}" for value in values]
                    rows.append((name, task, metric, *cells, f"{change:+.{digits}f}"))
        header = ("transfer", "task", "metric", "without", "with", "change")
        return Table(header, tuple(rows), num_labels=3)


def transfer_report(
    before: keras.Model,
    after: keras.Model,
    data: Any,
    *,
    alone: Mapping[str, keras.Model] | None = None,
    **kwargs: Any,
) -> TransferReport:
    """Backward and forward transfer of continual training.

        backward[i] = after[i] - before[i]      tasks i that the old model has
        forward[j]  = after[j] - alone[j]       tasks j that `alone` has

    of the loss and each metric of a task, on the same data. For an accuracy, a negative
    backward transfer is forgetting, and a positive forward transfer means that what the
    model knew helped with the new task; for a loss the signs are the other way round.

    Args:
        before: The model before it was trained further, compiled.
        after: The model after that, compiled; `keras_mtl.continual.add_tasks` makes it.
        data: Data with the labels of all tasks: a data set, or a pair of inputs and
            labels.
        alone: Optional dict from the name of a new task to a compiled model that has
            learnt it without the old tasks.
        **kwargs: Other arguments of `evaluate`.

    Returns:
        A `TransferReport`; `plots.text_table(report.table())` shows it.

    Raises:
        ValueError: If `after` lacks a task of `before` or of `alone`, or a model of
            `alone` lacks the task that it is given for.

    Reference:
        - [Lopez-Paz & Ranzato, 2017](https://arxiv.org/abs/1706.08840), section 2, of
          two steps; theirs compares forward transfer with a model that is not trained.
    """
    alone = dict(alone or {})
    wanted = {"before": before.task_names, "alone": tuple(alone)}
    for name, tasks in wanted.items():
        missing = sorted(set(tasks) - set(after.task_names))
        if missing:
            raise ValueError(
                f"Expected `after` to have all tasks of `{name}`. "
                f"Received: tasks {list(after.task_names)}, without {missing}"
            )
    for task, model in alone.items():
        if task not in model.task_names:
            raise ValueError(
                f"Expected the model of `alone` for task {task!r} to have this task. "
                f"Received: tasks {list(model.task_names)}"
            )
    return TransferReport(
        before=_evaluated(before, data, kwargs),
        alone={task: _evaluated(m, data, kwargs)[task] for task, m in alone.items()},
        after=_evaluated(after, data, kwargs),
    )


def _evaluated(model, data, kwargs):
    """Loss and metrics of every task."""
    x, y = data if isinstance(data, tuple) else (data, None)
    options = {"verbose": 0, **kwargs, "return_dict": True}
    logs = model.evaluate(x, y, **options)
    values = by_task(logs, model.task_names)
    return {task: values[task] for task in model.task_names}


def _changes(after, reference):
    return {
        task: {m: after[task][m] - value for m, value in metrics.items()}
        for task, metrics in reference.items()
    }
