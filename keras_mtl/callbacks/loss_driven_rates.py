"""Mixing rates that follow the losses: more examples for the tasks that lag."""

import json
import os
from collections.abc import Mapping

import keras

from keras_mtl.data import TaskMixture
from keras_mtl.utils.checks import check_non_negative


class LossDrivenRates(keras.callbacks.Callback):
    """Draws more from the data sets whose tasks have come less far.

    Before each epoch, `p_i ∝ b_i * r_i ** strength`, with the rates `b_i` that the
    mixture was made with and `r_i`, the loss of the last epoch divided by that of the
    first (the inverse training rate of GradNorm), averaged over the tasks that data
    set `i` labels. Validation losses are taken where `fit` has them. A loss that was
    never positive counts as 1.

    Args:
        mixture: The mixture, with rates that do not change with the step.
        strength: Number `>= 0`; 0 leaves the rates alone.
        path: Optional JSON file for the losses of all epochs, which a run that is
            started again needs. The rates of an epoch depend on nothing else.

    Raises:
        ValueError: If the rates depend on the step, `strength` is negative, the model
            has no task for any label of a data set, or training starts at a later epoch
            without the losses before it.

    Example:

    ```python
    mixture = mtl.data.mix(datasets, 64, rates="uniform")
    rates = mtl.callbacks.LossDrivenRates(mixture, path="runs/mix/losses.json")
    model.fit(mixture.dataset, epochs=5, callbacks=[mixture, rates])
    ```

    Reference:
        - [Chen et al., 2018](https://arxiv.org/abs/1711.02257), section 3.2, for the
          inverse training rate; that it sets mixing rates is ours.
    """

    def __init__(
        self,
        mixture: TaskMixture,
        *,
        strength: float = 1.0,
        path: str | os.PathLike | None = None,
    ) -> None:
        super().__init__()
        if mixture.rates_change:
            raise ValueError(
                "Expected a mixture with rates that do not depend on the step, since "
                "the losses change them. Received: rates "
                f"{mixture.rates_at(0)} in the first step. Give `mix` a word, a "
                "temperature or a list"
            )
        self.mixture = mixture
        self.strength = check_non_negative("strength", strength)
        self.path = None if path is None else os.fspath(path)
        self._base = mixture.rates_at(0)
        self._losses: dict[int, dict[str, float]] = {}
        self._tasks: dict[str, list[str]] = {}

    def on_train_begin(self, logs: Mapping | None = None) -> None:
        """Finds the tasks of every data set, and reads the losses of earlier epochs."""
        of_label: dict[str, list[str]] = {}
        for task in self.model.tasks:
            of_label.setdefault(task.label, []).append(task.name)
        for name, keys in self.mixture.label_keys().items():
            self._tasks[name] = [t for key in keys for t in of_label.get(key, [])]
            if not self._tasks[name]:
                raise ValueError(
                    f"Expected the model to have a task for a label of data set "
                    f"{name!r}. Received: labels {keys} and tasks with the labels "
                    f"{sorted(of_label)}"
                )
        if self.path is not None and os.path.exists(self.path):
            with open(self.path) as file:
                self._losses = {int(k): v for k, v in json.load(file).items()}

    def on_epoch_begin(self, epoch: int, logs: Mapping | None = None) -> None:
        """Sets the rates of the epoch."""
        lost = [e for e in range(epoch) if e not in self._losses]
        if lost:
            raise ValueError(
                "Expected the losses of the epochs before the first one of this "
                f"training. Received: epoch={epoch} without those of {lost}. Use the "
                f"`path` of the run that is continued (path={self.path!r})"
            )
        self.mixture.set_rates(self._rates(epoch))

    def on_epoch_end(self, epoch: int, logs: Mapping | None = None) -> None:
        """Keeps the losses of the epoch."""
        logs = logs or {}
        names = [task.name for task in self.model.tasks]
        kept = {k: v for k, v in self._losses.items() if k < epoch}
        found = {n: logs.get(f"val_{n}_loss", logs.get(f"{n}_loss")) for n in names}
        kept[epoch] = {n: float(v) for n, v in found.items() if v is not None and v > 0}
        self._losses = kept
        if self.path is not None:
            os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
            unfinished = f"{self.path}.unfinished"
            with open(unfinished, "w") as file:
                json.dump(kept, file)
            os.replace(unfinished, self.path)

    def _rates(self, epoch):
        rates = {}
        for name, tasks in self._tasks.items():
            lags = [self._lag(task, epoch) for task in tasks]
            rates[name] = self._base[name] * (sum(lags) / len(lags)) ** self.strength
        return rates

    def _lag(self, task, epoch):
        """Last loss before the epoch, relative to the first; 1 without any."""
        epochs = [self._losses[e] for e in range(epoch)]
        losses = [losses[task] for losses in epochs if task in losses]
        return losses[-1] / losses[0] if losses else 1.0
