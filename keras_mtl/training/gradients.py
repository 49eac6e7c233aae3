"""Task gradients, their Gram matrix, and their combination."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from keras import ops

from keras_mtl import distribution
from keras_mtl.linalg import gram_matrix, gram_of_products
from keras_mtl.training.reach import Reach
from keras_mtl.training.tape import Tape, add
from keras_mtl.utils.types import Tensor

# Below this many entries a variable joins the other small ones in one vector.
_SMALL = 2**14
# From so many tasks on kernels' gradients stay in factors for batches of any size.
MANY_TASKS = 4


@dataclasses.dataclass(frozen=True)
class TaskGradients:
    """Gradients of every task in one batch.

    Attributes:
        variables: The shared variables (or features).
        shared: Per shared variable, one gradient per task, `None` for tasks that do
            not reach it. Sparse gradients are here by their values, at the rows
            below; those of some kernels by their second factor.
        own: Per task, the gradients of its own variables (`None` where a variable
            got no gradient).
        rows: Per shared variable, the rows that its gradients are the values of,
            the same for all tasks and each once; `None` for dense gradients.
        inputs: Per shared variable, the first factor of its gradients, the same for
            all tasks: they are `inputsᵀ @ shared`. `None` for ordinary gradients.
    """

    variables: list
    shared: list[list[Tensor | None]]
    own: list[list[Tensor | None]]
    rows: list[Tensor | None]
    inputs: list[Tensor | None]

    @functools.cached_property
    def blocks(self) -> list[Tensor]:
        """The Jacobian in column blocks: `(num_tasks, entries)` per variable."""
        return [
            tf.stack([_flatten(g, column, variable) for g in column])
            for variable, column in zip(self.variables, self.shared, strict=True)
        ]

    def map(self, function: Callable[[list], list]) -> "TaskGradients":
        """The same, with what `function` makes of the list of all gradients."""
        columns = [*self.shared, *self.own]
        changed = iter(function([g for c in columns for g in c if g is not None]))
        columns = [[None if g is None else next(changed) for g in c] for c in columns]
        count = len(self.shared)
        return dataclasses.replace(self, shared=columns[:count], own=columns[count:])


def reduced(variables: list, found: list) -> dict[int, Tensor | None]:
    """Gradients by the `id` of their variable, summed over the replicas."""
    present = [g for g in found if g is not None]
    summed = iter(distribution.all_reduce_sum(present))
    return {
        id(v): None if g is None else next(summed)
        for v, g in zip(variables, found, strict=True)
    }


def task_gradients(
    tape: Tape,
    outputs: list,
    seeds: list,
    reach: Reach,
    sparse: bool,
    in_factors: bool,
) -> TaskGradients:
    """One backward pass per task; the gradients of the global batch.

    One collective sums them over the replicas.

    Args:
        tape: Tape that recorded the forward pass.
        outputs: Raw output per task, `None` for a task that this batch lacks.
        seeds: Gradient of the task's loss with respect to its output, per task.
        reach: Which task reaches which variable.
        sparse: Whether the gradients of embeddings may stay sparse.
        in_factors: Whether those of kernels may stay in two factors, on one replica.
    """
    there = [[] if output is None else [output] for output in outputs]
    per_task = zip(reach.reached_shared, reach.own, strict=True)
    sources = [[reach.shared[i] for i in reached] + own for reached, own in per_task]
    rows, slopes = tape.gradients(there, [[seed] for seed in seeds], sources)
    shared: list[list] = [[None] * len(outputs) for _ in reach.shared]
    own = []
    for task, (row, positions) in enumerate(
        zip(rows, reach.reached_shared, strict=True)
    ):
        for position, gradient in zip(positions, row, strict=False):
            shared[position][task] = gradient
        own.append(row[len(positions) :])
    inputs: list[Tensor | None] = [None] * len(shared)
    for position, variable in enumerate(reach.shared):
        calls = [
            (tap, found)
            for tap, found in zip(tape.taps, slopes, strict=True)
            if tap.variable is variable
        ]
        if in_factors and _stay_factors(calls, shared[position]):
            [(tap, shared[position])] = calls
            inputs[position] = tap.inputs
        else:
            shared[position] = _with_products(shared[position], calls)
    if not sparse:
        shared = [[_dense(g) for g in column] for column in shared]
    found = TaskGradients(reach.shared, shared, own, [None] * len(shared), inputs)
    found = found.map(distribution.all_reduce_sum)
    aligned = [_aligned(column) for column in found.shared]
    return dataclasses.replace(
        found, shared=[c for c, _ in aligned], rows=[rows for _, rows in aligned]
    )


def _with_products(column, calls):
    """Gradients of a kernel, with what it gets by the calls of its layer."""
    for tap, slopes in calls:
        products = [None if s is None else tap.gradient(s) for s in slopes]
        column = [add(g, p) for g, p in zip(column, products, strict=True)]
    return column


def _stay_factors(calls, column):
    """Whether a kernel's gradients stay in two factors: if that is cheaper.

    Where batches may have any size the graph chooses at each, so far as the Gram
    matrix goes; the one product more in the end is small beside those of many tasks.
    """
    if len(calls) != 1 or any(g is not None for g in column):
        return False  # The gradient is no single product.
    [(tap, slopes)] = calls
    if tap.inputs.dtype.size < 4:
        return False
    num_tasks = sum(slope is not None for slope in slopes)
    rows, inputs = tap.inputs.shape
    if rows is None:
        return num_tasks >= MANY_TASKS
    return rows < factors_pay_below(inputs, tap.kernel.shape[1], num_tasks)


def factors_pay_below(inputs: Any, units: Any, num_tasks: Any) -> Any:
    """Rows of a batch below which the factors of a kernel's gradients are cheaper.

    Compares the multiplications that follow the backward passes: `rows² (inputs +
    num_tasks units) + rows inputs units` against `rows num_tasks inputs units`.
    """
    return (num_tasks - 1) * inputs * units / (inputs + num_tasks * units)


def _dense(gradient):
    return None if gradient is None else tf.convert_to_tensor(gradient)


def _aligned(column):
    """Sparse gradients of all tasks by their values at the same rows, each once.

    An embedding's gradient has a slice for every token; the rows that no token has
    are zero for every task, and stay out of the Gram matrix.
    """
    present = [g for g in column if g is not None]
    if not present or not all(isinstance(g, tf.IndexedSlices) for g in present):
        return [_dense(g) for g in column], None
    rows, places = tf.unique(tf.concat([g.indices for g in present], 0))
    places = iter(tf.split(places, [tf.size(g.indices) for g in present]))
    count = tf.size(rows)
    values = [
        None
        if g is None
        else tf.math.unsorted_segment_sum(g.values, next(places), count)
        for g in column
    ]
    return values, rows


def _flatten(gradient, column, variable):
    """The gradient as a vector; zeros like the others' where a task has none."""
    if gradient is None:
        like = next((g for g in column if g is not None), None)
        gradient = tf.zeros_like(variable.value if like is None else like)
    return tf.reshape(gradient, [-1])


def gram_of(gradients: TaskGradients, scale: Tensor | None, group: list[int]) -> Tensor:
    """Gram matrix of the unscaled task gradients, float32 or better.

    Args:
        gradients: Task gradients, over the global batch.
        scale: Factor that the gradients carry (loss scaling), or `None`.
        group: Positions of the shared variables that count.
    """
    num_tasks = len(gradients.own)
    factored = [i for i in group if gradients.inputs[i] is not None]
    blocks = _blocks(gradients, [i for i in group if i not in factored])
    grams = [gram_matrix(blocks)] if blocks else []
    grams += [_gram_in_factors(gradients, position) for position in factored]
    gram = sum(grams[1:], grams[0]) if grams else tf.zeros((num_tasks, num_tasks))
    if scale is None:
        return gram
    inverse = 1.0 / ops.cast(scale, gram.dtype)
    return gram * inverse * inverse


def _gram_in_factors(gradients, position):
    """By the factors or by their products, whichever is cheaper for this batch."""
    inputs, slopes = gradients.inputs[position], gradients.shared[position]
    if inputs.shape[0] is not None:
        return gram_of_products(inputs, slopes)
    present = [slope for slope in slopes if slope is not None]
    sizes = [tf.shape(inputs)[0], *gradients.variables[position].shape, len(present)]
    rows, *others = [tf.cast(size, tf.float32) for size in sizes]

    def by_products():
        columns = [
            None
            if s is None
            else tf.reshape(tf.matmul(inputs, s, transpose_a=True), [-1])
            for s in slopes
        ]
        return gram_matrix([columns])

    return tf.cond(
        rows < factors_pay_below(*others),
        lambda: gram_of_products(inputs, slopes),
        by_products,
    )


def _blocks(gradients, group):
    """Per block one vector per task; the small variables make one block together."""
    blocks, small = [], []
    for position in group:
        variable, column = gradients.variables[position], gradients.shared[position]
        if all(g is None for g in column):
            continue
        size = variable.shape.num_elements()
        if size is not None and size < _SMALL:
            small.append([_precise(_flatten(g, column, variable)) for g in column])
        else:
            blocks.append(
                [
                    None if g is None else _precise(_flatten(g, column, variable))
                    for g in column
                ]
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

    # What is not finite in the inputs of a layer is so in the gradients of all tasks.
    inputs = [
        None
        if x is None
        else tf.cond(
            tf.reduce_all(kept),
            lambda x=x: x,
            lambda x=x: _where(tf.math.is_finite(x), x),
        )
        for x in gradients.inputs
    ]
    return dataclasses.replace(gradients.map(cleaned), inputs=inputs)


def _where(keep, gradient):
    if isinstance(gradient, tf.IndexedSlices):
        values = _where(keep, gradient.values)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return tf.where(keep, gradient, tf.zeros_like(gradient))


def combine(
    gradients: TaskGradients,
    task_weights: list[Tensor],
    own_variables: list[list],
    own_weights: Tensor | None,
) -> dict[int, Tensor]:
    """One gradient per variable, by the `id` of the variable.

    Args:
        gradients: Task gradients.
        task_weights: Per shared variable, a tensor of shape `(num_tasks,)`.
        own_variables: Per task, the variables that no other task reaches.
        own_weights: Tensor of shape `(num_tasks,)` for these, or `None` for their
            gradients as they are.
    """
    combined = {}
    for position, variable in enumerate(gradients.variables):
        total = _weighted_sum(gradients, position, task_weights[position])
        rows, inputs = gradients.rows[position], gradients.inputs[position]
        if inputs is not None:
            total = tf.matmul(inputs, total, transpose_a=True)
        if rows is not None:
            total = tf.IndexedSlices(
                total, rows, tf.constant(tuple(variable.shape), rows.dtype)
            )
        combined[id(variable)] = total
    for task, row in enumerate(gradients.own):
        for variable, gradient in zip(own_variables[task], row, strict=True):
            if own_weights is not None and gradient is not None:
                gradient = scaled(gradient, own_weights[task])
            combined[id(variable)] = gradient
    return combined


def _weighted_sum(gradients, position, weights):
    column = gradients.shared[position]
    present = [g for g in column if g is not None]
    if not present:
        return None
    # In float32 at least: a weight may be beyond what float16 holds.
    weights = tf.cast(weights, _precise(present[0]).dtype)
    pairs = zip(column, tf.unstack(weights), strict=True)
    total = tf.add_n([_precise(g) * weight for g, weight in pairs if g is not None])
    return tf.cast(total, present[0].dtype)


def scaled(
    gradient: Tensor | tf.IndexedSlices, factor: Tensor
) -> Tensor | tf.IndexedSlices:
    """A gradient times a scalar; a sparse one stays sparse."""
    if isinstance(gradient, tf.IndexedSlices):
        values = scaled(gradient.values, factor)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return gradient * tf.cast(factor, gradient.dtype)
