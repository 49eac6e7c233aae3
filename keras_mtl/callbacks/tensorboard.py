"""TensorBoard with a group of charts per task, and what the balancer does."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_mtl.architectures.gates import GateReader, unused_experts
from keras_mtl.plots import tags
from keras_mtl.plots.cosine import cosine_image
from keras_mtl.plots.gates import gate_image
from keras_mtl.utils.logs import by_task


class TaskTensorBoard(keras.callbacks.TensorBoard):
    """Keras' `TensorBoard` callback, with what belongs to the tasks beside it.

    The runs are `train` and `validation`, and hold the `epoch_…` scalars, as Keras
    writes them. In addition there are, by epoch:

    - `task_<task>/loss` and `task_<task>/<metric>`, in both runs, so that a chart
      shows training and validation and every task is a group of charts,
    - in the train run `balancing/loss_weight/<task>`, `balancing/nonfinite/<task>`
      and, when a balancer is set, `balancing/task_weight/<task>`,
      `balancing/gradient_norm/<task>`, `balancing/conflict_rate`, the cosine matrix
      of the task gradients as the image `balancing/cosine`, and its entries as
      `balancing/cosine/<task>~<other task>`.

    - with `gate_inputs`, in the train run, the mean weights of the gates over these
      inputs as `gates/<gate>/<expert>` and as the image `gates/weights`, and the
      number of experts that no gate uses as `gates/unused_experts`: above zero the
      experts have collapsed into fewer, and the title of the image names some of the
      idle ones.

    The tag filter `task_|^balancing|^gates` of the page shows these alone.

    All of it is read from the logs and from `model.balancing_state`, which the
    training step has filled anyway: no gradient is computed again. NaN means "not
    known" (a task without labels, an epoch without a balancing step) and is left
    out.

    Args:
        log_dir: Directory of the run.
        update_freq: `"epoch"`, `"batch"`, or a number `n`: in addition, the scalars
            of Keras (`batch_…`) and of balancing (`batch_balancing/…`, by training
            step; norms, cosines and the conflict rate are means since the epoch
            began) are written every `n` batches.
        gate_inputs: Optional inputs, as for `predict`, on which the gates of a
            mixture of experts are read at the end of every epoch.
        **kwargs: The other arguments of `keras.callbacks.TensorBoard`.

    Raises:
        ValueError: For an unknown `update_freq`, or, at the start of `fit`, for a
            model without tasks, or without gates if their weights are wanted.

    Example:
    >>> callback = TaskTensorBoard("runs/digits", write_graph=False)
    >>> callback.log_dir
    'runs/digits'
    """

    def __init__(
        self,
        log_dir: str | os.PathLike,
        *,
        update_freq: str | int = "epoch",
        gate_inputs: Any = None,
        **kwargs: Any,
    ):
        known = update_freq in ("epoch", "batch")
        if isinstance(update_freq, int) and not isinstance(update_freq, bool):
            known = update_freq >= 1
        if not known:
            raise ValueError(
                'Expected `update_freq` to be "epoch", "batch" or an integer >= 1. '
                f"Received: update_freq={update_freq!r}"
            )
        super().__init__(os.fspath(log_dir), update_freq=update_freq, **kwargs)
        self._num_batches = 0
        self._gate_inputs = gate_inputs
        self._gates: GateReader | None = None

    def set_model(self, model: keras.Model) -> None:
        if not getattr(model, "task_names", None):
            raise ValueError(
                "Expected a model with tasks, as `keras_mtl.build_model` makes it; "
                "other models have `keras.callbacks.TensorBoard`. "
                f"Received: model={model!r}"
            )
        if self._gate_inputs is not None:
            self._gates = GateReader(model)
        super().set_model(model)

    def on_train_begin(self, logs: dict | None = None) -> None:
        super().on_train_begin(logs)
        self._num_batches = 0

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        super().on_train_batch_end(batch, logs)
        self._num_batches += 1
        if self.update_freq == "epoch" or self._num_batches % self.update_freq:
            return
        state = self.model.balancing_state
        with self._writer(tags.TRAIN).as_default():
            scalars = balancing_scalars(state, self.model.task_names)
            for tag, value in scalars.items():
                tf.summary.scalar(f"batch_{tag}", value, step=int(state["step"]))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        # With an integer `update_freq`, Keras leaves a condition in force under
        # which its own epoch scalars are lost unless the last batch is a multiple.
        with tf.summary.record_if(True):
            super().on_epoch_end(epoch, logs)
            self._write_tasks(epoch, logs or {})
            self._write_balancing(epoch)
            self._write_gates(epoch)
        # So that the page, and a report of a run that is killed, are up to date.
        for split in written_splits(logs or {}):
            self._writer(split).flush()

    def _write_tasks(self, epoch: int, logs: Mapping[str, Any]) -> None:
        for split in written_splits(logs):
            scalars = task_scalars(logs, self.model.task_names, split)
            with self._writer(split).as_default():
                for tag, value in scalars.items():
                    tf.summary.scalar(tag, value, step=epoch)

    def _write_balancing(self, epoch: int) -> None:
        names = self.model.task_names
        state = self.model.balancing_state
        with self._writer(tags.TRAIN).as_default():
            for tag, value in balancing_scalars(state, names).items():
                tf.summary.scalar(tag, value, step=epoch)
            cosine = state.get("cosine")
            if cosine is not None and np.isfinite(cosine).any():
                title = f"cosine similarity, epoch {epoch + 1}"
                image = cosine_image(cosine, names, title=title)
                tf.summary.image(tags.COSINE, image[None], step=epoch)

    def _write_gates(self, epoch: int) -> None:
        if self._gates is None:
            return
        weights = self._gates.read(self._gate_inputs)
        unused = unused_experts(weights)
        title = f"mean gate weights, epoch {epoch + 1}"
        if unused:
            more = f" and {len(unused) - 2} more" if len(unused) > 2 else ""
            title += f"\nunused: {', '.join(unused[:2])}{more}"
        with self._writer(tags.TRAIN).as_default():
            for gate, experts in weights.items():
                for expert, weight in experts.items():
                    tf.summary.scalar(tags.gate_tag(gate, expert), weight, step=epoch)
            tf.summary.scalar(tags.UNUSED_EXPERTS, len(unused), step=epoch)
            image = gate_image(weights, title=title)
            tf.summary.image(tags.GATE_WEIGHTS, image[None], step=epoch)

    def _writer(self, split: str) -> tf.summary.SummaryWriter:
        """Keras' own writer of a run.

        A second one would write a second file, and TensorBoard, which reads the
        files of a run one after the other, would stop following the first.
        """
        return self._train_writer if split == tags.TRAIN else self._val_writer


def written_splits(logs: Mapping[str, Any]) -> tuple[str, ...]:
    """The runs that an epoch's logs have values for."""
    validated = any(key.startswith("val_") for key in logs)
    return tags.SPLITS if validated else (tags.TRAIN,)


def task_scalars(
    logs: Mapping[str, Any], task_names: Sequence[str], split: str
) -> dict[str, float]:
    """The values of each task in the logs of an epoch, by tag.

    Args:
        logs: Logs of `fit`: `"<task>_<metric>"`, with `"val_"` before it for the
            validation data.
        task_names: The names of the tasks.
        split: `"train"` or `"validation"`.

    Returns:
        Dict from tag to value, ordered by task, without NaN.

    Example:
    >>> task_scalars({"loss": 3.0, "a_loss": 1.0, "val_a_loss": 2.0}, ["a"], "train")
    {'task_a/loss': 1.0}
    """
    chosen = {
        key.removeprefix("val_"): value
        for key, value in logs.items()
        if key.startswith("val_") == (split == tags.VALIDATION)
    }
    values = by_task(chosen, task_names)
    return {
        tags.task_tag(task, metric): value
        for task in task_names
        for metric, value in values[task].items()
        if not np.isnan(value)
    }


def balancing_scalars(
    state: Mapping[str, np.ndarray], task_names: Sequence[str]
) -> dict[str, float]:
    """The scalars of `model.balancing_state`, by tag.

    Args:
        state: The model's balancing state: vectors `(num_tasks,)` under
            `"loss_weights"`, `"nonfinite"`, `"task_weights"`, `"gradient_norms"`, a
            number under `"conflict_rate"`, a matrix under `"cosine"`. Any of them
            may be absent.
        task_names: The names of the tasks.

    Returns:
        Dict from tag to value, without NaN.

    Example:
    >>> balancing_scalars({"loss_weights": np.array([1.0, 2.0])}, ["a", "b"])
    {'balancing/loss_weight/a': 1.0, 'balancing/loss_weight/b': 2.0}
    """
    scalars = {}
    for kind, key in tags.PER_TASK.items():
        if key in state:
            for name, value in zip(task_names, state[key], strict=True):
                scalars[tags.balancing_tag(kind, name)] = float(value)
    if "conflict_rate" in state:
        scalars[tags.CONFLICT_RATE] = float(state["conflict_rate"])
    if "cosine" in state:
        for row, first in enumerate(task_names):
            for column in range(row + 1, len(task_names)):
                tag = tags.cosine_tag(first, task_names[column])
                scalars[tag] = float(state["cosine"][row][column])
    return {tag: value for tag, value in scalars.items() if not np.isnan(value)}
