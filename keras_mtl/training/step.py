"""One training step: losses, weights, gradients, update."""

import dataclasses
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_mtl import distribution
from keras_mtl.balancers import JacobianBalancer
from keras_mtl.linalg import cosine, norms
from keras_mtl.task import Task
from keras_mtl.training import balancing, gradients
from keras_mtl.training.batch import Batch, batch_rows, halves, measure
from keras_mtl.training.options import BalancingOptions
from keras_mtl.training.reach import Reach
from keras_mtl.training.state import MethodState, array, read
from keras_mtl.training.tape import Tape, add
from keras_mtl.training.trackers import LossTracker, TaskMetrics
from keras_mtl.training.update import adjusted_update
from keras_mtl.utils.types import Tensor
from keras_mtl.weightings import LossWeighting


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingStep:
    """What `compile` decided, and the step that carries it out.

    Attributes:
        model: The functional model.
        tasks: The tasks, with their loss objects.
        weighting: What makes one objective of the losses.
        balancer: What makes task weights, or a gradient, of the task gradients, or
            `None`.
        options: How the balancer is applied.
        loss_weights: Fixed weights, by task.
        multipliers: Factors of the learning rate, by trainable variable of the model,
            or `None`.
        decay_multipliers: The same of the weight decay.
        reach: Which task reaches which variable.
        cut: Shared dense layers that all tasks pass backwards together.
        with_features: The model with the shared features as further outputs, where
            they are what is balanced, or `None`.
        penalty: Function without arguments to a penalty on parameters, or `None`.
        state: Variables of weighting and balancer.
        tracker: Means of the losses.
        metrics: Metrics by task.
        arguments: The arguments of `compile`, for saving.
    """

    model: keras.Model
    tasks: tuple[Task, ...]
    weighting: LossWeighting
    balancer: Any
    options: BalancingOptions
    loss_weights: list[float]
    multipliers: list[float] | None
    decay_multipliers: list[float] | None
    reach: Reach
    cut: list[keras.layers.Dense]
    with_features: keras.Model | None
    penalty: Any
    state: MethodState
    tracker: LossTracker
    metrics: list[TaskMetrics]
    arguments: dict[str, Any]

    # === The step ===

    def train(self, data: Any) -> None:
        """Updates the model with one batch, by the schedule of the options."""
        options = self.options
        if self.balancer is None:
            self._update(data, self._plain)
        elif options.every == 1 and options.start_after == 0:
            self._update(data, self._balanced)
        else:
            since = read(self.state.step) - options.start_after
            now = tf.logical_and(since >= 0, since % options.every == 0)
            by_gradients = isinstance(self.balancer, JacobianBalancer)
            otherwise = self._plain if by_gradients else self._reused

            def run(gradient_rule):
                def branch(data):
                    self._update(data, gradient_rule)
                    return tf.constant(0)

                return branch

            distribution.choose(now, run(self._balanced), run(otherwise), data)

    def test(self, data: Any) -> None:
        """Updates losses and metrics with one batch, by the fixed weights."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        outputs = self.model(x, training=False)
        batch = measure(self.tasks, outputs, y, sample_weight, differentiate=False)
        fixed = ops.convert_to_tensor(self.loss_weights, dtype=batch.losses.dtype)
        total = ops.sum(fixed * batch.losses)
        self._track(batch, outputs, total, self._additional_loss(), batch_rows(x))

    def _update(self, data, gradient_rule):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with Tape(self.cut if gradient_rule == self._balanced else []) as tape:
            outputs, features = self._forward(x)
            additional = self._additional_loss()
        batch = measure(self.tasks, outputs, y, sample_weight)
        if self.state.uses_priorities:
            batch = batch.among(self.state.switched_on())
        batch = dataclasses.replace(batch, features=features)
        seed = self.state.step_seed()
        loss_weights, update_methods = self._weigh(batch, seed, data)
        scale = self._loss_scale()
        factors = loss_weights if scale is None else loss_weights * scale
        combined, after = gradient_rule(tape, batch, factors, scale, seed)
        self._add_additional(combined, tape, additional, scale)
        self._apply(combined, [update_methods, after])
        total = ops.sum(loss_weights * batch.losses)
        self._track(batch, outputs, total, additional, batch_rows(x))

    def _weigh(self, batch, seed, data):
        """Loss weights, and a function that updates the weighting's variables."""
        state = self.state
        variables = {k: read(v) for k, v in state.weighting_variables.items()}
        with tf.GradientTape() as tape:
            tape.watch([batch.losses, *variables.values()])
            objective, new_state = self.weighting.objective(
                batch.losses,
                batch.active,
                variables,
                {k: read(v) for k, v in state.weighting_state.items()},
                seed,
            )
        slopes = tape.gradient(objective, [batch.losses, *variables.values()])
        fixed = ops.convert_to_tensor(self.loss_weights, dtype=batch.losses.dtype)
        if state.uses_priorities:
            fixed *= tf.cast(read(state.priorities), fixed.dtype)
        loss_weights = tf.where(batch.active, slopes[0], tf.zeros_like(fixed)) * fixed

        def update():
            next_state = self._seen_after(data, batch.active, new_state)
            assignments = _changes(state.weighting_state, next_state)
            assignments.append((state.loss_weights, loss_weights))
            counts = state.nonfinite_losses
            lost = ops.cast(batch.nonfinite, "int64")
            assignments.append((counts, counts + lost))
            return assignments, slopes[1:]

        return loss_weights, update

    def _seen_after(self, data, active, weighting_state):
        """State of a weighting that sees the batch once more, after the update.

        The pass leaves no trace: a `StatelessScope` keeps batch statistics, random
        states and `add_loss` from changing, on each replica.
        """
        if not self.weighting.second_forward:
            return weighting_state
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with keras.StatelessScope(initialize_variables=False):
            outputs = self.model(x, training=True)
        again = measure(self.tasks, outputs, y, sample_weight, differentiate=False)
        return self.weighting.after_step(
            again.losses, active & again.active, weighting_state
        )

    # === Three ways to one gradient per variable ===

    def _plain(self, tape, batch, factors, scale, seed):
        """Keras' own: one backward pass of the weighted sum."""
        outputs, seeds = batch.present(batch.seeds(factors))
        variables = self.reach.variables
        found = tape.gradient(outputs, seeds, variables)
        return gradients.reduced(variables, found), None

    def _reused(self, tape, batch, factors, scale, seed):
        """One backward pass with the task weights of the last balancing step."""
        seeds = batch.seeds(factors)
        # Weighted before the cast to the outputs' dtype, which may be float16.
        weights = tf.cast(read(self.state.task_weights)[0], factors.dtype)
        weighted = batch.seeds(factors * weights)
        shared = self.reach.shared
        own = [v for row in self.reach.own for v in row]
        outputs, weighted_seeds = batch.present(weighted)
        found = tape.gradient(outputs, weighted_seeds, shared)
        heads = weighted if self.options.head_gradients == "balanced" else seeds
        # The pass through the heads for their own variables stops there: nothing
        # uses what it would send into the shared part, and the graph drops it.
        outputs, head_seeds = batch.present(heads)
        found += tape.gradient(outputs, head_seeds, own)
        return gradients.reduced(shared + own, found), None

    def _balanced(self, tape, batch, factors, scale, seed):
        """One backward pass per task (and batch part), combined by the balancer."""
        state = self.state
        view = self._view(tape, batch, factors, scale)
        if not self._backs_off:
            view = view.without_nonfinite()
        losses = ops.cast(batch.losses, view.whole.dtype)
        losses = _only(losses, view.active)
        by_gradients = isinstance(self.balancer, JacobianBalancer)
        rule = self._by_gradients if by_gradients else self._by_weights
        combined, new_state, assignments = rule(view, losses, scale, seed)

        def update():
            assignments.extend(_changes(state.balancer_state, new_state))
            cosines, lengths = cosine(view.whole), norms(view.whole)
            seen = state.recorded(cosines, lengths, view.active)
            assignments.append((state.records, seen))
            if not self._backs_off:
                lost = ops.cast(batch.active & ~view.finite, "int64")
                counts = state.nonfinite_gradients
                assignments.append((counts, counts + lost))
            return assignments, []

        return combined, update

    def _view(self, tape, batch, factors, scale):
        """What the balancer is shown: of the batch or its halves, where it is asked."""
        reach = self.reach
        if batch.features:
            return balancing.view_features(tape, batch, factors, scale, reach)
        # TensorFlow's `unique`, which aligns sparse gradients, is not for XLA.
        by_gradients = isinstance(self.balancer, JacobianBalancer)
        sparse = not by_gradients and not self.model.jit_compile
        if getattr(self.balancer, "batch_parts", 1) == 1:
            return balancing.view_whole(
                tape, batch, factors, scale, reach, sparse, not by_gradients
            )
        parts = halves(self.tasks, batch)
        return balancing.view_halves(
            tape, batch, parts, factors, scale, reach, sparse, not by_gradients
        )

    def _by_weights(self, view, losses, scale, seed):
        """The task gradients, weighted with fresh task weights of every group."""
        variables = self.state.balancer_state
        states = self.state.by_group({k: read(v) for k, v in variables.items()})
        # A task that does not reach a group has no part in its balancing.
        actives = tf.unstack(view.active[None, :] & self.reach.reaching)
        weights, new_states = [], []
        for gram, active, group_state in zip(view.grams, actives, states, strict=True):
            fresh, new_state = self.balancer.weights(
                gram, _only(losses, active), active, group_state, seed
            )
            weights.append(_rescaled(fresh, active, self.options.scale))
            new_states.append(new_state)
        task_weights = tf.stack(weights)
        balanced_heads = self.options.head_gradients == "balanced"
        combined = view.weighted(task_weights, balanced_heads)
        variable = self.state.task_weights
        fresh = ops.cast(task_weights, variable.dtype)
        kept = tf.where(tf.stack(actives), fresh, read(variable))
        return combined, self.state.of_groups(new_states), [(variable, kept)]

    def _by_gradients(self, view, losses, scale, seed):
        """What the balancer makes of the task gradients themselves."""
        state = {k: read(v) for k, v in self.state.balancer_state.items()}
        active = view.active & self.reach.reaching[0]
        combined, new_state = balancing.combine_by_jacobian(
            view,
            lambda blocks: self.balancer.combine(
                blocks, view.whole, _only(losses, active), active, state, seed
            ),
            scale,
            self._backs_off,
        )
        return combined, new_state, []

    # === Parts ===

    def _forward(self, x):
        """Outputs by task, and the shared features if they are balanced."""
        if self.with_features is None:
            return self.model(x, training=True), []
        both = self.with_features(x, training=True)
        return both["outputs"], both["features"]

    def _additional_loss(self):
        """Sum of `add_loss`, regularisers and the architecture's penalty, or None."""
        terms = [ops.sum(loss) for loss in self.model.losses]
        penalty = None if self.penalty is None else self.penalty()
        if penalty is not None:
            terms.append(penalty)
        return sum(ops.cast(t, keras.config.floatx()) for t in terms) if terms else None

    def _add_additional(self, combined, tape, additional, scale):
        """Adds the gradient of the additional losses, which no balancer touches."""
        if additional is None:
            return
        share = tf.ones_like(additional) / distribution.num_replicas()
        share = share if scale is None else share * scale
        variables = self.model.trainable_variables
        found = tape.gradient([additional], [share], variables)
        for key, gradient in gradients.reduced(variables, found).items():
            combined[key] = add(combined.get(key), gradient)

    @property
    def _backs_off(self):
        """Whether the optimizer must see gradients that are not finite.

        Dynamic loss scaling then skips the step and lowers its scale.
        """
        return isinstance(self.model.optimizer, keras.optimizers.LossScaleOptimizer)

    def _loss_scale(self):
        """Factor of the optimizer's loss scaling, or `None` without it."""
        optimizer = self.model.optimizer
        if not self._backs_off and optimizer.loss_scale_factor is None:
            return None
        return optimizer.scale_loss(tf.ones((), keras.config.floatx()))

    def _apply(self, combined, updates):
        """Optimizer step, then the methods' variables and state.

        When loss scaling finds an overflow the optimizer takes no step, and then
        the methods must not either.
        """
        model, state = self.model, self.state
        variables = model.trainable_variables
        scale = self._loss_scale()
        # Without a balancer the step is stock Keras, to the last digit.
        with adjusted_update(
            model.optimizer,
            fused=self.balancer is not None,
            multipliers=self.multipliers,
            decay_multipliers=self.decay_multipliers,
            moving=self._moving(),
        ):
            distribution.apply_reduced_gradients(
                model.optimizer, [combined.get(id(v)) for v in variables], variables
            )
        applied = None
        if self._backs_off:
            applied = self._loss_scale() >= scale  # An overflow has halved it.
        assignments = [(state.step, state.step + 1)]
        for update in updates:
            if update is None:
                continue
            changes, slopes = update()
            assignments += changes
            if state.optimizer is not None and slopes:
                self._move_method_variables(slopes, applied)
        for variable, value in assignments:
            value = ops.cast(value, variable.dtype)
            if applied is not None:
                value = tf.where(applied, value, read(variable))
            variable.assign(value)

    def _moving(self):
        """Per trainable variable, whether a task that is switched on reaches it.

        `None` where that is sure: some task is always on.
        """
        if not self.state.uses_priorities:
            return None
        on = self.state.switched_on()
        reaching = self.reach.tasks_of(self.model.trainable_variables)
        moves: dict[tuple, Tensor] = {
            tasks: tf.reduce_any(tf.gather(on, tasks))
            for tasks in set(reaching)
            if 0 < len(tasks) < len(self.tasks)
        }
        return [moves.get(tasks) for tasks in reaching]

    def _move_method_variables(self, slopes, applied):
        """A step of the weighting's own variables.

        Undone where not `applied`, and in the entries of tasks that are switched off.
        """
        optimizer = self.state.optimizer
        variables = list(self.state.weighting_variables.values())
        touched = variables + optimizer.variables
        moved = self._moved(touched, applied)
        before = [
            None if m is None else tf.identity(read(v))
            for m, v in zip(moved, touched, strict=True)
        ]
        optimizer.learning_rate.assign(
            ops.cast(self.model.optimizer.learning_rate, optimizer.learning_rate.dtype)
        )
        distribution.apply_reduced_gradients(optimizer, slopes, variables)
        for variable, m, value in zip(touched, moved, before, strict=True):
            if m is not None:
                variable.assign(tf.where(m, read(variable), value))

    def _moved(self, variables, applied):
        """Which entries of method variables keep their step; `None` for all."""
        if not self.state.uses_priorities:
            return [applied] * len(variables)
        on = self.state.switched_on()
        both = on if applied is None else on & applied
        # A vector with one entry per task is the contract of weightings.
        return [both if v.shape == on.shape else applied for v in variables]

    def _track(self, batch: Batch, outputs, total, additional, rows):
        """Updates the logs."""
        if additional is not None:
            total = total + ops.cast(additional, total.dtype)
        zeros = tf.zeros_like(batch.sums)
        self.tracker.update_state(
            tf.where(batch.active, batch.sums, zeros),
            tf.where(batch.active, batch.counts, zeros),
            total,
            rows,
        )
        active = tf.unstack(batch.active)
        for metrics, labels, on in zip(self.metrics, batch.labels, active, strict=True):
            metrics.update_state(labels, outputs[metrics.task.name], on)

    # === Around the step ===

    @property
    def all_metrics(self) -> list[keras.metrics.Metric]:
        """The tracker of the losses and the metrics of all tasks."""
        own = [metric for task in self.metrics for metric in task.all_metrics]
        return [self.tracker, *own]

    def logs(self) -> dict[str, Tensor]:
        """Losses and metrics since the last reset; NaN where a task had no label."""
        logs = self.tracker.result()
        for index, metrics in enumerate(self.metrics):
            labelled = self.tracker.counts[index] > 0
            for metric in metrics.all_metrics:
                value = metric.result()
                nothing = ops.full_like(value, float("nan"))
                logs[metric.name] = ops.where(labelled, value, nothing)
        return logs

    def end_epoch(self, logs: dict[str, Any]) -> None:
        """Passes the end of an epoch on to the loss weighting."""
        state = self.state.weighting_state
        values = {k: array(v) for k, v in state.items()}
        for name, value in self.weighting.end_epoch(values, logs, self.tasks).items():
            state[name].assign(value)

    def checked(self, train_function: Any) -> Any:
        """The train function, and an error after a step that was not finite."""
        counts = self.state.summary()["nonfinite"]

        def checked_function(iterator):
            nonlocal counts
            logs = train_function(iterator)
            before, counts = counts, self.state.summary()["nonfinite"]
            pairs = zip(self.tasks, counts > before, strict=True)
            bad = [task.name for task, more in pairs if more]
            if bad:
                raise FloatingPointError(
                    f"The loss or gradient of {bad} was not finite in training step "
                    f"{int(array(self.state.step))}, and was left out "
                    "of the update. Look at the labels and inputs of that batch, or "
                    "use `BalancingOptions(on_nonfinite='skip')`"
                )
            return logs

        return checked_function


def _only(losses, active):
    return tf.where(active, losses, tf.zeros_like(losses))


def _changes(variables: dict, values: dict) -> list[tuple[Any, Tensor]]:
    return [(variable, values[name]) for name, variable in variables.items()]


def _rescaled(weights, active, scale):
    """Task weights of the sum that `BalancingOptions.scale` asks for."""
    if scale == "paper":
        return weights
    total = tf.reduce_sum(weights)
    count = tf.reduce_sum(tf.cast(active, weights.dtype))
    wanted = count if scale == "sum" else tf.ones_like(count)
    usable = total > 1e-6 * tf.reduce_sum(tf.abs(weights))
    factor = tf.where(usable, wanted / tf.where(usable, total, 1.0), 1.0)
    return weights * factor
