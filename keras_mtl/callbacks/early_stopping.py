"""Single tasks that stop when their validation metric gets no better."""

import math

from keras_mtl.callbacks.schedules import PriorityCallback
from keras_mtl.utils.checks import (
    check_choice,
    check_count,
    check_keys,
    check_non_negative,
)


class TaskEarlyStopping(PriorityCallback):
    """Switches a task off when what is monitored of it has stopped improving.

    The others train on as if the task had no labels any more, and its head rests (see
    `MultiTaskModel.set_task_priorities`); the variables that it shares move on with
    them, and its validation metrics with these. When none of the tasks that are on is
    left, training stops. When training ends all priorities are 1.

    There is no `restore_best_weights`: a head of an earlier epoch would not fit to the
    shared features of today.

    Beside `TaskSchedule`, list this callback after it; epochs in which the schedule
    has a task switched off say nothing about the task. It cannot be used with
    `AlternatingTasks`.

    Args:
        monitor: Dict from task name to the name in the logs of what is monitored.
            Tasks that it does not name are never stopped. Defaults to
            `"val_<task>_loss"` of all tasks.
        patience: Number of epochs without improvement after which a task stops.
        min_delta: What counts as an improvement, in units of what is monitored.
        mode: `"min"` or `"max"`, what is better; or a dict of them by task name, with
            `"min"` for tasks that it does not name.

    Attributes:
        stopped: Dict from the name of a task to the epoch at whose end it stopped.

    Raises:
        ValueError: For a negative number, an unknown mode; at `fit` for names that are
            no tasks or not in the logs.

    Example:

    ```python
    stopping = keras_mtl.callbacks.TaskEarlyStopping(
        {"kind": "val_kind_accuracy", "price": "val_price_loss"},
        patience=3,
        mode={"kind": "max"},
    )
    model.fit(train, validation_data=valid, epochs=50, callbacks=[stopping])
    ```
    """

    def __init__(
        self,
        monitor: dict[str, str] | None = None,
        *,
        patience: int = 5,
        min_delta: float = 0.0,
        mode: str | dict[str, str] = "min",
    ):
        super().__init__()
        self.monitor = monitor
        self.patience = check_count("patience", patience)
        self.min_delta = check_non_negative("min_delta", min_delta)
        for value in mode.values() if isinstance(mode, dict) else [mode]:
            check_choice("mode", value, ("min", "max"))
        self.mode = mode
        self.stopped: dict[str, int] = {}

    def on_train_begin(self, logs: dict | None = None) -> None:
        names = self.model.task_names
        monitor = self.monitor or {name: f"val_{name}_loss" for name in names}
        check_keys("monitor", monitor, names)
        modes = self.mode
        if isinstance(modes, dict):
            check_keys("mode", modes, names)
        else:
            modes = dict.fromkeys(names, modes)
        self._watched = {
            name: _Watch(key, modes.get(name, "min"), self.min_delta)
            for name, key in monitor.items()
        }
        self.stopped = {}

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        if self.stopped:
            self.model.set_task_priorities(dict.fromkeys(self.stopped, 0.0))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        priorities = self.model.task_priorities
        for name, watch in self._watched.items():
            if priorities[name] > 0 and watch.epochs_without(logs) >= self.patience:
                self.stopped[name] = epoch
        left = [n for n in priorities if priorities[n] > 0 and n not in self.stopped]
        if not left:
            self.model.stop_training = True
        elif self.stopped:
            self.model.set_task_priorities(dict.fromkeys(self.stopped, 0.0))


class _Watch:
    """The best value so far of one entry of the logs."""

    def __init__(self, key, mode, min_delta):
        self._key, self._min_delta = key, min_delta
        self._sign = 1.0 if mode == "min" else -1.0
        self._best, self._waited = math.inf, 0

    def epochs_without(self, logs):
        """Number of epochs since the last improvement, this epoch included."""
        if self._key not in logs:
            raise ValueError(
                "Expected `monitor` to name entries of the logs. Received: "
                f"{self._key!r}. The logs have {sorted(logs)}; those that begin with "
                "`val_` need `validation_data`"
            )
        value = self._sign * float(logs[self._key])
        if value < self._best - self._min_delta:
            self._best, self._waited = value, 0
        elif not math.isnan(value):  # NaN: no label, so nothing is known.
            self._waited += 1
        return self._waited
