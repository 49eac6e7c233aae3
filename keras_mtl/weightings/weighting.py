"""The contract of a loss weighting, and what several of them need."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mtl.task import Task
from keras_mtl.utils.checks import check_keys
from keras_mtl.utils.registry import Registry
from keras_mtl.utils.types import State, Tensor

registry = Registry("loss weighting")


class LossWeighting:
    """A scalar objective of the task losses.

    The step takes `loss_weights = ∂ objective / ∂ losses` and, for the method's own
    variables, the gradient of the objective. A loss weighting holds configuration
    only: variables and state belong to the model.

    Attributes:
        second_forward: Whether the step calls `after_step` with the losses of the
            same batch after the update, which costs one more forward pass.
    """

    second_forward: bool = False

    def init(self, tasks: tuple[Task, ...]) -> tuple[State, State]:
        """Initial values of the trainable variables, and of the state.

        Two dicts of arrays, both empty by default.
        """
        return {}, {}

    def objective(
        self,
        losses: Tensor,
        active: Tensor,
        variables: State,
        state: State,
        seed: keras.random.SeedGenerator,
    ) -> tuple[Tensor, State]:
        """The scalar to minimise, and the next state.

        Args:
            losses: Tensor of shape `(num_tasks,)`, over the global batch; 0 for
                tasks that are not active.
            active: Boolean tensor of shape `(num_tasks,)`. The objective must not
                depend on the losses or variables of the other tasks.
            variables: Trainable variables by name.
            state: What the last call returned.
            seed: Source of random numbers.
        """
        raise NotImplementedError

    def after_step(self, new_losses: Tensor, active: Tensor, state: State) -> State:
        """The next state, where `second_forward` is set.

        Args:
            new_losses: Tensor of shape `(num_tasks,)`: losses of the global batch after
                the model's update; 0 for tasks that are not active.
            active: Boolean tensor of shape `(num_tasks,)`: tasks that were active
                before the update and have a finite loss after it.
            state: What `objective` returned in this step.
        """
        return state

    def end_epoch(
        self, state: State, logs: dict[str, Any], tasks: tuple[Task, ...]
    ) -> State:
        """State for the next epoch; called by `fit` with the epoch's logs.

        Whoever trains with `train_on_batch` calls `model.end_epoch(logs)`.

        Args:
            state: The state as NumPy arrays.
            logs: Losses and metrics of the epoch, `val_…` of the validation.
            tasks: What `init` got.
        """
        return state

    def get_config(self) -> dict:
        """Arguments that rebuild this weighting."""
        return {}

    @classmethod
    def from_config(cls, config: dict) -> "LossWeighting":
        return cls(**config)


def softmax(logits: Tensor, active: Tensor) -> Tensor:
    """Softmax over the active tasks, 0 for the others."""
    logits = ops.where(active, logits, -float("inf"))
    highest = ops.max(logits)
    highest = ops.where(ops.isfinite(highest), highest, ops.zeros_like(highest))
    powers = ops.exp(logits - highest)
    return ops.divide_no_nan(powers, ops.sum(powers))


def by_task(
    name: str,
    values: dict[str, float],
    tasks: tuple[Task, ...],
    default: float | None = None,
) -> np.ndarray:
    """The numbers of an argument that is a dict by task name, in order.

    Raises:
        ValueError: For a key that is no task, or a value that is no number.
    """
    check_keys(name, values, [task.name for task in tasks])
    found = [values.get(task.name, default) for task in tasks]
    if not all(isinstance(v, int | float) and np.isfinite(v) for v in found):
        raise ValueError(
            f"Expected `{name}` to hold a finite number per task. "
            f"Received: {name}={values}"
        )
    return np.array(found, "float64")


def check_every_task(name: str, values: dict, tasks: tuple[Task, ...]) -> None:
    """Raises a `ValueError` unless the keys of `values` are the names of the tasks."""
    task_names = [task.name for task in tasks]
    check_keys(name, values, task_names)
    missing = [task for task in task_names if task not in values]
    if missing:
        raise ValueError(
            f"Expected `{name}` to have an entry for every task {task_names}. "
            f"Received: {name}={values}, without {missing}"
        )


def check_log_names(name: str, values: Any) -> dict[str, str]:
    """Returns `values`, a dict from task names to names in the logs."""
    if not isinstance(values, dict) or not all(
        isinstance(part, str) for pair in values.items() for part in pair
    ):
        raise ValueError(
            f"Expected `{name}` to be a dict from task names to names in the logs of "
            f"an epoch. Received: {name}={values!r}"
        )
    return values


def from_logs(names: list[str], logs: dict[str, Any]) -> np.ndarray:
    """The named values of an epoch's logs.

    Raises:
        ValueError: For a name that is not in the logs; the message lists the others.
    """
    missing = [name for name in names if name not in logs]
    if missing:
        hint = ""
        if any(name.startswith("val_") for name in missing):
            hint = (
                ". Pass `validation_data` to `fit`, and leave `validation_freq` at 1: "
                "the loss weighting reads the validation of every epoch"
            )
        raise ValueError(
            f"Expected the logs of the epoch to hold {names}. "
            f"Received: {sorted(logs)}, without {missing}{hint}"
        )
    return np.array([float(logs[name]) for name in names])
