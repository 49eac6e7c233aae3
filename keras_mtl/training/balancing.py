"""What a balancer is shown of a batch, and how its answer becomes one gradient."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from keras_mtl.training import gradients
from keras_mtl.training.batch import Batch
from keras_mtl.training.gradients import Reach, TaskGradients
from keras_mtl.utils.types import State, Tensor


@dataclasses.dataclass(frozen=True)
class View:
    """The task gradients of one batch, as a balancer sees them.

    Attributes:
        gradients: The task gradients. With two batch parts those of the first half
            come before those of the second, as if there were twice as many tasks.
        shares: Tensor of shape `(2 * num_tasks,)`, what each of these rows counts
            for in the gradient of the whole batch; `None` with one part.
        gram: Gram matrix, `J₁ J₂ᵀ` with two parts; zero rows for inactive tasks.
        whole: Gram matrix of the whole batch, for the records.
        finite: Whether a task's gradients are finite.
        active: Whether the task takes part in this step's balancing.
    """

    gradients: TaskGradients
    shares: Tensor | None
    gram: Tensor
    whole: Tensor
    finite: Tensor
    active: Tensor

    def without_nonfinite(self) -> "View":
        """Zeros for the gradients of tasks whose gradients are not finite."""
        rows = self.finite if self.shares is None else tf.tile(self.finite, [2])
        cleaned = gradients.leave_out(self.gradients, rows)
        return dataclasses.replace(self, gradients=cleaned)


def view_whole(
    tape: tf.GradientTape,
    batch: Batch,
    factors: Tensor,
    scale: Tensor | None,
    reach: Reach,
) -> View:
    """The task gradients of the whole batch, one backward pass per task.

    Args:
        tape: Persistent tape that recorded the forward pass.
        batch: The batch.
        factors: Tensor of shape `(num_tasks,)`, weights of the losses, times the
            loss scale.
        scale: Factor of the loss scaling, or `None`.
        reach: Which task reaches which variable.
    """
    seeds = batch.seeds(factors)
    found = gradients.task_gradients(tape, batch.outputs, seeds, reach)
    found = found.all_reduced()
    gram = gradients.gram_of(found, scale)
    finite = tf.math.is_finite(tf.linalg.diag_part(gram))
    active = batch.active & finite
    gram = _only(gram, active)
    return View(found, None, gram, gram, finite, active)


def view_halves(
    tape: tf.GradientTape,
    batch: Batch,
    parts: Batch,
    factors: Tensor,
    scale: Tensor | None,
    reach: Reach,
) -> View:
    """The task gradients of both halves of a batch, two backward passes per task.

    The gradient of the whole batch is `(n₁ g₁ + n₂ g₂) / n`, with the halves' label
    counts, so it needs no pass of its own.

    Args:
        tape: Persistent tape that recorded the forward pass.
        batch: The whole batch.
        parts: Its two halves, see `keras_mtl.training.batch.halves`.
        factors: As in `view_whole`.
        scale: As in `view_whole`.
        reach: As in `view_whole`.
    """
    num_tasks = len(reach.own)
    twice = dataclasses.replace(
        reach, own=reach.own * 2, reached_shared=reach.reached_shared * 2
    )
    seeds = parts.seeds(tf.tile(factors, [2]))
    found = gradients.task_gradients(tape, parts.outputs, seeds, twice)
    found = found.all_reduced()
    gram = gradients.gram_of(found, scale)
    finite = tf.math.is_finite(tf.linalg.diag_part(gram))
    finite = tf.reduce_all(tf.reshape(finite, (2, num_tasks)), axis=0)
    labelled = tf.reduce_all(tf.reshape(parts.active, (2, num_tasks)), axis=0)
    active = batch.active & labelled & finite
    gram = _only(gram, tf.tile(active, [2]))
    counts = tf.tile(batch.global_counts, [2])
    shares = tf.math.divide_no_nan(parts.global_counts, counts)
    s = tf.cast(shares, gram.dtype)
    weighted = tf.reshape(gram * s[:, None] * s[None, :], (2, num_tasks) * 2)
    return View(
        gradients=found,
        shares=shares,
        gram=gram[:num_tasks, num_tasks:],
        whole=tf.reduce_sum(weighted, axis=(0, 2)),
        finite=finite,
        active=active,
    )


def _only(gram, active):
    return tf.where(active[:, None] & active[None, :], gram, tf.zeros_like(gram))


def combine_by_weights(
    view: View, reach: Reach, task_weights: Tensor, balanced_heads: bool
) -> dict[int, Tensor]:
    """One gradient per variable: the task gradients, weighted.

    Args:
        view: The task gradients.
        reach: Which task reaches which variable.
        task_weights: Tensor of shape `(num_tasks,)`.
        balanced_heads: Whether they weight the tasks' own variables, too.
    """
    found, row_weights = view.gradients, task_weights
    if view.shares is not None:
        row_weights = tf.tile(task_weights, [2])
        row_weights *= tf.cast(view.shares, task_weights.dtype)
        own = _own_of_whole(found.own, tf.unstack(view.shares))
        found = dataclasses.replace(found, own=own)
    own_weights = task_weights if balanced_heads else None
    return gradients.combine(found, reach, row_weights, own_weights)


def _own_of_whole(own, shares):
    """Gradients of task variables over the whole batch, from those of its halves."""
    num_tasks = len(own) // 2
    scaled = [
        [None if g is None else g * tf.cast(share, g.dtype) for g in row]
        for row, share in zip(own, shares, strict=True)
    ]
    halves = zip(scaled[:num_tasks], scaled[num_tasks:], strict=True)
    return [
        [gradients.add(a, b) for a, b in zip(first, second, strict=True)]
        for first, second in halves
    ]


def combine_by_jacobian(
    view: View,
    reach: Reach,
    rule: Callable[[list], tuple[list, State]],
    scale: Tensor | None,
    backs_off: bool,
) -> tuple[dict[int, Tensor], State]:
    """One gradient per variable, by the task gradients themselves.

    Args:
        view: The task gradients.
        reach: Which task reaches which variable.
        rule: Maps blocks of unscaled, finite task gradients to the combined gradient
            of every block and the next state.
        scale: Factor of the loss scaling, or `None`.
        backs_off: Whether the optimizer must see that a gradient was not finite:
            the combined gradient is then `NaN`.
    """
    clean = view.without_nonfinite() if backs_off else view
    dtypes = [block.dtype for block in clean.gradients.blocks]
    blocks = [tf.cast(block, view.gram.dtype) for block in clean.gradients.blocks]
    factor = tf.ones((), view.gram.dtype)
    if scale is not None:
        factor = tf.cast(scale, factor.dtype)
        blocks = [block / factor for block in blocks]
    found, state = rule(blocks)
    if backs_off:
        nan = tf.constant(float("nan"), factor.dtype)
        factor = tf.where(tf.reduce_all(view.finite), factor, nan)
    if scale is not None:
        found = [gradient * factor for gradient in found]
    combined = {
        id(variable): tf.reshape(tf.cast(gradient, dtype), variable.shape)
        for variable, gradient, dtype in zip(reach.shared, found, dtypes, strict=True)
    }
    for variables, row in zip(reach.own, view.gradients.own, strict=True):
        combined |= {id(v): g for v, g in zip(variables, row, strict=True)}
    return combined, state
