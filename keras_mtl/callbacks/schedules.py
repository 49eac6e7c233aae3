"""Which tasks train when: callbacks that set the priorities of the tasks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from keras_mtl.utils.checks import check_count, check_keys

Priorities = Sequence[str] | Mapping[str, float]


class PriorityCallback(keras.callbacks.Callback):
    """Gives all tasks priority 1 again when training ends."""

    def set_model(self, model: keras.Model) -> None:
        if not hasattr(model, "set_task_priorities"):
            raise ValueError(
                f"Expected `{type(self).__name__}` to train a model with tasks, as "
                f"`keras_mtl.build_model` makes it. Received: model={model!r}"
            )
        super().set_model(model)

    def on_train_end(self, logs: dict | None = None) -> None:
        self.model.set_task_priorities(dict.fromkeys(self.model.task_names, 1.0))


class TaskSchedule(PriorityCallback):
    """Sets the tasks' priorities at the beginning of every epoch.

    One task after the other, easy tasks first, or weights that change over time; what a
    priority does, and what happens to a task that is switched off, says
    `MultiTaskModel.set_task_priorities`. When training ends all priorities are 1.

    The priorities are a function of the epoch alone, so a run that is continued with
    `initial_epoch` has those of the uninterrupted one.

    Args:
        schedule: Dict from epoch to what holds from this epoch on, until the next key;
            or a function of the epoch. What holds is a list of tasks, which get
            priority 1, or a dict from task name to priority. Tasks that are not named
            are switched off. Epochs count from 0; a dict needs the key 0.

    Raises:
        ValueError: For a dict without epoch 0 or with keys that are no epochs; at
            `fit` for names that are no tasks, negative priorities, and an epoch
            without any task.

    Example:
    >>> import keras_mtl as mtl
    >>> curriculum = mtl.callbacks.TaskSchedule({0: ["edges"], 3: ["edges", "kind"]})
    >>> curriculum.at(4)
    ['edges', 'kind']
    >>> fading = mtl.callbacks.TaskSchedule(
    ...     lambda epoch: {"kind": 1.0, "edges": 0.5**epoch})
    >>> fading.at(2)
    {'kind': 1.0, 'edges': 0.25}
    """

    def __init__(self, schedule: dict[int, Priorities] | Callable[[int], Priorities]):
        super().__init__()
        if not callable(schedule):
            for epoch in schedule:
                check_count("schedule", epoch, 0)
            if 0 not in schedule:
                raise ValueError(
                    "Expected `schedule` to say what holds from epoch 0 on. "
                    f"Received: schedule={schedule!r}"
                )
        self._schedule = schedule

    @classmethod
    def sequential(
        cls, tasks: Sequence[str], epochs: int | Sequence[int], *, keep: bool = False
    ) -> "TaskSchedule":
        """One task after the other.

        What the tasks share moves on with every task. To keep it, train the tasks in
        calls of `fit` of their own, the later ones after
        `compile(learning_rate_multipliers={"backbone": 0.0})`, or hold it with
        `keras_mtl.continual.protect`.

        Args:
            tasks: Names of the tasks, in their order.
            epochs: Number of epochs of each task, or one number per task. The last
                task goes on to the end of training.
            keep: Whether the tasks that have had their turn go on beside the next
                one, as in a curriculum.

        Raises:
            ValueError: For numbers below 1, or not one per task.

        Example:
        >>> schedule = TaskSchedule.sequential(["edges", "kind"], epochs=[2, 5])
        >>> [schedule.at(epoch) for epoch in (0, 1, 2)]
        [['edges'], ['edges'], ['kind']]
        """
        counts = _one_each("epochs", epochs, len(tasks))
        starts = [sum(counts[:index]) for index in range(len(tasks))]
        return cls(
            {
                start: list(tasks[0 if keep else index : index + 1])
                for index, start in enumerate(starts)
            }
        )

    def at(self, epoch: int) -> Priorities:
        """What holds in an epoch."""
        if callable(self._schedule):
            return self._schedule(epoch)
        return self._schedule[max(start for start in self._schedule if start <= epoch)]

    def on_train_begin(self, logs: dict | None = None) -> None:
        if not callable(self._schedule):
            for tasks in self._schedule.values():
                check_keys("schedule", tasks, self.model.task_names)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.model.set_task_priorities(_of_all(self.at(epoch), self.model.task_names))


class AlternatingTasks(PriorityCallback):
    """Lets the tasks take turns, some steps each.

    In its turn a task trains as if it were the only one; the variables that it does not
    share with the others rest while they have theirs (see
    `MultiTaskModel.set_task_priorities`). The turns go on from epoch to epoch, and from
    one `fit` to the next. When training ends all priorities are 1.

    With `steps_per_execution` in `compile`, turns change between executions only.

    Args:
        steps: Number of steps of each turn, or one number per turn.
        turns: List of lists of task names, those of one turn train together. Defaults
            to one turn per task, in the model's order.

    Raises:
        ValueError: For numbers below 1, an empty turn; at `fit` for names that are no
            tasks, and numbers that are not one per turn.

    Example:
    >>> import keras_mtl as mtl
    >>> callback = mtl.callbacks.AlternatingTasks(
    ...     [2, 1], turns=[["kind", "price"], ["edges"]])
    >>> [callback.at(step, ["kind", "price", "edges"]) for step in (1, 2, 3)]
    [['kind', 'price'], ['edges'], ['kind', 'price']]

    Reference:
        - [Luong et al., 2016](https://arxiv.org/abs/1511.06114), section 3.4, where
          the turns are drawn by chance.
    """

    def __init__(
        self,
        steps: int | Sequence[int] = 1,
        *,
        turns: Sequence[Sequence[str]] | None = None,
    ):
        super().__init__()
        for turn in turns or []:
            if isinstance(turn, str) or not turn:
                raise ValueError(
                    "Expected `turns` to be a list of lists with names of tasks, none "
                    f"of them empty. Received: turns={turns!r}"
                )
        _one_each("steps", steps, len(turns) if turns else None)
        self._steps = steps
        self._turns = turns

    def at(self, step: int, task_names: Sequence[str]) -> list[str]:
        """The tasks that have their turn in a step, which count from 0."""
        turns = self._turns or [[name] for name in task_names]
        counts = _one_each("steps", self._steps, len(turns))
        of_round = [
            turn
            for turn, count in zip(turns, counts, strict=True)
            for _ in range(count)
        ]
        return list(of_round[step % len(of_round)])

    def on_train_begin(self, logs: dict | None = None) -> None:
        for turn in self._turns or []:
            check_keys("turns", turn, self.model.task_names)
        self._step = int(self.model.balancing_state["step"])
        self._now: list[str] = []

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        self._begun = batch
        names = self.model.task_names
        turn = self.at(self._step, names)
        if turn != self._now:
            self.model.set_task_priorities(_of_all(turn, names))
            self._now = turn

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._step += batch - self._begun + 1


def _of_all(priorities: Priorities, task_names: Sequence[str]) -> dict[str, float]:
    """A priority for every task, 0 for those that are not named."""
    if not isinstance(priorities, Mapping):
        priorities = dict.fromkeys(priorities, 1.0)
    return {**dict.fromkeys(task_names, 0.0), **priorities}


def _one_each(name: str, value: Any, count: int | None) -> list[int]:
    """`value` as a list of positive integers, `count` of them if that is known."""
    if isinstance(value, int):
        return [check_count(name, value)] * (count or 1)
    for number in value:
        check_count(name, number)
    if count is not None and len(value) != count:
        raise ValueError(
            f"Expected `{name}` to be one integer >= 1, or {count} of them. "
            f"Received: {name}={value!r}"
        )
    return list(value)
