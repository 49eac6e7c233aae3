"""Trains more of a backbone from epoch to epoch."""

from typing import Any

import keras

from keras_mtl.training.freezing import freeze
from keras_mtl.training.recompile import recompile
from keras_mtl.utils.checks import check_count


class GradualUnfreezing(keras.callbacks.Callback):
    """Sets at the beginning of an epoch how much of a backbone is trained.

    First the heads alone, then the last layers of the backbone, then more: what was
    learned before is not spoilt by heads that know nothing yet. Where the schedule
    changes something, the model is compiled anew, and the step is traced again; the
    optimizer keeps its steps and what it remembers of variables that are trained
    still, and methods keep their state. Adam starts with nothing remembered of the
    variables that join, while it counts its steps on, so that their first updates are
    up to three times as long: lower their learning rates (`layerwise_rates`).

    What is trained is a function of the epoch, so a model that was saved is continued
    with `initial_epoch`. It does not go together with `BackupAndRestore` and
    `EpochBackup`, which restore before the epoch is known.

    Args:
        backbone: The backbone that was given to `build_model`, for an architecture
            that does not copy it, such as hard sharing.
        schedule: Dict from epoch to what is trained from this epoch on, until the next
            key: `backbone_trainable` of `build_model`, so False, a number of stages
            from the end, a list of names of layers, or True for all of it. Epochs
            count from 0; the key 0 is needed.

    Raises:
        ValueError: For a dict without epoch 0 or with keys that are no epochs; at
            `fit`, if the model is not multi-task or does not train the backbone.

    Example:
    >>> import keras_mtl as mtl
    >>> net = mtl.backbones.MLP(input_shape=(8,), units=(16, 16, 4))
    >>> callback = mtl.callbacks.GradualUnfreezing(net, {0: False, 1: 1, 4: True})
    >>> callback.at(3)
    1

    Reference:
        - [Howard & Ruder, 2018](https://arxiv.org/abs/1801.06146), section 3.3.
    """

    def __init__(self, backbone: keras.Model, schedule: dict[int, Any]):
        super().__init__()
        for epoch in schedule:
            check_count("schedule", epoch, 0)
        if 0 not in schedule:
            raise ValueError(
                "Expected `schedule` to say what is trained from epoch 0 on. "
                f"Received: schedule={schedule!r}"
            )
        self._backbone, self._schedule = backbone, dict(schedule)

    def at(self, epoch: int) -> Any:
        """What of the backbone is trained in an epoch."""
        return self._schedule[max(start for start in self._schedule if start <= epoch)]

    def on_train_begin(self, logs: dict | None = None) -> None:
        known = {id(variable) for variable in self.model.weights}
        found = all(id(variable) in known for variable in self._backbone.weights)
        if not hasattr(self.model, "task_names") or not found:
            raise ValueError(
                "Expected a model that `build_model` made of this backbone without "
                f"copying it. Received: model={self.model!r}, "
                f"backbone={self._backbone!r}"
            )

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        before = self.model.trainable_variables
        # What is set already has no effect: Keras does not look at the layers again.
        self._backbone.trainable = False
        self._backbone.trainable = True
        freeze([self._backbone], self.at(epoch))
        now = self.model.trainable_variables
        if [id(variable) for variable in before] != [id(v) for v in now]:
            recompile(self.model, before)
