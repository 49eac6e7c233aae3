"""The state of a run after epochs and steps, so that a killed run can go on."""

import math
import os
import re

import h5py
import keras
import numpy as np

from keras_mtl.utils.checks import check_count

_NAME = re.compile(r"epoch_(\d+)(?:_step_(\d+))?\.weights\.h5")
_SEEDS = "keras_mtl_seeds"
_METRICS = "keras_mtl_metrics"


class EpochBackup(keras.callbacks.Callback):
    """Saves the model's variables after each epoch; `restore` brings them back.

    `keras.callbacks.BackupAndRestore` writes variables and the number of the epoch in
    place, one after the other. A process that is killed between or in these writes
    leaves a backup that is damaged, or that trains an epoch twice. Here the number is
    part of the name, and a file gets its name when it is complete. The file also holds
    the states of random generators (dropout), which Keras does not save.

    Unlike Keras' callback this one leaves the backup at the end of training, so that a
    run can be continued with more epochs.

    With `every`, also inside of an epoch. (Keras' callback writes such states too, but
    starts the epoch again from its first batch, with variables that have seen some.)
    The logs of a `MultiTaskModel` then cover the whole epoch (Keras' own model makes
    its metrics too late for that); what `balancing_state` averages over the epoch is of
    the steps after the restart.

    Args:
        folder: Folder of the backup.
        every: Number of steps between the states inside of an epoch, `None` for none.

    Attributes:
        first_step: After `restore`: how many batches of the epoch are done.

    Raises:
        ValueError: If `every` is not an integer `>= 1`.

    Example:

    ```python
    backup = EpochBackup("runs/digits/backup")
    first = backup.restore(model)
    model.fit(train, epochs=5, initial_epoch=first, callbacks=[backup])
    ```

    In the middle of an epoch, with a `keras_mtl.data.TaskMixture`:

    ```python
    backup = EpochBackup("runs/mix/backup", every=100)
    callbacks = [mixture, backup]
    first = backup.restore(model)
    if backup.first_step:
        rest = mixture.epoch_batches(first, backup.first_step)
        model.fit(rest, initial_epoch=first, epochs=first + 1, callbacks=callbacks)
        first += 1
    model.fit(mixture.dataset, initial_epoch=first, epochs=5, callbacks=callbacks)
    ```
    """

    def __init__(self, folder: str | os.PathLike, every: int | None = None) -> None:
        super().__init__()
        self.folder = os.fspath(folder)
        self.every = None if every is None else check_count("every", every)
        self.first_step = 0
        self._metrics: list[np.ndarray] = []
        self._epoch = self._begun = self._done = 0

    def epochs(self) -> list[int]:
        """How many epochs were done, for each state that is there, in order."""
        return [epochs for epochs, _ in self._states()]

    def restore(self, model: keras.Model) -> int:
        """Loads the newest state into a compiled model.

        Args:
            model: The model, built and compiled as it was when the state was saved.

        Returns:
            The number of epochs that are done, 0 without a state.

        Raises:
            ValueError: If the file is damaged or of another model; it is named.
        """
        states = self._states()
        if not states:
            return 0
        path = self._path(*states[-1])
        try:
            model.load_weights(path)
            with h5py.File(path) as file:
                for index, seed in enumerate(_seeds(model)):
                    seed.assign(np.asarray(file[f"{_SEEDS}/{index}"]))
                saved = file.get(_METRICS, {})
                self._metrics = [np.asarray(saved[str(i)]) for i in range(len(saved))]
        # A damaged file fails in many ways: HDF5, missing keys, wrong shapes.
        except Exception as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise ValueError(
                "Cannot continue the run: its backup is damaged, or of another model. "
                f"Received: {path!r} ({reason[0]})"
            ) from error
        self._epoch, self.first_step = states[-1]
        return self._epoch

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        continued = epoch == self._epoch and self.first_step
        self._begun = self._done = self.first_step if continued else 0
        variables = _metric_variables(self.model)
        if continued and len(variables) == len(self._metrics):
            for variable, value in zip(variables, self._metrics, strict=True):
                variable.assign(value)
        self._epoch, self.first_step = epoch, 0

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        before, self._done = self._done, self._begun + batch + 1
        # Nothing is left after the last step: `on_epoch_end` writes that state.
        last = self._begun + (self.params.get("steps") or math.inf)
        due = self.every and self._done // self.every > before // self.every
        if due and self._done < last:
            self._save(self._epoch, self._done)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._save(epoch + 1, 0)

    def _save(self, epochs, step):
        os.makedirs(self.folder, exist_ok=True)
        older = self._states()
        unfinished = os.path.join(self.folder, "unfinished.weights.h5")
        self.model.save_weights(unfinished, overwrite=True)
        with h5py.File(unfinished, "a") as file:
            _write(file, _SEEDS, _seeds(self.model))
            if step:
                _write(file, _METRICS, _metric_variables(self.model))
        os.replace(unfinished, self._path(epochs, step))
        for done in older:
            if done != (epochs, step):
                os.remove(self._path(*done))

    def _states(self):
        """Epochs and further steps that are done, for each state, in order."""
        if not os.path.isdir(self.folder):
            return []
        found = [_NAME.fullmatch(name) for name in os.listdir(self.folder)]
        return sorted((int(m[1]), int(m[2] or 0)) for m in found if m)

    def _path(self, epochs, step):
        further = f"_step_{step:07d}" if step else ""
        return os.path.join(self.folder, f"epoch_{epochs:05d}{further}.weights.h5")


def _write(file, group, variables):
    for index, variable in enumerate(variables):
        value = keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(variable))
        file[f"{group}/{index}"] = value


def _metric_variables(model):
    return [variable for metric in model.metrics for variable in metric.variables]


def _seeds(model):
    """The states of a model's random generators, which are no weights."""
    weights = {id(weight) for weight in model.weights}
    return [v for v in model.variables if id(v) not in weights]
