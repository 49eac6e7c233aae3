"""The contract of a gradient balancer."""

import keras

from keras_mtl.utils.registry import Registry
from keras_mtl.utils.types import State, Tensor

registry = Registry("balancer")


class Balancer:
    """Maps the Gram matrix of the task gradients, and the losses, to task weights.

    A balancer holds configuration only. What it must remember between steps is
    the `state` it returns, which the model keeps in variables and passes back.
    The `seed` belongs to the model too, and gives every replica the same numbers.

    Attributes:
        batch_parts: 1, or 2 for a method that needs two independent samples: then
            `gram` is `J₁ @ J₂.T`, from the gradients of two halves of the batch, and
            not symmetric. The task weights apply to the whole batch's gradients.
    """

    batch_parts: int = 1

    def init_state(self, num_tasks: int) -> State:
        """State before the first step: a dict of arrays, empty by default."""
        return {}

    def weights(
        self,
        gram: Tensor,
        losses: Tensor,
        active: Tensor,
        state: State,
        seed: keras.random.SeedGenerator,
    ) -> tuple[Tensor, State]:
        """Task weights, and the next state.

        Args:
            gram: Tensor of shape `(num_tasks, num_tasks)`, of the weighted losses'
                gradients over the global batch. Rows of inactive tasks are zero.
            losses: Tensor of shape `(num_tasks,)`, unweighted.
            active: Boolean tensor of shape `(num_tasks,)`.
            state: What the last call returned, or `init_state`.
            seed: Source of random numbers.

        Returns:
            Tensor of shape `(num_tasks,)`, zero for tasks that are not `active` (no
            label in this batch); the others get what they would get without them.
            And the state, of constant shapes.
        """
        raise NotImplementedError

    def get_config(self) -> dict:
        """Arguments that rebuild this balancer."""
        return {}

    @classmethod
    def from_config(cls, config: dict) -> "Balancer":
        return cls(**config)
