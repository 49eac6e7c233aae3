"""Checks and merges of `compile`: what the user gives with what the tasks bring."""

import dataclasses
import math
import numbers
from typing import Any

import keras
import tensorflow as tf

from keras_mtl import distribution
from keras_mtl.balancers import JacobianBalancer
from keras_mtl.task import Task
from keras_mtl.training.graph import all_layers
from keras_mtl.training.losses import check_loss
from keras_mtl.training.options import BalancingOptions
from keras_mtl.training.reach import Reach
from keras_mtl.training.tape import can_be_cut
from keras_mtl.training.trackers import TaskMetrics
from keras_mtl.utils.checks import check_keys, check_non_negative


def check_type(name: str, value: Any, *wanted: type, optional: bool = False) -> None:
    """Raises a `TypeError` unless `value` is a `wanted` (or `None`, if optional)."""
    if not isinstance(value, wanted) and not (optional and value is None):
        kinds = " or ".join(kind.__name__ for kind in wanted)
        raise TypeError(
            f"Expected `{name}` to be a {kinds}, its name or its "
            f"configuration. Received: {name}={value!r} of type "
            f"{type(value).__name__}"
        )


def by_task_name(name: str, value: Any, tasks: tuple[Task, ...]) -> dict[str, Any]:
    """An argument of `compile` as a dict by task name.

    Raises:
        ValueError: If it is no dict (for one task anything goes), or has a key
            that is no task.
    """
    if value is None:
        return {}
    names = [task.name for task in tasks]
    if not isinstance(value, dict):
        if len(tasks) == 1:
            return {names[0]: value}
        raise ValueError(
            f"Expected `{name}` to be a dict by task name {names}. "
            f"Received: {name}={value!r}"
        )
    check_keys(name, value, names)
    return value


def with_losses(tasks: tuple[Task, ...], loss: Any) -> tuple[Task, ...]:
    """The tasks with their loss objects: `compile`'s, the task's or the head's.

    Raises:
        ValueError: If both `compile` and the task give a loss.
    """
    given = by_task_name("loss", loss, tasks)
    complete = []
    for task in tasks:
        if task.name in given and task.loss is not None:
            raise ValueError(
                f"Expected one loss for task {task.name!r}. Received: "
                f"loss={task.loss!r} in `Task` and loss={given[task.name]!r} in "
                "`compile`. Leave one of them out"
            )
        chosen = given.get(task.name, task.loss)
        chosen = task.head.default_loss() if chosen is None else chosen
        complete.append(dataclasses.replace(task, loss=check_loss(task.name, chosen)))
    return tuple(complete)


def task_metrics(
    tasks: tuple[Task, ...], metrics: Any, weighted_metrics: Any
) -> list[TaskMetrics]:
    """Metrics of every task: the task's or the head's, and those of `compile`.

    Raises:
        ValueError: If two metrics of a task have one name.
    """
    more = by_task_name("metrics", metrics, tasks)
    weighted = by_task_name("weighted_metrics", weighted_metrics, tasks)
    complete = []
    for task in tasks:
        own = task.metrics
        if own is None:
            own = task.head.default_metrics()
        tracked = TaskMetrics(
            task,
            [*_as_list(own), *_as_list(more.get(task.name))],
            _as_list(weighted.get(task.name)),
        )
        names = [m.name for m in tracked.metrics + tracked.weighted]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"Expected the metrics of task {task.name!r} to have different "
                f"names. Received twice: {twice}"
            )
        complete.append(tracked)
    return complete


def _as_list(value):
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def check_trainable(model: keras.Model) -> None:
    """Raises a `ValueError` if nothing of the model is trained."""
    if model.weights and not model.trainable_variables:
        raise ValueError(
            "Expected at least one trainable variable. Received: a model with "
            f"{len(model.weights)} variables, all of them frozen. Set `trainable` of "
            "the model, a head or a layer to True, or build it with "
            "`backbone_trainable` set to True, a number of stages, or names of layers"
        )


def part_factors(
    argument: str,
    multipliers: Any,
    model: keras.Model,
    reach: Reach,
    tasks: tuple[Task, ...],
) -> list[float] | None:
    """The factors that parts of the model get, by trainable variable, in their order.

    Args:
        argument: Name of the argument of `compile`.
        multipliers: Its value, a dict by part, or `None`.
        model: The functional model.
        reach: Which task reaches which variable.
        tasks: The tasks.

    Returns:
        List of numbers, or `None` if all are 1.

    Raises:
        ValueError: For a key that names no part, or a negative number.
    """
    if not multipliers:
        return None
    layers = all_layers(model)
    names = [task.name for task in tasks]
    known = {"backbone", *names, *(layer.name for layer in layers)}
    unknown = sorted(set(multipliers) - known)
    if unknown:
        raise ValueError(
            f"Expected the keys of `{argument}` to be 'backbone', names "
            f"of tasks {names} or names of layers. Received: {unknown}"
        )
    for value in multipliers.values():
        check_non_negative(argument, value)
    part_of = {}
    for layer in layers:
        for variable in layer.trainable_variables:
            part_of[id(variable)] = layer.name
    factors = []
    for variable in model.trainable_variables:
        layer = part_of.get(id(variable), "")
        owners = [
            name
            for name, own in zip(names, reach.own, strict=True)
            if layer.startswith(f"{name}_") and any(variable is v for v in own)
        ]
        keys = [layer, *(owners or ["backbone"])]
        given = [multipliers[key] for key in keys if key in multipliers]
        factors.append(float(given[0]) if given else 1.0)
    return None if set(factors) <= {1.0} else factors


def check_reach(
    reach: Reach, tasks: tuple[Task, ...], balancer: Any, architecture: Any
) -> None:
    """Raises a `ValueError` if there is nothing for the balancer to balance."""
    if balancer is not None and not reach.shared:
        raise ValueError(
            "Expected several tasks to share trainable variables when a `balancer` "
            f"is set. Received: balancer={type(balancer).__name__} and tasks "
            f"{[task.name for task in tasks]} without a shared trainable variable in "
            f"architecture={type(architecture).__name__}. Leave `balancer` out, "
            "unfreeze the backbone, or take an architecture whose tasks share variables"
        )


def groups_of(scope: str | dict[str, list[str]], shared: list) -> list[list[int]]:
    """Positions of the shared variables that are balanced together.

    Args:
        scope: `BalancingOptions.scope`.
        shared: The shared variables.

    Raises:
        ValueError: If a named layer has no shared variable, or two groups have it.
    """
    layers = [variable.path.split("/")[:-1] for variable in shared]
    if isinstance(scope, str):
        if scope != "layers":
            return [list(range(len(shared)))]
        keys = ["/".join(names) for names in layers]
        return [
            [i for i, k in enumerate(keys) if k == key] for key in dict.fromkeys(keys)
        ]
    listed = [name for names in scope.values() for name in names]
    known = {name for names in layers for name in names}
    wrong = [n for n in dict.fromkeys(listed) if n not in known or listed.count(n) > 1]
    groups = [
        [i for i, path in enumerate(layers) if set(path) & set(names)]
        for names in scope.values()
    ]
    grouped = [i for group in groups for i in group]
    if wrong or len(set(grouped)) < len(grouped):
        raise ValueError(
            "Expected `scope` to name layers with shared variables, each in one group. "
            f"Received: scope={scope}, of which {wrong or 'layers inside of layers'} "
            f"are unknown or in two groups. The layers are {sorted(known)}"
        )
    rest = [i for i in range(len(shared)) if i not in grouped]
    return groups + ([rest] if rest else [])


def layers_to_cut(
    model: keras.Model, balancer: Any, options: BalancingOptions, reach: Reach
) -> list[keras.layers.Dense]:
    """The shared dense layers that all tasks pass backwards together.

    None where there is nothing to pass task by task; nor on several replicas, whose
    threads trace one layer at the same time.
    """
    together = options.engine == "auto" and options.scope != "features"
    if balancer is None or not together or distribution.num_replicas() > 1:
        return []
    shared = {id(variable) for variable in reach.shared}
    return [
        layer
        for layer in all_layers(model)
        if can_be_cut(layer) and id(layer.kernel) in shared
    ]


def check_balancing(options: BalancingOptions, balancer: Any) -> None:
    """Raises a `ValueError` for options that the balancer cannot follow."""
    in_groups = options.scope not in ("parameters", "features")
    if in_groups and options.every > 1:
        raise ValueError(
            "Expected `every=1` where groups of layers are balanced on their own: "
            "their task weights differ, so one backward pass cannot apply them. "
            f"Received: every={options.every} and scope={options.scope!r}"
        )
    parts = getattr(balancer, "batch_parts", 1)
    if options.scope == "features" and parts > 1:
        raise ValueError(
            "Expected `scope='parameters'` or groups of layers with "
            f"balancer={type(balancer).__name__}, which compares two halves of a "
            "batch: they have no features in common. Received: scope='features'"
        )
    if not isinstance(balancer, JacobianBalancer):
        return
    for name, possible in (
        ("every", 1),
        ("scope", "parameters"),
        ("scale", "paper"),
        ("head_gradients", "task"),
    ):
        value = getattr(options, name)
        if value != possible:
            raise ValueError(
                f"Expected `BalancingOptions({name}={possible!r})` with a balancer "
                "that combines the task gradients themselves: it has no task weights "
                f"to reuse, rescale or choose. Received: {name}={value!r} and "
                f"balancer={type(balancer).__name__}. Leave `{name}` out, or take a "
                "balancer that needs the Gram matrix only"
            )


def check_batch_size(balancer: Any, x: Any, batch_size: int | None) -> None:
    """Raises a `ValueError` for batches that are known to be too small to split."""
    if getattr(balancer, "batch_parts", 1) == 1:
        return
    known = None
    if isinstance(x, tf.data.Dataset):
        spec = tf.nest.flatten(x.element_spec)[0]
        known = spec.shape[0] if spec.shape.rank else None
    elif arrays := [part for part in keras.tree.flatten(x) if hasattr(part, "shape")]:
        known = arrays[0].shape[0] if batch_size is None else batch_size
    if known == 1:
        raise ValueError(
            f"Expected batches of at least two examples with "
            f"balancer={type(balancer).__name__}, which compares the gradients of two "
            "halves of a batch. Received: a batch size of 1"
        )


def check_optimizer(
    optimizer: keras.optimizers.Optimizer, decay_factors: list[float] | None
) -> None:
    """Raises a `ValueError` for what Keras cannot do under several replicas.

    And for factors of a weight decay that the optimizer does not have.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if decay_factors is not None and not getattr(inner, "weight_decay", None):
        raise ValueError(
            "Expected an optimizer with a weight decay when "
            "`weight_decay_multipliers` is set, such as AdamW. "
            f"Received: optimizer={type(inner).__name__} with "
            f"weight_decay={getattr(inner, 'weight_decay', None)}"
        )
    made_under = getattr(inner, "_distribution_strategy", None)
    here = tf.distribute.get_strategy()
    if made_under is not None and made_under is not here:
        raise ValueError(
            "Expected the optimizer to be made inside the `scope()` of the strategy "
            f"that the model was built in ({type(here).__name__}). Received: "
            f"optimizer={type(inner).__name__}, made under {type(made_under).__name__}"
        )
    for name in ("gradient_accumulation_steps", "ema_overwrite_frequency"):
        if getattr(inner, name, None) and distribution.num_replicas() > 1:
            raise ValueError(
                f"Expected an optimizer without `{name}` under a strategy with "
                "several replicas, where Keras cannot run it. "
                f"Received: {name}={getattr(inner, name)}. Leave it out, or train "
                "on one device"
            )


def check_loss_weights(loss_weights: Any, tasks: tuple[Task, ...]) -> list[float]:
    """The fixed weight of every task: `compile`'s where given, or the task's.

    Raises:
        ValueError: For an unknown task, a negative or an infinite weight.
    """
    names = [task.name for task in tasks]
    given = loss_weights if loss_weights is not None else {}
    if isinstance(given, list | tuple):
        if len(given) != len(tasks):
            raise ValueError(
                f"Expected `loss_weights` to hold one weight per task {names}. "
                f"Received: loss_weights={loss_weights}"
            )
        given = dict(zip(names, given, strict=True))
    weights = []
    if isinstance(given, dict) and set(given) <= set(names):
        weights = [given.get(task.name, task.loss_weight) for task in tasks]
    if not weights or not all(_is_weight(weight) for weight in weights):
        raise ValueError(
            "Expected `loss_weights` to be finite numbers >= 0 by task name "
            f"{names}. Received: loss_weights={loss_weights}"
        )
    return [float(weight) for weight in weights]


def check_priorities(
    priorities: dict[str, float], before: dict[str, float]
) -> dict[str, float]:
    """The priority of every task: the new one where given, or the one before.

    Raises:
        ValueError: For an unknown task, a negative number, or zeros only.
    """
    check_keys("priorities", priorities, list(before))
    for value in priorities.values():
        check_non_negative("priorities", value)
    new = {**before, **priorities}
    if not any(new.values()):
        raise ValueError(
            "Expected at least one task to keep a priority above 0. Received: "
            f"priorities={priorities} where the priorities are {before}"
        )
    return new


def _is_weight(value):
    number = isinstance(value, numbers.Real)
    return number and math.isfinite(value) and float(value) >= 0
