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
        batch_parts: 1, or 2 for a method that needs two independent estimates of
            the task gradients. The step then splits the batch into two halves with
            Jacobians `J₁` and `J₂`, gives `gram = J₁ J₂ᵀ`, and combines the task
            gradients of the whole batch. A task is active where both halves have a
            label for it.
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
                gradients over the global batch (not symmetric with two batch
                parts). Rows of inactive tasks are zero.
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


class JacobianBalancer:
    """Combines the task gradients themselves, where their Gram matrix is not enough.

    As a `Balancer` it holds configuration only, and the model keeps its state. It
    gives a gradient and no task weights, so what needs those (`every`, `scope`,
    `scale`, `head_gradients="balanced"`) is an error at `compile`.

    The Jacobian comes in column blocks, one per shared variable. It is there for
    every balancer, `num_tasks` gradients of the shared variables; a method that
    keeps a state of that size adds as much on every replica.

    Attributes:
        across_batches: Whether it compares tasks whose labels are in different
            batches.
    """

    across_batches: bool = False

    def init_state(self, num_tasks: int, shapes: list[int]) -> State:
        """State before the first step: a dict of arrays, empty by default.

        Args:
            num_tasks: Number of tasks.
            shapes: Number of entries of every block.
        """
        return {}

    def combine(
        self,
        blocks: list[Tensor],
        gram: Tensor,
        losses: Tensor,
        active: Tensor,
        state: State,
        seed: keras.random.SeedGenerator,
    ) -> tuple[list[Tensor], State]:
        """The combined gradient, and the next state.

        Args:
            blocks: Tensors of shape `(num_tasks, entries)`, column blocks of the
                Jacobian of the weighted losses over the global batch. Rows of
                inactive tasks are zero.
            gram: Tensor of shape `(num_tasks, num_tasks)`, their Gram matrix.
            losses: Tensor of shape `(num_tasks,)`, unweighted.
            active: Boolean tensor of shape `(num_tasks,)`.
            state: What the last call returned, or `init_state`.
            seed: Source of random numbers.

        Returns:
            List of tensors of shape `(entries,)`, one per block, which inactive
            tasks have no part in. And the state, of constant shapes.
        """
        raise NotImplementedError

    def get_config(self) -> dict:
        """Arguments that rebuild this balancer."""
        return {}

    @classmethod
    def from_config(cls, config: dict) -> "JacobianBalancer":
        return cls(**config)


def enclosed(balancer: Balancer, state: State) -> State:
    """The state of an inner balancer as a part of that of an outer one.

    Its entries carry the name of its class, so that what another balancer remembered
    does not pass for its own.
    """
    return {f"{type(balancer).__name__}_{key}": value for key, value in state.items()}


def state_inside(balancer: Balancer, state: State) -> State:
    """The state of an inner balancer, out of that of an outer one."""
    prefix = f"{type(balancer).__name__}_"
    return {
        key.removeprefix(prefix): value
        for key, value in state.items()
        if key.startswith(prefix)
    }
