"""The contract of a loss weighting."""

from typing import Any

import keras

from keras_mtl.task import Task
from keras_mtl.utils.registry import Registry
from keras_mtl.utils.types import State, Tensor

registry = Registry("loss weighting")


class LossWeighting:
    """A scalar objective of the task losses.

    The step takes `loss_weights = ∂ objective / ∂ losses` and, for the method's own
    variables, the gradient of the objective. A loss weighting holds configuration
    only: variables and state belong to the model.
    """

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

    def end_epoch(self, state: State, logs: dict[str, Any]) -> State:
        """State for the next epoch; called by `fit` with the epoch's logs.

        Whoever trains with `train_on_batch` calls `model.end_epoch(logs)`.
        """
        return state

    def get_config(self) -> dict:
        """Arguments that rebuild this weighting."""
        return {}

    @classmethod
    def from_config(cls, config: dict) -> "LossWeighting":
        return cls(**config)
