"""The contract of an architecture: how the tasks share."""

from typing import Any

import keras

from keras_mtl.task import Task
from keras_mtl.utils.registry import Registry
from keras_mtl.utils.types import Tensor

registry = Registry("architecture")


class Architecture:
    """Gives every task its features, from one or several backbones.

    An architecture knows neither heads nor balancers. It holds configuration only.
    """

    def connect(
        self,
        inputs: dict[str, Any],
        backbones: dict[str, keras.Model],
        tasks: tuple[Task, ...],
    ) -> dict[str, dict[str, Tensor]]:
        """Features per task.

        Args:
            inputs: Dict by task name: the Keras tensors that the task's backbone
                takes, in its structure.
            backbones: Dict by task name, of models whose outputs are a dict of
                named features; the same object for all tasks when the user gave
                one backbone.
            tasks: The tasks.

        Returns:
            Dict from task name to a dict of named features.
        """
        raise NotImplementedError

    def penalty(self, variables_by_task: dict[str, list]) -> Tensor | None:
        """Penalty on parameters alone (soft sharing), a scalar or `None`."""
        return None

    def get_config(self) -> dict:
        """Arguments that rebuild this architecture."""
        return {}

    @classmethod
    def from_config(cls, config: dict) -> "Architecture":
        return cls(**config)
