"""Assembles a multi-task model from a backbone, an architecture and heads."""

import dataclasses
from typing import Any

import keras

from keras_mtl import architectures, backbones, heads
from keras_mtl.task import Task, check_tasks
from keras_mtl.training.freezing import freeze
from keras_mtl.training.model import MultiTaskModel
from keras_mtl.utils.types import Tensor


def build_model(
    backbone: Any,
    tasks: list[Task],
    *,
    architecture: Any = "hard",
    backbone_trainable: bool | int | list[str] = True,
    name: str | None = None,
) -> MultiTaskModel:
    """A functional model with one output per task.

    Args:
        backbone: Any built `keras.Model` (one of `keras_mtl.backbones`, a keras-hub
            backbone, your own), or the configuration of a backbone. Or a dict from
            task name to such models, one encoder per task; inputs of one name are
            then one input.
        tasks: List of `Task`. They are copied: one list makes many models.
        architecture: How the tasks share: an `Architecture`, its name or its
            configuration.
        backbone_trainable: What of the backbone is trained. `True`: what is trainable
            in it. `False`: nothing. A number: the last stages, so many, and what does
            not come before them; for a backbone that names no `stages` the last layers
            with variables. A list of names: these layers of it only. The `trainable` of
            the other layers is set to False, in the backbone that you gave too (batch
            normalisation then keeps its statistics), and saved with the model.
        name: Name of the model.

    Returns:
        A `MultiTaskModel`. Its outputs are a dict from task name to the raw outputs
        (logits, scaled values, boxes); `predict_tasks` gives the post-processed ones.

    Raises:
        TypeError: If the backbone is no functional Keras model.
        ValueError: If tasks clash, a head cannot take its feature, a task comes after
            one that does not exist, or after itself, or `backbone_trainable` names a
            layer that does not exist.

    Example:
    >>> import keras_mtl as mtl
    >>> tasks = [mtl.Task("kind", mtl.heads.Classification(3)),
    ...          mtl.Task("price", mtl.heads.Regression())]
    >>> model = mtl.build_model(mtl.backbones.MLP(input_shape=(8,)), tasks)
    >>> {task: output.shape for task, output in model.output.items()}
    {'kind': (None, 3), 'price': (None, 1)}
    """
    copies = tuple(_copy(task) for task in check_tasks(tasks))
    architecture = architectures.get(architecture)
    per_task = _backbones(backbone, copies)
    # Before anything is copied: the copies of an architecture are frozen with it.
    freeze(per_task.values(), backbone_trainable)

    # === Layers ===
    inputs, of_task = _inputs(per_task)

    # === Functional model ===
    features = architecture.connect(of_task, per_task, copies)
    outputs: dict[str, Tensor] = {}
    for task in _in_order(copies):
        wanted = task.feature or task.head.feature
        feature = _feature(task, features[task.name], wanted)
        extra = _extra_inputs(task, inputs)
        if extra:
            inputs = {**_as_dict(inputs), **extra}
        if (other := task.head.other_feature) is not None:
            extra = {**extra, other: _feature(task, features[task.name], other)}
        if task.head.after is not None:
            extra = {**extra, task.head.after: outputs[task.head.after]}
        outputs[task.name] = task.head.connect(feature, extra, task.name)
    outputs = {task.name: outputs[task.name] for task in copies}

    # === Config ===
    return MultiTaskModel(
        inputs, outputs, tasks=copies, architecture=architecture, name=name
    )


def _copy(task):
    """The task with a head of its own; `compile` copies its metrics.

    Not by way of `Task.get_config`: custom classes and functions need a name under
    which Keras finds them only where a file is read.
    """
    head = heads.get(task.head)
    if not isinstance(head, heads.Head):
        raise TypeError(
            f"Expected `head` of task {task.name!r} to be a `keras_mtl.heads.Head`, "
            f"its name or its configuration. Received: head={task.head!r}"
        )
    return dataclasses.replace(task, head=type(head).from_config(head.get_config()))


def _in_order(tasks):
    """The tasks, each after the one that its head comes after."""
    by_name = {task.name: task for task in tasks}
    ordered: dict[str, Task] = {}
    for task in tasks:
        chain = [task]
        while (after := chain[-1].head.after) is not None and after not in ordered:
            if after not in by_name or after in [link.name for link in chain]:
                raise ValueError(
                    f"Task {chain[-1].name!r}: expected `after` of its head to name "
                    f"another task of {list(by_name)} that does not come after it in "
                    f"turn. Received: after={after!r}"
                )
            chain.append(by_name[after])
        for link in reversed(chain):
            ordered[link.name] = link
    for task in tasks:
        if task.head.after is not None:
            task.head.check_earlier(by_name[task.head.after].head)
    return list(ordered.values())


def _backbones(backbone, tasks):
    """One model with named features per task."""
    if isinstance(backbone, dict) and "class_name" not in backbone:
        names = {task.name for task in tasks}
        if set(backbone) != names:
            raise ValueError(
                f"Expected one backbone per task {sorted(names)}. "
                f"Received: {sorted(backbone)}"
            )
        adopted = {id(model): _adopt(model) for model in backbone.values()}
        return {task.name: adopted[id(backbone[task.name])] for task in tasks}
    return dict.fromkeys([task.name for task in tasks], _adopt(backbone))


def _adopt(backbone):
    """The backbone as a model whose outputs are a dict of named features."""
    backbone = backbones.get(backbone)
    functional = isinstance(backbone, keras.Model) and hasattr(backbone, "inputs")
    if not functional or not backbone.inputs:
        raise TypeError(
            "Expected `backbone` to be a functional (built) keras.Model or the "
            f"configuration of a backbone, one of {backbones.registry.names()}. "
            f"Received: backbone={backbone!r} of type {type(backbone).__name__}"
        )
    if isinstance(backbone, keras.Sequential):
        # Its own `input` and `output` exist only once it has been called.
        name = backbone.name
        backbone = keras.Model(backbone.inputs[0], backbone.outputs[0], name=name)
    given = backbone.input if isinstance(backbone.input, dict) else {}
    features = backbones.named_features(backbone.output, given.get("padding_mask"))
    if features is backbone.output or features == backbone.output:
        return backbone
    return keras.Model(backbone.input, features, name=backbone.name)


def _inputs(per_task):
    """Fresh inputs of the whole model, and those of every task's backbone."""
    made: dict[str, Any] = {}
    of_task = {}
    unique = {id(model): model for model in per_task.values()}
    for key, model in unique.items():
        of_task[key] = keras.tree.map_structure(
            lambda tensor: _input_like(tensor, made), model.input
        )
    inputs = next(iter(of_task.values())) if len(unique) == 1 else made
    return inputs, {task: of_task[id(model)] for task, model in per_task.items()}


def _input_like(tensor: Tensor, made: dict[str, Any]) -> Tensor:
    known = made.get(tensor.name)
    if known is None:
        made[tensor.name] = keras.Input(
            batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name
        )
        return made[tensor.name]
    if tuple(known.shape) != tuple(tensor.shape) or known.dtype != tensor.dtype:
        raise ValueError(
            f"Expected the inputs named {tensor.name!r} of several backbones to be "
            f"one and the same. Received: shapes {known.shape} and {tensor.shape}, "
            f"dtypes {known.dtype} and {tensor.dtype}"
        )
    return known


def _as_dict(inputs):
    if isinstance(inputs, dict):
        return inputs
    return {tensor.name: tensor for tensor in keras.tree.flatten(inputs)}


def _extra_inputs(task, inputs):
    """The inputs of the task's head; of one name there is one input in the model."""
    known, chosen = _as_dict(inputs), {}
    for key, tensor in task.head.extra_inputs(task.name).items():
        chosen[key] = there = known.get(key, tensor)
        sizes = zip(there.shape, tensor.shape, strict=False)
        fits = all(a == b or None in (a, b) for a, b in sizes)
        same_rank = len(there.shape) == len(tensor.shape)
        if not (fits and same_rank and there.dtype == tensor.dtype):
            raise ValueError(
                f"Task {task.name!r}: expected the input {key!r}, which the model has "
                f"already, to have shape {tensor.shape} and dtype {tensor.dtype}. "
                f"Received: shape={there.shape}, dtype={there.dtype}. Rename one of "
                "them"
            )
    return chosen


def _feature(task, features, name):
    """A feature that the task's head takes."""
    if name not in features:
        raise ValueError(
            f"Task {task.name!r}: expected the backbone to give the feature "
            f"{name!r}. Received: features {sorted(features)}. Set `Task.feature` to "
            "one of them, or take another backbone"
        )
    if len(features[name].shape) != task.head.feature_rank:
        raise ValueError(
            f"Task {task.name!r}: expected a feature of rank {task.head.feature_rank} "
            f"for {type(task.head).__name__}. Received: feature {name!r} of shape "
            f"{features[name].shape}"
        )
    return features[name]
