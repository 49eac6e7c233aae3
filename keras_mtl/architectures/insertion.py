"""What adapters, LoRA and FiLM share: one backbone, and small layers per task in it."""

from typing import Any

import keras

from keras_mtl.architectures.architecture import Architecture
from keras_mtl.architectures.tower import Tower
from keras_mtl.task import Task
from keras_mtl.utils.types import Tensor


class Insertion(Architecture):
    """Every task passes the same backbone, changed by small layers of its own.

    Up to the first of these all tasks have one pass in common, after it each has its
    own.
    """

    def connect(
        self,
        inputs: dict[str, Any],
        backbones: dict[str, keras.Model],
        tasks: tuple[Task, ...],
    ) -> dict[str, dict[str, Tensor]]:
        trunks: dict[int, Tower] = {}
        inserters: dict[int, Any] = {}
        features = {}
        for task in tasks:
            backbone = backbones[task.name]
            if id(backbone) not in trunks:
                trunks[id(backbone)] = Tower(backbone, inputs[task.name], None)
                inserters[id(backbone)] = self.inserter(backbone)
            tower = trunks[id(backbone)].fork()
            inserters[id(backbone)](tower, task.name)
            features[task.name] = tower.features()
        return features

    def inserter(self, backbone: keras.Model) -> Any:
        """A function `(tower, task_name)` that changes a tower of this backbone.

        Raises:
            ValueError: If the backbone has no place for it.
        """
        raise NotImplementedError
