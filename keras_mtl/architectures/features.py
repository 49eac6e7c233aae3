"""What architectures begin with that sit behind a backbone."""

from collections.abc import Callable
from typing import Any

import keras

from keras_mtl.architectures.architecture import Architecture
from keras_mtl.architectures.hard import HardSharing
from keras_mtl.task import Task
from keras_mtl.utils.types import Tensor

Features = dict[str, dict[str, Tensor]]


def features_of(
    architecture: Architecture,
    inputs: dict[str, Any],
    backbones: dict[str, keras.Model],
    tasks: tuple[Task, ...],
) -> Features:
    """The features that the backbones give every task; each backbone is called once.

    Args:
        architecture: The architecture that asks, for the message.
        inputs: As for `Architecture.connect`.
        backbones: As for `Architecture.connect`.
        tasks: The tasks.

    Raises:
        ValueError: If there is only one task.
    """
    check_several(architecture, tasks)
    return HardSharing().connect(inputs, backbones, tasks)


def check_several(architecture: Architecture, tasks: tuple[Task, ...]) -> None:
    """Raises a `ValueError` if there is nothing to share."""
    if len(tasks) < 2:
        raise ValueError(
            f"Expected at least two tasks for {type(architecture).__name__}, which is "
            f"about how tasks share. Received: {[task.name for task in tasks]}. Use "
            "architecture='hard' for one task"
        )


def check_widths(features: Features) -> None:
    """Raises a `ValueError` unless a feature has one width for all tasks."""
    first: dict[str, str] = {}
    for task, found in features.items():
        for name, tensor in found.items():
            other = features[first.setdefault(name, task)][name]
            if tensor.shape[-1] != other.shape[-1]:
                raise ValueError(
                    f"Expected the backbones to give the feature {name!r} in one "
                    "width, since the same layers read it for all tasks. Received: "
                    f"shape {tuple(other.shape)} for task {first[name]!r} and "
                    f"{tuple(tensor.shape)} for task {task!r}"
                )


class Calls:
    """Layers by name: each is made once, and called once on the same tensors."""

    def __init__(self) -> None:
        self._layers: dict[str, keras.layers.Layer] = {}
        # With the arguments, so that no other tensor gets the id of one of them.
        self._made: dict[tuple, tuple[Any, Tensor]] = {}

    def __call__(self, name: str, make: Callable, inputs: Any) -> Tensor:
        """The output of the layer of this name.

        Args:
            name: Name of the layer.
            make: Function of the argument `name` that makes the layer.
            inputs: A tensor or a list of them.
        """
        key = (name, *(id(tensor) for tensor in keras.tree.flatten(inputs)))
        if key not in self._made:
            if name not in self._layers:
                self._layers[name] = make(name=name)
            self._made[key] = (inputs, self._layers[name](inputs))
        return self._made[key][1]
