"""Task gradients, their Gram matrix, and their combination."""

import dataclasses
import functools
from collections.abc import Callable

import tensorflow as tf
from keras import ops

from keras_mtl import distribution
from keras_mtl.linalg import gram_matrix, gram_of_rows
from keras_mtl.utils.types import Tensor


@dataclasses.dataclass(frozen=True)
class Reach:
    """Which task reaches which trainable variable.

    Attributes:
        variables: Variables that some task reaches, in the model's order.
        shared: Those that several tasks reach.
        own: Per task, those that no other task reaches.
        reached_shared: Per task, positions in `shared` of those that it reaches.
    """

    variables: list
    shared: list
    own: list[list]
    reached_shared: list[list[int]]

    @property
    def shapes(self) -> list[int]:
        """Number of entries of every shared variable."""
        return [variable.shape.num_elements() for variable in self.shared]

    @classmethod
    def of(cls, variables_by_task: dict[str, list], variables: list) -> "Reach":
        """Reach from the variables that each task's output depends on."""
        reached = [{id(v) for v in group} for group in variables_by_task.values()]
        count = {id(v): sum(id(v) in group for group in reached) for v in variables}
        shared = [v for v in variables if count[id(v)] > 1]
        return cls(
            variables=[v for v in variables if count[id(v)] > 0],
            shared=shared,
            own=[
                [v for v in variables if count[id(v)] == 1 and id(v) in group]
                for group in reached
            ],
            reached_shared=[
                [i for i, v in enumerate(shared) if id(v) in group] for group in reached
            ],
        )


# Below this many entries a variable joins the other small ones in one vector.
_SMALL = 2**14
# Up to this many tasks, products of pairs of gradients are faster than a copy of
# all of them into one matrix and its product (on CPUs by 4 times for two tasks).
_FEW_TASKS = 8


@dataclasses.dataclass(frozen=True)
class TaskGradients:
    """Gradients of every task in one batch.

    Attributes:
        variables: The shared variables.
        shared: Per shared variable, one gradient per task, `None` for tasks that do
            not reach it.
        own: Per task, the gradients of its own variables (`None` where a variable
            got no gradient).
    """

    variables: list
    shared: list[list[Tensor | None]]
    own: list[list[Tensor | None]]

    @property
    def few(self) -> bool:
        """Whether pairs of gradients are handled faster than one matrix of all."""
        return all(len(column) <= _FEW_TASKS for column in self.shared)

    @functools.cached_property
    def blocks(self) -> list[Tensor]:
        """The Jacobian in column blocks: `(num_tasks, entries)` per variable."""
        return [
            tf.stack([_flatten(gradient, variable) for gradient in column])
            for variable, column in zip(self.variables, self.shared, strict=True)
        ]

    def map(self, function: Callable[[list], list]) -> "TaskGradients":
        """The same, with what `function` makes of the list of all gradients."""
        rows = [*self.shared, *self.own]
        changed = iter(function([g for row in rows for g in row if g is not None]))
        rows = [[None if g is None else next(changed) for g in row] for row in rows]
        count = len(self.shared)
        return TaskGradients(self.variables, rows[:count], rows[count:])

    def all_reduced(self) -> "TaskGradients":
        """The same, summed over the replicas in one collective."""
        return self.map(distribution.all_reduce_sum)


def raw(variables: list) -> list:
    """The TensorFlow variables behind Keras variables."""
    return [v.value for v in variables]


def backward(
    tape: tf.GradientTape, outputs: list, seeds: list, variables: list
) -> list:
    """One backward pass: the sum over outputs of `seedᵀ ∂output / ∂variable`."""
    if not variables or not outputs:
        return [None] * len(variables)
    return tape.gradient(outputs, raw(variables), output_gradients=seeds)


def task_gradients(
    tape: tf.GradientTape, outputs: list, seeds: list, reach: Reach
) -> TaskGradients:
    """One backward pass per task, over the variables that it reaches.

    Args:
        tape: Persistent tape that recorded the forward pass.
        outputs: Raw output per task, `None` for a task that this batch lacks.
        seeds: Gradient of the task's loss with respect to its output, per task.
        reach: Which task reaches which variable.
    """
    shared: list[list] = [[None] * len(outputs) for _ in reach.shared]
    own = []
    for task, (output, seed) in enumerate(zip(outputs, seeds, strict=True)):
        positions = reach.reached_shared[task]
        if output is None:
            own.append([None] * len(reach.own[task]))
            continue
        sources = [reach.shared[i] for i in positions] + reach.own[task]
        found = backward(tape, [output], [seed], sources)
        for position, gradient in zip(positions, found, strict=False):
            if gradient is not None:
                shared[position][task] = tf.convert_to_tensor(gradient)
        own.append(found[len(positions) :])
    return TaskGradients(reach.shared, shared, own)


def _flatten(gradient, variable):
    if gradient is None:
        return tf.zeros([variable.shape.num_elements()], variable.dtype)
    return tf.reshape(gradient, [-1])


def gram_of(gradients: TaskGradients, scale: Tensor | None) -> Tensor:
    """Gram matrix of the unscaled task gradients, float32 or better.

    Args:
        gradients: Task gradients, over the global batch.
        scale: Factor that the gradients carry (loss scaling), or `None`.
    """
    if gradients.few:
        gram = gram_of_rows(_rows(gradients))
    else:
        gram = gram_matrix([_precise(block) for block in gradients.blocks])
    if scale is None:
        return gram
    inverse = 1.0 / ops.cast(scale, gram.dtype)
    return gram * inverse * inverse


def _rows(gradients):
    """Per block one vector per task; the small variables make one block together."""
    blocks, small = [], []
    for variable, column in zip(gradients.variables, gradients.shared, strict=True):
        if variable.shape.num_elements() < _SMALL:
            small.append([_precise(_flatten(g, variable)) for g in column])
        else:
            blocks.append(
                [None if g is None else _precise(_flatten(g, variable)) for g in column]
            )
    if small:
        blocks.append([tf.concat(vectors, 0) for vectors in zip(*small, strict=True)])
    return blocks


def _precise(tensor):
    return tf.cast(tensor, tf.float32) if tensor.dtype.size < 4 else tensor


def leave_out(gradients: TaskGradients, kept: Tensor) -> TaskGradients:
    """Zeros in place of the gradients of tasks that are not `kept`.

    The gradients of a task that is not finite have to go before anything
    multiplies them, since `0 * NaN` is `NaN`. That is rare, so the pass over all
    gradients is in a branch.
    """
    keep = tf.unstack(kept)
    flags = [
        k
        for row in gradients.shared
        for g, k in zip(row, keep, strict=True)
        if g is not None
    ]
    flags += [
        k
        for row, k in zip(gradients.own, keep, strict=True)
        for g in row
        if g is not None
    ]

    def cleaned(present):
        return tf.cond(
            tf.reduce_all(kept),
            lambda: present,
            lambda: [_where(k, g) for k, g in zip(flags, present, strict=True)],
        )

    return gradients.map(cleaned)


def _where(keep, gradient):
    if isinstance(gradient, tf.IndexedSlices):
        values = _where(keep, gradient.values)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return tf.where(keep, gradient, tf.zeros_like(gradient))


def combine(
    gradients: TaskGradients, reach: Reach, task_weights: Tensor, own_weights: Tensor
) -> dict[int, Tensor]:
    """One gradient per variable, by the `id` of the variable.

    Args:
        gradients: Task gradients.
        reach: Which task reaches which variable.
        task_weights: Tensor of shape `(num_tasks,)` for shared variables.
        own_weights: Tensor of shape `(num_tasks,)` for task variables, or `None`
            for their gradients as they are.
    """
    combined = {}
    if gradients.few:
        for variable, column in zip(reach.shared, gradients.shared, strict=True):
            combined[id(variable)] = _weighted_sum(column, task_weights)
    else:
        for variable, block in zip(reach.shared, gradients.blocks, strict=True):
            weights = tf.cast(task_weights, block.dtype)[None, :]
            total = tf.matmul(weights, block)
            combined[id(variable)] = tf.reshape(total, variable.shape)
    for task, row in enumerate(gradients.own):
        for variable, gradient in zip(reach.own[task], row, strict=True):
            if own_weights is not None and gradient is not None:
                gradient = gradient * tf.cast(own_weights[task], gradient.dtype)
            combined[id(variable)] = gradient
    return combined


def _weighted_sum(gradients, weights):
    terms = [
        gradient * tf.cast(weight, gradient.dtype)
        for gradient, weight in zip(gradients, tf.unstack(weights), strict=True)
        if gradient is not None
    ]
    return tf.add_n(terms) if terms else None


def add(gradient: Tensor | None, other: Tensor | None) -> Tensor | None:
    """Sum of two gradients, either of which may be absent."""
    if gradient is None or other is None:
        return other if gradient is None else gradient
    return tf.convert_to_tensor(gradient) + tf.convert_to_tensor(other)
