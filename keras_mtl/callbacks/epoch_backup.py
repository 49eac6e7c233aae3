"""The state of a run after each epoch, so that a killed run can go on."""

import os
import re

import h5py
import keras
import numpy as np

_NAME = re.compile(r"epoch_(\d+)\.weights\.h5")
_SEEDS = "keras_mtl_seeds"


class EpochBackup(keras.callbacks.Callback):
    """Saves the model's variables after each epoch; `restore` brings them back.

    `keras.callbacks.BackupAndRestore` writes variables and the number of the epoch in
    place, one after the other. A process that is killed between or in these writes
    leaves a backup that is damaged, or that trains an epoch twice. Here the number is
    part of the name, and a file gets its name when it is complete. The file also holds
    the states of random generators (dropout), which Keras does not save.

    Unlike Keras' callback this one leaves the backup at the end of training, so that a
    run can be continued with more epochs.

    Args:
        folder: Folder of the backup.

    Example:

    ```python
    backup = EpochBackup("runs/digits/backup")
    first = backup.restore(model)
    model.fit(train, epochs=5, initial_epoch=first, callbacks=[backup])
    ```
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        super().__init__()
        self.folder = os.fspath(folder)

    def epochs(self) -> list[int]:
        """How many epochs were done, for each state that is there, in order."""
        if not os.path.isdir(self.folder):
            return []
        found = [_NAME.fullmatch(name) for name in os.listdir(self.folder)]
        return sorted(int(match[1]) for match in found if match)

    def restore(self, model: keras.Model) -> int:
        """Loads the newest state into a compiled model.

        Args:
            model: The model, built and compiled as it was when the state was saved.

        Returns:
            The number of epochs that are done, 0 without a state.

        Raises:
            ValueError: If the file is damaged or of another model; it is named.
        """
        epochs = self.epochs()
        if not epochs:
            return 0
        path = self._path(epochs[-1])
        try:
            model.load_weights(path)
            with h5py.File(path) as file:
                for index, seed in enumerate(_seeds(model)):
                    seed.assign(np.asarray(file[f"{_SEEDS}/{index}"]))
        # A damaged file fails in many ways: HDF5, missing keys, wrong shapes.
        except Exception as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise ValueError(
                "Cannot continue the run: its backup is damaged, or of another model. "
                f"Received: {path!r} ({reason[0]})"
            ) from error
        return epochs[-1]

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        os.makedirs(self.folder, exist_ok=True)
        older = self.epochs()
        path = self._path(epoch + 1)
        unfinished = os.path.join(self.folder, "unfinished.weights.h5")
        self.model.save_weights(unfinished, overwrite=True)
        with h5py.File(unfinished, "a") as file:
            for index, seed in enumerate(_seeds(self.model)):
                state = keras.ops.convert_to_tensor(seed)
                file[f"{_SEEDS}/{index}"] = keras.ops.convert_to_numpy(state)
        os.replace(unfinished, path)
        for done in older:
            if done != epoch + 1:
                os.remove(self._path(done))

    def _path(self, epochs):
        return os.path.join(self.folder, f"epoch_{epochs:05d}.weights.h5")


def _seeds(model):
    """The states of a model's random generators, which are no weights."""
    weights = {id(weight) for weight in model.weights}
    return [v for v in model.variables if id(v) not in weights]
