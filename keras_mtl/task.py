"""The description of one task."""

import dataclasses
from typing import Any

import keras

from keras_mtl.utils.checks import check_count, check_non_negative

MASK_SUFFIX = "_mask"


@keras.saving.register_keras_serializable(package="keras_mtl")
@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """One objective of a multi-task model: a head, its labels, loss and metrics.

    A task is configuration only. `build_model` copies it, so one list of tasks
    makes as many models as you like.

    Args:
        name: Name of the model's output, and the prefix of the task's logs.
        head: A `keras_mtl.heads.Head`, or its name or configuration.
        loss: Keras loss, its name, or a function `(y_true, y_pred) -> values` that
            returns one value per example. It sees the head's raw outputs.
            Defaults to the loss of the head.
        metrics: List of Keras metrics or their names. They see the head's
            activated outputs (probabilities, not logits). Defaults to the metrics
            of the head.
        loss_weight: Number `>= 0` that multiplies the task's loss. The
            `loss_weights` argument of `compile` takes precedence.
        class_weight: Optional dict from class index to the weight of the examples
            of that class.
        missing: Label value that means "not labelled" (for integer labels, for
            example `-1`; `NaN` always means it).
        label: Key of the task's labels in `y`. Defaults to `name`.
        feature: Name of the backbone's feature that the head takes (`"pooled"`,
            `"sequence"`, `"map"`, …). Defaults to what the head prefers.

    Raises:
        ValueError: For an empty name, a name with `/`, a negative `loss_weight`.

    Example:
    >>> import keras_mtl as mtl
    >>> mtl.Task("digit", mtl.heads.Classification(10), missing=-1).label
    'digit'
    """

    name: str
    head: Any
    _: dataclasses.KW_ONLY
    loss: Any = None
    metrics: Any = None
    loss_weight: float = 1.0
    class_weight: dict[int, float] | None = None
    missing: Any = None
    label: str | None = None
    feature: str | None = None

    def __post_init__(self):
        if not isinstance(self.name, str) or not self.name or "/" in self.name:
            raise ValueError(
                "Expected `name` of a task to be a non-empty string without '/'. "
                f"Received: name={self.name!r}"
            )
        check_non_negative("loss_weight", self.loss_weight)
        if self.class_weight is not None:
            for index, weight in self.class_weight.items():
                check_count("class_weight", int(index), 0)
                check_non_negative("class_weight", weight)
            keys = {int(k): float(v) for k, v in self.class_weight.items()}
            object.__setattr__(self, "class_weight", keys)
        if self.label is None:
            object.__setattr__(self, "label", self.name)

    @property
    def mask_key(self) -> str:
        """Key of the optional label mask in `y` (True where there is a label)."""
        return f"{self.label}{MASK_SUFFIX}"

    def get_config(self) -> dict:
        config = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        for part in ("head", "loss", "metrics"):
            config[part] = keras.saving.serialize_keras_object(config[part])
        if self.class_weight is not None:
            config["class_weight"] = {str(k): v for k, v in self.class_weight.items()}
        return config

    @classmethod
    def from_config(cls, config: dict) -> "Task":
        config = dict(config)
        for part in ("head", "loss", "metrics"):
            config[part] = keras.saving.deserialize_keras_object(config[part])
        return cls(**config)


def check_tasks(tasks: Any) -> tuple[Task, ...]:
    """The tasks as a tuple, once their names are known to be usable.

    Raises:
        TypeError: If an entry is no `Task`.
        ValueError: If there is no task, two have one name, or a name collides
            with the mask or the logs of another.
    """
    tasks = tuple(tasks) if isinstance(tasks, list | tuple) else (tasks,)
    for task in tasks:
        if not isinstance(task, Task):
            raise TypeError(
                "Expected `tasks` to be a list of `keras_mtl.Task`. "
                f"Received: {task!r} of type {type(task).__name__}"
            )
    names = [task.name for task in tasks]
    if not names:
        raise ValueError(
            "Expected `tasks` to hold at least one task. Received: []. (A model made "
            "by `keras.models.clone_model` has none: use "
            "`MultiTaskModel.from_config(model.get_config())`)"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"Expected the names of `tasks` to be unique. Received: {names}, "
            f"where {twice} occur more than once"
        )
    reserved = {"loss"} | {task.mask_key for task in tasks}
    reserved |= {f"{name}_loss" for name in names}
    clash = sorted(reserved & set(names))
    if clash:
        raise ValueError(
            "Expected no task to have the name of another task's mask or loss in "
            f"the logs. Received: {names}, where {clash} clash. Rename them"
        )
    return tasks
