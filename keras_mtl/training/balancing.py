"""What a balancer is shown of a batch, and how its answer becomes one gradient."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from keras_mtl import distribution
from keras_mtl.training import gradients
from keras_mtl.training.batch import Batch
from keras_mtl.training.gradients import TaskGradients
from keras_mtl.training.reach import Reach
from keras_mtl.training.tape import Tape, add
from keras_mtl.utils.types import State, Tensor


@dataclasses.dataclass(frozen=True)
class View:
    """The task gradients of one batch, as a balancer sees them.

    Attributes:
        reach: Which task reaches which variable.
        gradients: The task gradients. With two batch parts those of the first half
            come before those of the second, as if there were twice as many tasks.
        shares: Tensor of shape `(2 * num_tasks,)`, what each of these counts for in
            the gradient of the whole batch; `None` with one part.
        grams: Per group of shared variables, their Gram matrix, `J₁ J₂ᵀ` with two
            parts; zero rows for inactive tasks.
        whole: Gram matrix of all groups over the whole batch, for the records.
        finite: Whether a task's gradients are finite.
        active: Whether the task takes part in this step's balancing.
    """

    reach: Reach
    gradients: TaskGradients
    shares: Tensor | None
    grams: list[Tensor]
    whole: Tensor
    finite: Tensor
    active: Tensor

    def without_nonfinite(self) -> "View":
        """Zeros for the gradients of tasks whose gradients are not finite."""
        rows = self.finite if self.shares is None else tf.tile(self.finite, [2])
        cleaned = gradients.leave_out(self.gradients, rows)
        return dataclasses.replace(self, gradients=cleaned)

    def weighted(self, task_weights: Tensor, balanced_heads: bool) -> dict[int, Tensor]:
        """One gradient per variable, by its `id`: the task gradients, weighted.

        Args:
            task_weights: Tensor of shape `(num_groups, num_tasks)`.
            balanced_heads: Whether they weight the tasks' own variables, too (with
                the mean over the groups that the task reaches).
        """
        found, row_weights = self.gradients, task_weights
        if self.shares is not None:
            row_weights = tf.tile(task_weights, [1, 2])
            row_weights *= tf.cast(self.shares, task_weights.dtype)
            own = _own_of_whole(found.own, tf.unstack(self.shares))
            found = dataclasses.replace(found, own=own)
        group_of = {i: g for g, group in enumerate(self.reach.groups) for i in group}
        return gradients.combine(
            found,
            [row_weights[group_of[i]] for i in range(len(found.shared))],
            self.reach.own,
            self._of_heads(task_weights) if balanced_heads else None,
        )

    def _of_heads(self, task_weights):
        """One weight per task; 1 for a task that shares nothing."""
        reaching = tf.constant(self.reach.reaching, task_weights.dtype)
        count = tf.reduce_sum(reaching, axis=0)
        mean = tf.math.divide_no_nan(tf.reduce_sum(task_weights * reaching, 0), count)
        return tf.where(count > 0, mean, tf.ones_like(mean))


@dataclasses.dataclass(frozen=True)
class FeatureView(View):
    """The task gradients on the features that all tasks share.

    Attributes:
        tape: Tape that recorded the forward pass.
        features: The features, which `gradients.shared` are the gradients of.
    """

    tape: Tape
    features: list[Tensor]

    def weighted(self, task_weights: Tensor, balanced_heads: bool) -> dict[int, Tensor]:
        """As in `View`, with one backward pass from the features on."""
        own_weights = self._of_heads(task_weights) if balanced_heads else None
        weights = [task_weights[0]] * len(self.features)
        combined = gradients.combine(
            self.gradients, weights, self.reach.own, own_weights
        )
        seeds = [combined.pop(id(feature)) for feature in self.features]
        pairs = [
            (f, s) for f, s in zip(self.features, seeds, strict=True) if s is not None
        ]
        shared = self.reach.shared
        found = self.tape.gradient([f for f, _ in pairs], [s for _, s in pairs], shared)
        return combined | gradients.reduced(shared, found)


def view_whole(
    tape: Tape,
    batch: Batch,
    factors: Tensor,
    scale: Tensor | None,
    reach: Reach,
    sparse: bool,
    in_factors: bool,
) -> View:
    """The task gradients of the whole batch, one backward pass per task.

    Args:
        tape: Tape that recorded the forward pass.
        batch: The batch.
        factors: Tensor of shape `(num_tasks,)`, weights of the losses, times the
            loss scale.
        scale: Factor of the loss scaling, or `None`.
        reach: Which task reaches which variable.
        sparse: Whether the gradients of embeddings may stay sparse.
        in_factors: Whether those of kernels may stay in two factors.
    """
    seeds = batch.seeds(factors)
    found = gradients.task_gradients(
        tape, batch.outputs, seeds, reach, sparse, in_factors
    )
    grams = [gradients.gram_of(found, scale, group) for group in reach.groups]
    finite = tf.math.is_finite(tf.linalg.diag_part(tf.add_n(grams)))
    active = batch.active & finite
    grams = [_only(gram, active) for gram in grams]
    return View(reach, found, None, grams, tf.add_n(grams), finite, active)


def view_features(
    tape: Tape,
    batch: Batch,
    factors: Tensor,
    scale: Tensor | None,
    reach: Reach,
) -> FeatureView:
    """The task gradients on the shared features, one backward pass of a head each.

    The examples of two replicas are different features, so the Gram matrices of the
    replicas add up to that of the global batch.

    Args:
        tape: Tape that recorded the forward pass.
        batch: The batch.
        factors: As in `view_whole`.
        scale: As in `view_whole`.
        reach: Which task reaches which variable.
    """
    features = batch.features
    columns: list[list] = [[None] * len(batch.outputs) for _ in features]
    own = []
    seeds = batch.seeds(factors)
    for task, (output, seed) in enumerate(zip(batch.outputs, seeds, strict=True)):
        there = [] if output is None else [output]
        row = tape.gradient(there, [seed], features + reach.own[task])
        for column, gradient in zip(columns, row, strict=False):
            column[task] = gradient
        own.append(row[len(features) :])
    nothing = [None] * len(features)
    found = TaskGradients(features, columns, own, nothing, nothing)
    gram = gradients.gram_of(found, scale, list(range(len(features))))
    present = [g for row in own for g in row if g is not None]
    gram, *reduced = distribution.all_reduce_sum([gram, *present])
    summed = iter(reduced)
    own = [[None if g is None else next(summed) for g in row] for row in own]
    finite = tf.math.is_finite(tf.linalg.diag_part(gram))
    active = batch.active & finite
    gram = _only(gram, active)
    return FeatureView(
        reach=reach,
        gradients=dataclasses.replace(found, own=own),
        shares=None,
        grams=[gram],
        whole=gram,
        finite=finite,
        active=active,
        tape=tape,
        features=features,
    )


def view_halves(
    tape: Tape,
    batch: Batch,
    parts: Batch,
    factors: Tensor,
    scale: Tensor | None,
    reach: Reach,
    sparse: bool,
    in_factors: bool,
) -> View:
    """The task gradients of both halves of a batch, two backward passes per task.

    The gradient of the whole batch is `(n₁ g₁ + n₂ g₂) / n`, with the halves' label
    counts, so it needs no pass of its own.

    Args:
        tape: Tape that recorded the forward pass.
        batch: The whole batch.
        parts: Its two halves, see `keras_mtl.training.batch.halves`.
        factors: As in `view_whole`.
        scale: As in `view_whole`.
        reach: As in `view_whole`.
        sparse: As in `view_whole`.
        in_factors: As in `view_whole`.
    """
    num_tasks = len(reach.own)
    twice = dataclasses.replace(
        reach, own=reach.own * 2, reached_shared=reach.reached_shared * 2
    )
    seeds = parts.seeds(tf.tile(factors, [2]))
    found = gradients.task_gradients(
        tape, parts.outputs, seeds, twice, sparse, in_factors
    )
    grams = [gradients.gram_of(found, scale, group) for group in reach.groups]
    finite = tf.math.is_finite(tf.linalg.diag_part(tf.add_n(grams)))
    finite = tf.reduce_all(tf.reshape(finite, (2, num_tasks)), axis=0)
    labelled = tf.reduce_all(tf.reshape(parts.active, (2, num_tasks)), axis=0)
    active = batch.active & labelled & finite
    grams = [_only(gram, tf.tile(active, [2])) for gram in grams]
    counts = tf.tile(batch.global_counts, [2])
    shares = tf.math.divide_no_nan(parts.global_counts, counts)
    total = tf.add_n(grams)
    s = tf.cast(shares, total.dtype)
    weighted = tf.reshape(total * s[:, None] * s[None, :], (2, num_tasks) * 2)
    return View(
        reach=reach,
        gradients=found,
        shares=shares,
        grams=[gram[:num_tasks, num_tasks:] for gram in grams],
        whole=tf.reduce_sum(weighted, axis=(0, 2)),
        finite=finite,
        active=active,
    )


def _only(gram, active):
    return tf.where(active[:, None] & active[None, :], gram, tf.zeros_like(gram))


def _own_of_whole(own, shares):
    """Gradients of task variables over the whole batch, from those of its halves."""
    num_tasks = len(own) // 2
    scaled = [
        [None if g is None else gradients.scaled(g, share) for g in row]
        for row, share in zip(own, shares, strict=True)
    ]
    halves = zip(scaled[:num_tasks], scaled[num_tasks:], strict=True)
    return [
        [add(a, b) for a, b in zip(first, second, strict=True)]
        for first, second in halves
    ]


def combine_by_jacobian(
    view: View,
    rule: Callable[[list], tuple[list, State]],
    scale: Tensor | None,
    backs_off: bool,
) -> tuple[dict[int, Tensor], State]:
    """One gradient per variable, by the task gradients themselves.

    Args:
        view: The task gradients.
        rule: Maps blocks of unscaled, finite task gradients to the combined gradient
            of every block and the next state.
        scale: Factor of the loss scaling, or `None`.
        backs_off: Whether the optimizer must see that a gradient was not finite:
            the combined gradient is then `NaN`.
    """
    clean = view.without_nonfinite() if backs_off else view
    dtypes = [block.dtype for block in clean.gradients.blocks]
    blocks = [tf.cast(block, view.whole.dtype) for block in clean.gradients.blocks]
    factor = tf.ones((), view.whole.dtype)
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
        for variable, gradient, dtype in zip(
            view.reach.shared, found, dtypes, strict=True
        )
    }
    for variables, row in zip(view.reach.own, view.gradients.own, strict=True):
        combined |= {id(v): g for v, g in zip(variables, row, strict=True)}
    return combined, state
