"""One tower per task, side by side, which exchange their features stage by stage."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import keras

from keras_mtl.architectures.tower import Tower, stages_of
from keras_mtl.task import Task
from keras_mtl.utils.checks import check_keys
from keras_mtl.utils.types import Tensor

Stages: TypeAlias = Sequence[str] | Mapping[str, Sequence[str]] | None


def exchanged(
    inputs: dict[str, Any],
    backbones: dict[str, keras.Model],
    tasks: tuple[Task, ...],
    stages: Stages,
    exchange: Callable[[dict[str, str], dict[str, Tensor]], dict[str, Tensor]],
) -> dict[str, dict[str, Tensor]]:
    """Features of one tower per task, which meet after every stage.

    Args:
        inputs: As for `Architecture.connect`.
        backbones: As for `Architecture.connect`.
        tasks: The tasks.
        stages: Names of the layers after which the towers exchange, for all tasks
            or as a dict by task; the backbones' own `stages` by default.
        exchange: Function from two dicts by task, the names of the stage and its
            tensors, all of one shape, to what the layers after the stage see.

    Returns:
        Dict from task name to a dict of named features.

    Raises:
        ValueError: If a stage does not exist, or the tasks' backbones differ in the
            number of stages or in the shape of one.
    """
    names = stages_by_task(backbones, tasks, stages)
    towers = {t.name: Tower(backbones[t.name], inputs[t.name], t.name) for t in tasks}
    for row in zip(*names.values(), strict=True):
        layers = dict(zip(names, row, strict=True))
        tensors = {name: towers[name].advance(layers[name]) for name in towers}
        _check_one_shape(layers, tensors)
        for name, tensor in exchange(layers, tensors).items():
            towers[name].put(layers[name], tensor)
    return {name: tower.features() for name, tower in towers.items()}


def unit_per_task(
    layers: dict[str, str], tensors: dict[str, Tensor], make: Callable, ending: str
) -> dict[str, Tensor]:
    """What a unit of every task makes of the tensors of all tasks at a stage.

    Args:
        layers: Dict from task name to the name of the stage.
        tensors: Dict from task name to the tensor of the stage.
        make: Function `(index, name=…)` that makes the unit of the task of an index.
        ending: How the names of the units end.
    """
    every = list(tensors.values())
    return {
        task: make(index, name=f"{task}_{layer}_{ending}")(every)
        for index, (task, layer) in enumerate(layers.items())
    }


def stages_by_task(
    backbones: dict[str, keras.Model], tasks: tuple[Task, ...], stages: Stages
) -> dict[str, tuple[str, ...]]:
    """The stages of every task's backbone, the same number for all.

    Raises:
        ValueError: If a stage does not exist, or the numbers differ.
    """
    per_task = isinstance(stages, Mapping)
    if isinstance(stages, Mapping):
        check_keys("stages", stages, [task.name for task in tasks])
    names = {}
    for task in tasks:
        own = stages.get(task.name) if isinstance(stages, Mapping) else stages
        names[task.name] = stages_of(backbones[task.name], own)
    first = tasks[0].name
    for name, found in names.items():
        if len(found) != len(names[first]):
            raise ValueError(
                "Expected the backbones of all tasks to have the same number of "
                f"stages. Received: {names[first]} for task {first!r} and {found} for "
                f"task {name!r}. Name them in `stages`"
                + ("" if per_task else ", if need be as a dict by task")
            )
    return names


def _check_one_shape(layers, tensors):
    first = next(iter(tensors))
    for task, tensor in tensors.items():
        if tuple(tensor.shape) != tuple(tensors[first].shape):
            raise ValueError(
                "Expected the stages at which the towers of the tasks meet to have "
                f"one shape. Received: {tuple(tensors[first].shape)} after layer "
                f"{layers[first]!r} for task {first!r} and {tuple(tensor.shape)} after "
                f"layer {layers[task]!r} for task {task!r}. Name other `stages`, or "
                "give the tasks backbones of one shape"
            )


def check_several(architecture: Any, tasks: Sequence[Task]) -> None:
    """Raises a `ValueError` if only one task asks for an architecture for several."""
    if len(tasks) < 2:
        raise ValueError(
            f"Expected several tasks with {type(architecture).__name__}, which is "
            "about what they exchange. Received: tasks "
            f"{[task.name for task in tasks]}. Take architecture='hard' for one task"
        )


def one_backbone(architecture: Any, backbones: dict[str, keras.Model]) -> keras.Model:
    """The backbone that all tasks have.

    Raises:
        ValueError: If they have different ones.
    """
    first = next(iter(backbones))
    for task, backbone in backbones.items():
        if backbone is not backbones[first]:
            raise ValueError(
                f"Expected one backbone for all tasks with "
                f"{type(architecture).__name__}. Received: {backbones[first].name!r} "
                f"for task {first!r} and another, {backbone.name!r}, for task {task!r}"
            )
    return backbones[first]


def check_stages(stages: Any) -> Any:
    """Returns `stages`, as lists that a configuration can hold.

    Raises:
        ValueError: Unless they are `None`, names, or a dict of names by task.
    """
    if stages is None:
        return None
    if isinstance(stages, Mapping):
        return {task: check_stages(names) for task, names in stages.items()}
    names = isinstance(stages, list | tuple) and len(stages) > 0
    if not names or not all(isinstance(name, str) for name in stages):
        raise ValueError(
            "Expected `stages` to be `None`, a list of layer names, or a dict of such "
            f"lists by task. Received: stages={stages!r}"
        )
    return list(stages)
