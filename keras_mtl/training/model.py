"""The model that trains several tasks: a functional Keras model with its own step."""

import dataclasses
import types
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_mtl import architectures, balancers, weightings
from keras_mtl.task import Task, check_tasks
from keras_mtl.training import compiling, serving
from keras_mtl.training.epochs import BetweenEpochs
from keras_mtl.training.freezing import frozen_layers, set_frozen
from keras_mtl.training.graph import (
    narrowed,
    shared_features,
    task_variables,
)
from keras_mtl.training.labels import weights_by_task
from keras_mtl.training.options import BalancingOptions
from keras_mtl.training.reach import Reach
from keras_mtl.training.state import MethodState, array
from keras_mtl.training.step import TrainingStep
from keras_mtl.training.trackers import LossTracker


@keras.saving.register_keras_serializable(package="keras_mtl")
class MultiTaskModel(keras.Model):
    """A functional model with one output per task; `build_model` makes it.

    Everything of `keras.Model` works as usual. `compile` takes a loss weighting
    and a gradient balancer besides; losses and metrics come from the tasks.

    Attributes:
        tasks: The tasks, in the order of vectors such as task weights.
        task_names: Their names.
    """

    train_function: Any

    def __init__(self, *args, tasks=(), architecture="hard", **kwargs):
        super().__init__(*args, **kwargs)
        # `keras.models.clone_model` passes no tasks; `compile` then says so.
        self._tasks = check_tasks(tasks) if tasks else ()
        self._architecture = architectures.get(architecture)
        self._step: Any = None
        # Not an attribute itself: Keras would track the model in it.
        self._served = types.SimpleNamespace(model=None)

    @property
    def tasks(self) -> tuple[Task, ...]:
        return self._tasks

    @property
    def task_names(self) -> tuple[str, ...]:
        return tuple(task.name for task in self._tasks)

    @property
    def architecture(self) -> architectures.Architecture:
        return self._architecture

    # === Compilation ===

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        *,
        loss_weighting: Any = None,
        balancer: Any = None,
        balancing: BalancingOptions | None = None,
        loss_weights: Any = None,
        learning_rate_multipliers: dict[str, float] | None = None,
        weight_decay_multipliers: dict[str, float] | None = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
    ):
        """Configures the model for training.

        Args:
            optimizer: A Keras optimizer or its name.
            loss: Optional dict from task name to a loss, for tasks that have none.
            loss_weighting: A `keras_mtl.weightings.LossWeighting`, its name or its
                configuration. Defaults to the sum of the losses.
            balancer: A `keras_mtl.balancers.Balancer` or `JacobianBalancer`, its name
                or configuration. Without one the step is Keras' own: one backward
                pass.
            balancing: `BalancingOptions`.
            loss_weights: Optional dict from task name (or a list) of numbers `>= 0`
                that take the place of the tasks' `loss_weight`. They multiply what
                the loss weighting finds.
            learning_rate_multipliers: Optional dict of numbers `>= 0` that multiply the
                learning rate (and with it the weight decay) of parts of the model. A
                part is a task, its head and what else belongs to it alone and is
                named after it (`"<task>_…"`); `"backbone"`, all that is no task's
                part; or a layer by its name, which takes precedence. With 0 a part
                keeps its variables, but batch statistics still move.
            weight_decay_multipliers: The same for the weight decay of the optimizer
                alone.
            metrics: Optional dict from task name to further metrics.
            weighted_metrics: The same, of metrics that use the sample weights.
            run_eagerly: As in Keras.
            steps_per_execution: As in Keras.
            jit_compile: As in Keras, but `"auto"` means off.
            auto_scale_loss: As in Keras.

        Raises:
            ValueError: For an unknown method, task, part or metric, for two losses of
                one task, negative loss weights or multipliers, a balancer where no
                variable is shared, options that need task weights with a balancer that
                has none, or a model of which nothing is trained.
        """
        check_tasks(self.tasks)
        weighting = weightings.get(
            "fixed" if loss_weighting is None else loss_weighting
        )
        balancer = balancers.get(balancer)
        compiling.check_type("loss_weighting", weighting, weightings.LossWeighting)
        kinds = (balancers.Balancer, balancers.JacobianBalancer)
        compiling.check_type("balancer", balancer, *kinds, optional=True)
        options = BalancingOptions() if balancing is None else balancing
        compiling.check_type("balancing", options, BalancingOptions)
        compiling.check_balancing(options, balancer)
        fixed = compiling.check_loss_weights(loss_weights, self.tasks)
        arguments = {
            "optimizer": optimizer,
            "loss": loss,
            "loss_weighting": weighting,
            "balancer": balancer,
            "balancing": options,
            "loss_weights": loss_weights,
            "learning_rate_multipliers": learning_rate_multipliers,
            "weight_decay_multipliers": weight_decay_multipliers,
            "metrics": metrics,
            "weighted_metrics": weighted_metrics,
            "run_eagerly": run_eagerly,
            "steps_per_execution": steps_per_execution,
            "jit_compile": jit_compile,
        }
        compiling.check_trainable(self)
        tasks = compiling.with_losses(self.tasks, loss)
        by_task = task_variables(self)
        reach = Reach.of(by_task, self.trainable_variables)
        compiling.check_reach(reach, tasks, balancer, self.architecture)
        factors, decay_factors = (
            compiling.part_factors(argument, arguments[argument], self, reach, tasks)
            for argument in ("learning_rate_multipliers", "weight_decay_multipliers")
        )
        groups = compiling.groups_of(options.scope, reach.shared)
        reach = dataclasses.replace(reach, groups=groups)
        with_features = None
        if balancer is not None and options.scope == "features":
            both = {
                "outputs": self.output,
                "features": shared_features(self, reach.shared),
            }
            with_features = keras.Model(self.input, both)
        with self.distribute_strategy.scope():
            super().compile(
                optimizer=optimizer,
                run_eagerly=run_eagerly,
                steps_per_execution=steps_per_execution,
                jit_compile=False if jit_compile == "auto" else jit_compile,
                auto_scale_loss=auto_scale_loss,
            )
            compiling.check_optimizer(self.optimizer, decay_factors)
            self.optimizer.build(self.trainable_variables)
            arguments["optimizer"] = self.optimizer
            self._step = TrainingStep(
                model=self,
                tasks=tasks,
                weighting=weighting,
                balancer=balancer,
                options=options,
                loss_weights=fixed,
                multipliers=factors,
                decay_multipliers=decay_factors,
                reach=reach,
                cut=compiling.layers_to_cut(self, balancer, options, reach),
                penalty=lambda: self.architecture.penalty(by_task),
                with_features=with_features,
                state=MethodState(tasks, weighting, balancer, self.optimizer, reach),
                tracker=LossTracker(self.task_names),
                metrics=compiling.task_metrics(tasks, metrics, weighted_metrics),
                # Not an attribute of the model, which would track the metrics in it.
                arguments=arguments,
            )

    def get_compile_config(self) -> dict:
        if not self.compiled:
            return {}
        return keras.saving.serialize_keras_object(self._step.arguments)

    def compile_from_config(self, config: dict) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))

    # === Training ===

    def train_step(self, data):
        self._step.train(data)
        return self.get_metrics_result()

    def test_step(self, data):
        self._step.test(data)
        return self.get_metrics_result()

    def make_train_function(self, force=False):
        if self.train_function is None or force:
            super().make_train_function(force)
            if self._step.options.on_nonfinite == "raise":
                function: Any = self.train_function
                self.train_function = self._step.checked(function)

    def _remake_train_function(self):
        if self.train_function is not None:
            self.make_train_function(force=True)

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        shuffle=True,
        class_weight=None,
        sample_weight=None,
        *args,
        **kwargs,
    ):
        """As `keras.Model.fit`; `sample_weight` may be a dict for some tasks only."""
        self._assert_compile_called("fit")
        if class_weight is not None:
            raise ValueError(
                "Expected class weights to be those of a task: set "
                f"`Task.class_weight`. Received: class_weight={class_weight}"
            )
        compiling.check_batch_size(self._step.balancer, x, batch_size)
        between = BetweenEpochs()
        if isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks.callbacks.insert(0, between)
            between.set_model(self)
        else:
            callbacks = [between, *keras.tree.flatten(callbacks or [])]
        if isinstance(validation_data, tuple) and len(validation_data) == 3:
            *data, weights = validation_data
            validation_data = (*data, self._weights_of_all(weights))
        return super().fit(
            x,
            y,
            batch_size,
            epochs,
            verbose,
            callbacks,
            validation_split,
            validation_data,
            # Keras warns that it ignores its own default for a data set.
            shuffle and not isinstance(x, tf.data.Dataset),
            None,
            self._weights_of_all(sample_weight),
            *args,
            **kwargs,
        )

    def evaluate(self, x=None, y=None, *args, sample_weight=None, **kwargs):
        """As `keras.Model.evaluate`; `sample_weight` may be a dict for some tasks."""
        return super().evaluate(
            x, y, *args, sample_weight=self._weights_of_all(sample_weight), **kwargs
        )

    def train_on_batch(self, x, y=None, sample_weight=None, **kwargs):
        weights = self._weights_of_all(sample_weight)
        return super().train_on_batch(x, y, sample_weight=weights, **kwargs)

    def test_on_batch(self, x, y=None, sample_weight=None, **kwargs):
        weights = self._weights_of_all(sample_weight)
        return super().test_on_batch(x, y, sample_weight=weights, **kwargs)

    def end_epoch(self, logs: dict[str, Any] | None = None) -> None:
        """Tells the loss weighting that an epoch is over; `fit` does so by itself."""
        self._step.end_epoch(logs or {})

    def _weights_of_all(self, sample_weight):
        """The dict with an entry for every task, as Keras' data adapters want it."""
        if not isinstance(sample_weight, dict) or not sample_weight:
            return sample_weight
        weights_by_task(sample_weight, self.tasks)  # Raises for unknown keys.
        rest = None
        if self.distribute_strategy.num_replicas_in_sync > 1:
            # A distributed data set cannot hold `None`.
            given = [w for w in sample_weight.values() if w is not None]
            rest = np.ones(len(given[0])) if given else None
        weights = {name: sample_weight.get(name) for name in self.task_names}
        return {k: rest if w is None else w for k, w in weights.items()}

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # A functional model is built, and `compile` has built the optimizer. Keras'
        # own version averages a batch over replicas, which fails on uneven ones.
        pass

    # === Priorities ===

    @property
    def task_priorities(self) -> dict[str, float]:
        """The priorities of the tasks, see `set_task_priorities`.

        Raises:
            ValueError: If the model is not compiled.
        """
        self._assert_compile_called("task_priorities")
        values = array(self._step.state.priorities).tolist()
        return dict(zip(self.task_names, values, strict=True))

    def set_task_priorities(self, priorities: dict[str, float]) -> None:
        """Changes what the tasks count for, between two steps of training.

        A priority multiplies the task's fixed loss weight. A task of priority 0 is
        switched off: for the others, the loss weighting and the balancer it is as if
        no example had a label of it, and the variables that it does not share with a
        task that is on keep their values, with what the optimizer remembers of them
        (batch statistics still move; what `gradient_accumulation_steps` has collected
        for them is lost if the task is off when the update comes). Its losses and
        metrics of training are NaN in the logs; validation, and `val_loss`, know no
        priorities.

        All priorities are 1 after `compile`, and then cost nothing. They are saved
        with the model, and changed without tracing the step again, but for the first
        time. The callbacks `TaskSchedule`, `AlternatingTasks` and `TaskEarlyStopping`
        of `keras_mtl.callbacks` set them.

        Args:
            priorities: Dict from task name to a number `>= 0`. Tasks that it does not
                name keep theirs.

        Raises:
            ValueError: For an unknown task, a negative number, if no task is left
                with a priority above 0, or if the model is not compiled.

        Cost: A selection per variable that not all tasks share. The backward pass of
            a task that is switched off is still made, of zeros.
        """
        self._assert_compile_called("set_task_priorities")
        new = compiling.check_priorities(priorities, self.task_priorities)
        if self._step.state.set_priorities(np.array(list(new.values()))):
            self._remake_train_function()

    # === Logs ===

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        of_layers = [m for m in super().metrics if m is not self._loss_tracker]
        return (self._step.all_metrics if self._step else []) + of_layers

    def get_metrics_result(self) -> dict[str, Any]:
        if not self._step:
            return super().get_metrics_result()
        return self._step.logs() | {
            m.name: m.result() for m in self.metrics if m not in self._step.all_metrics
        }

    @property
    def balancer(self) -> Any:
        """The gradient balancer that `compile` was given, or `None`."""
        return self._step.balancer if self._step else None

    @property
    def balancing_state(self) -> dict[str, np.ndarray]:
        """What weighting and balancer did last, as NumPy arrays.

        `"step"`; `"loss_weights"` (num_tasks,) of the last step; `"nonfinite"`
        (num_tasks,), how often a task was left out because its loss or gradient was
        not finite. With a balancer also `"task_weights"` (num_tasks,) of the last
        balancing step (a `JacobianBalancer` has none; with groups of layers their
        mean, beside `"group_task_weights"` (num_groups, num_tasks)) and, over the
        balancing steps of the epoch (`NaN` before the first), the mean
        `"gradient_norms"` (num_tasks,), the mean `"cosine"` (num_tasks, num_tasks),
        and `"conflict_rate"`, the share of pairs of tasks with opposed gradients.

        Raises:
            ValueError: If the model is not compiled.
        """
        self._assert_compile_called("balancing_state")
        return self._step.state.summary()

    # === Prediction ===

    def predict_tasks(self, x: Any, **kwargs) -> dict[str, dict[str, np.ndarray]]:
        """Predictions in the form that the export serves.

        Args:
            x: Inputs, as for `predict`; those that only training has may be left out.
            **kwargs: Other arguments of `predict`.

        Returns:
            Dict from task name to a dict of named arrays (probabilities, labels,
            values in the units of the labels, boxes).
        """
        model = self._serving()
        x = x if model is self else serving.known_inputs(model, x)
        raw = model.predict(x, **kwargs)
        served = {}
        for task in self.tasks:
            arrays = keras.tree.map_structure(ops.convert_to_tensor, raw[task.name])
            tensors = task.head.serving(arrays)
            served[task.name] = {k: serving.to_numpy(v) for k, v in tensors.items()}
        return served

    def _serving(self):
        """The model whose `predict` serves: this one, if no task needs another."""
        if self._served.model is None:
            with self.distribute_strategy.scope():
                model = self.serving_model()
            same = all(model.output[name] is raw for name, raw in self.output.items())
            self._served.model = self if same else model
        return self._served.model

    def serving_model(self, name: str | None = None) -> keras.Model:
        """What serves: the model without the inputs that only training has.

        Args:
            name: Name of a task; all tasks by default.

        Returns:
            Functional model with the same variables, from the inputs that there are
            when it serves to what `Head.serving` takes: for most tasks their raw
            outputs; for some (`SequenceToSequence`) what a search finds. A dict by
            task name, or that of the one task.

        Raises:
            ValueError: For an unknown task.
        """
        tasks = self.tasks if name is None else (self._task(name),)
        outputs = {}
        for task in tasks:
            raw = self.output[task.name]
            raw = raw if name is None else narrowed(raw)
            outputs[task.name] = task.head.served(raw)
        inputs = serving.needed_inputs(self, keras.tree.flatten(outputs))
        if name is None:
            return keras.Model(inputs, outputs, name=f"{self.name}_serving")
        return keras.Model(inputs, outputs[name], name=f"{self.name}_{name}_serving")

    def task_model(self, name: str) -> keras.Model:
        """The part of the model that one task needs, with the same variables.

        Args:
            name: Name of the task.

        Returns:
            Functional model from the inputs that the task depends on to its raw
            output.

        Raises:
            ValueError: For an unknown task.
        """
        output = narrowed(self.output[self._task(name).name])
        inputs = serving.needed_inputs(self, [output])
        return keras.Model(inputs, output, name=f"{self.name}_{name}")

    def _task(self, name):
        for task in self.tasks:
            if task.name == name:
                return task
        raise ValueError(
            f"Expected the name of a task, one of {list(self.task_names)}. "
            f"Received: name={name!r}"
        )

    # === Saving ===

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "tasks": [keras.saving.serialize_keras_object(t) for t in self.tasks],
            "architecture": keras.saving.serialize_keras_object(self.architecture),
            "frozen": frozen_layers(self),
        }

    @classmethod
    def from_config(cls, config: dict, custom_objects=None) -> "MultiTaskModel":
        config = dict(config)
        tasks = [keras.saving.deserialize_keras_object(t) for t in config.pop("tasks")]
        architecture = keras.saving.deserialize_keras_object(config.pop("architecture"))
        frozen = config.pop("frozen", [])
        plain = keras.Model.from_config(config, custom_objects=custom_objects)
        set_frozen(plain, frozen)
        return cls(
            plain.input,
            plain.output,
            tasks=tasks,
            architecture=architecture,
            name=plain.name,
            trainable=plain.trainable,
        )

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        if self._step:
            self._step.state.save(store)

    def load_own_variables(self, store: Any) -> None:
        # The file may hold the state of methods, which an uncompiled model leaves.
        if self._step and self._step.state.load(store):
            self._remake_train_function()
