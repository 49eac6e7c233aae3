"""Task gradients, their Gram matrix, and their combination."""

import dataclasses

import tensorflow as tf
from keras import ops

from keras_mtl import distribution
from keras_mtl.linalg import gram_matrix
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


@dataclasses.dataclass(frozen=True)
class TaskGradients:
    """Gradients of every task in one batch.

    Attributes:
        blocks: Per shared variable, a tensor of shape `(num_tasks, entries)`: the
            Jacobian in column blocks, zero rows for tasks that do not reach it.
        own: Per task, the gradients of its own variables (`None` where a variable
            got no gradient).
    """

    blocks: list[Tensor]
    own: list[list[Tensor | None]]

    def all_reduced(self) -> "TaskGradients":
        """The same, summed over the replicas in one collective."""
        own = [g for row in self.own for g in row if g is not None]
        summed = iter(distribution.all_reduce_sum(self.blocks + own))
        blocks = [next(summed) for _ in self.blocks]
        return TaskGradients(
            blocks,
            [[None if g is None else next(summed) for g in row] for row in self.own],
        )


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
    rows, own = [], []
    for task, (output, seed) in enumerate(zip(outputs, seeds, strict=True)):
        positions = reach.reached_shared[task]
        row = [None] * len(reach.shared)
        if output is None:
            own.append([None] * len(reach.own[task]))
        else:
            sources = [reach.shared[i] for i in positions] + reach.own[task]
            gradients = backward(tape, [output], [seed], sources)
            for position, gradient in zip(positions, gradients, strict=False):
                row[position] = gradient
            own.append(gradients[len(positions) :])
        rows.append(row)
    blocks = []
    for position, variable in enumerate(reach.shared):
        flat = [_flatten(row[position], variable) for row in rows]
        blocks.append(tf.stack(flat))
    return TaskGradients(blocks, own)


def _flatten(gradient, variable):
    if gradient is None:
        return tf.zeros([variable.shape.num_elements()], variable.dtype)
    return tf.reshape(tf.convert_to_tensor(gradient), [-1])


def gram_of(gradients: TaskGradients, scale: Tensor | None) -> Tensor:
    """Gram matrix of the unscaled task gradients, float32 or better.

    Args:
        gradients: Task gradients, over the global batch.
        scale: Factor that the gradients carry (loss scaling), or `None`.
    """
    blocks = [ops.cast(b, _at_least_float32(b.dtype)) for b in gradients.blocks]
    gram = gram_matrix(blocks)
    if scale is None:
        return gram
    inverse = 1.0 / ops.cast(scale, gram.dtype)
    return gram * inverse * inverse


def _at_least_float32(dtype):
    return "float32" if dtype.size < 4 else dtype.name


def leave_out(gradients: TaskGradients, kept: Tensor) -> TaskGradients:
    """Zeros in place of the gradients of tasks that are not `kept`.

    The gradients of a task that is not finite have to go before anything
    multiplies them, since `0 * NaN` is `NaN`. That is rare, so the pass over all
    gradients is in a branch.
    """
    flat_own = [g for row in gradients.own for g in row]

    def clean():
        blocks = [
            tf.where(kept[:, None], b, tf.zeros_like(b)) for b in gradients.blocks
        ]
        own = []
        for keep, row in zip(tf.unstack(kept), gradients.own, strict=True):
            own += [_where(keep, g) for g in row]
        return _pack(blocks + own)

    def as_they_are():
        return _pack(gradients.blocks + flat_own)

    packed = tf.cond(tf.reduce_all(kept), as_they_are, clean)
    parts = _unpack(packed, gradients.blocks + flat_own)
    blocks, rest = parts[: len(gradients.blocks)], parts[len(gradients.blocks) :]
    own = []
    for row in gradients.own:
        own.append(rest[: len(row)])
        rest = rest[len(row) :]
    return TaskGradients(blocks, own)


def _where(keep, gradient):
    if gradient is None:
        return None
    if isinstance(gradient, tf.IndexedSlices):
        values = tf.where(keep, gradient.values, tf.zeros_like(gradient.values))
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return tf.where(keep, gradient, tf.zeros_like(gradient))


def _pack(gradients):
    """Tensors only, as branches of a `tf.cond` must return them."""
    return [
        g.values if isinstance(g, tf.IndexedSlices) else g
        for g in gradients
        if g is not None
    ]


def _unpack(tensors, like):
    tensors = iter(tensors)
    unpacked: list = []
    for gradient in like:
        if gradient is None:
            unpacked.append(None)
        elif isinstance(gradient, tf.IndexedSlices):
            unpacked.append(
                tf.IndexedSlices(next(tensors), gradient.indices, gradient.dense_shape)
            )
        else:
            unpacked.append(next(tensors))
    return unpacked


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
    for variable, block in zip(reach.shared, gradients.blocks, strict=True):
        weights = tf.cast(task_weights, block.dtype)[None, :]
        combined[id(variable)] = tf.reshape(tf.matmul(weights, block), variable.shape)
    for task, row in enumerate(gradients.own):
        for variable, gradient in zip(reach.own[task], row, strict=True):
            if own_weights is not None and gradient is not None:
                gradient = gradient * tf.cast(own_weights[task], gradient.dtype)
            combined[id(variable)] = gradient
    return combined


def add(gradient: Tensor | None, other: Tensor | None) -> Tensor | None:
    """Sum of two gradients, either of which may be absent."""
    if gradient is None or other is None:
        return other if gradient is None else gradient
    return tf.convert_to_tensor(gradient) + tf.convert_to_tensor(other)
