"""Reading back the runs that `TaskTensorBoard` writes."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from keras_mtl.analysis.event_files import event_files, read_scalars
from keras_mtl.plots import tags
from keras_mtl.plots.report import report_figure
from keras_mtl.plots.tables import MISSING, Table

# Metrics of which less is better have one of these in their names.
_LESS_IS_BETTER = (
    "loss",
    "error",
    "mae",
    "mse",
    "mape",
    "msle",
    "crossentropy",
    "deviance",
    "distance",
    "divergence",
    "hinge",
    "log_cosh",
    "logcosh",
    "perplexity",
    "poisson",
)


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """What a training run left in its event files. NaN stands for "not known".

    Attributes:
        directory: Where it was read.
        epochs: int array of shape `(num_epochs,)`. Epochs count from 1, as in the
            progress bar and in names of checkpoints (TensorBoard's steps: from 0).
        task_names: The names of the tasks, in the order of the model.
        scalars: `{task: {metric: {split: values}}}`; splits are `"train"` and
            `"validation"`, values have the shape `(num_epochs,)`.
        weights: `{kind: values}` for the kinds the run has of `"loss_weight"`,
            `"task_weight"`, `"gradient_norm"` and `"nonfinite"`; values have the
            shape `(num_epochs, num_tasks)`.
        conflict_rate: Array of shape `(num_epochs,)`, or None without a balancer.
        cosine: Array of shape `(num_epochs, num_tasks, num_tasks)`, or None without
            a balancer.
    """

    directory: str
    epochs: np.ndarray
    task_names: tuple[str, ...]
    scalars: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]]
    weights: Mapping[str, np.ndarray]
    conflict_rate: np.ndarray | None
    cosine: np.ndarray | None


def read_run(directory: str | os.PathLike) -> Run:
    """Reads a run: all event files of its `train` and `validation` folders.

    Args:
        directory: The `log_dir` of a `TaskTensorBoard` callback. A run that still
            goes on, was killed, or was resumed can be read as well.

    Returns:
        The `Run`.

    Raises:
        FileNotFoundError: If the directory does not exist.
        ValueError: If it holds no events, none of a `TaskTensorBoard`, or a damaged
            event file, which is named.

    Example:
    ```python
    run = read_run("runs/digits")
    run.scalars["digit"]["accuracy"]["validation"][-1]
    ```
    """
    directory = os.fspath(directory)
    if not os.path.isdir(directory):
        raise FileNotFoundError(
            "Expected `directory` to be the directory of a run. "
            f"Received: directory={directory!r}, which does not exist"
        )
    found = {s: read_scalars(os.path.join(directory, s)) for s in tags.SPLITS}
    tasks = _tasks_and_metrics(found)
    if not tasks:
        raise _no_run(directory)
    names = tuple(tasks)
    steps = sorted(
        {
            step
            for scalars in found.values()
            for tag, values in scalars.items()
            if tags.split_task_tag(tag)
            for step in values
        }
    )

    def series(tag: str, split: str = tags.TRAIN) -> np.ndarray | None:
        values = found[split].get(tag)
        if values is None:
            return None
        return np.array([values.get(step, np.nan) for step in steps])

    return Run(
        directory=directory,
        epochs=np.array(steps) + 1,
        task_names=names,
        scalars=_curves(tasks, series),
        weights=_weights(names, series),
        conflict_rate=series(tags.CONFLICT_RATE),
        cosine=_cosine(names, series, len(steps)),
    )


def values_table(run: Run, *, digits: int = 4) -> Table:
    """The last and the best value of each metric of each task.

    Args:
        run: The run.
        digits: Digits after the decimal point.

    Returns:
        A table with one row per task, metric and split. The arrow shows which
        direction was taken as better, which the name of the metric decides.
    """
    rows = []
    for task, metrics in run.scalars.items():
        for metric, by_split in metrics.items():
            less = any(part in metric.lower() for part in _LESS_IS_BETTER)
            for split, values in by_split.items():
                cells = _last_and_best(run.epochs, values, less, digits)
                rows.append((task, f"{metric} {'↓' if less else '↑'}", split, *cells))
    header = ("task", "metric", "split", "last", "best", "at epoch")
    return Table(header, tuple(rows), num_labels=3)


def run_figure(run: Run) -> Any:
    """The report of a run as one figure: curves, weights and the cosine heat-map.

    Args:
        run: The run.

    Returns:
        A `matplotlib.figure.Figure`; `plots.save_png` writes it.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    weights = {
        f"{kind.replace('_', ' ')} per task": values
        for kind, values in run.weights.items()
        if kind != "nonfinite"
    }
    return report_figure(
        run.epochs,
        run.scalars,
        run.task_names,
        weights=weights,
        cosine=run.cosine,
        title=os.path.basename(os.path.abspath(run.directory)),
    )


def _last_and_best(
    epochs: np.ndarray, values: np.ndarray, less: bool, digits: int
) -> tuple[str, str, str]:
    known = np.isfinite(values)
    if not known.any():
        return MISSING, MISSING, MISSING
    epochs, values = epochs[known], values[known]
    best = int(values.argmin() if less else values.argmax())
    return f"{values[-1]:.{digits}f}", f"{values[best]:.{digits}f}", str(epochs[best])


def _tasks_and_metrics(found: Mapping[str, Mapping]) -> dict[str, list[str]]:
    """The metrics of each task, losses first, in the order of the files."""
    tasks: dict[str, list[str]] = {}
    for scalars in found.values():
        for tag in scalars:
            parts = tags.split_task_tag(tag)
            if parts and parts[1] not in tasks.setdefault(parts[0], []):
                tasks[parts[0]].append(parts[1])
    return {t: sorted(m, key=lambda metric: metric != "loss") for t, m in tasks.items()}


def _curves(tasks: Mapping[str, list[str]], series: Callable) -> dict:
    curves: dict = {}
    for task, metrics in tasks.items():
        for metric in metrics:
            tag = tags.task_tag(task, metric)
            by_split = {split: series(tag, split) for split in tags.SPLITS}
            known = {s: values for s, values in by_split.items() if values is not None}
            curves.setdefault(task, {})[metric] = known
    return curves


def _weights(names: tuple[str, ...], series: Callable) -> dict[str, np.ndarray]:
    weights = {}
    for kind in tags.PER_TASK:
        columns = [series(tags.balancing_tag(kind, name)) for name in names]
        known = [column for column in columns if column is not None]
        if known:
            unknown = np.full_like(known[0], np.nan)
            columns = [unknown if column is None else column for column in columns]
            weights[kind] = np.stack(columns, axis=1)
    return weights


def _cosine(
    names: tuple[str, ...], series: Callable, num_epochs: int
) -> np.ndarray | None:
    """The matrices, from the entries above the diagonal."""
    cosine = np.full((num_epochs, len(names), len(names)), np.nan)
    for row, first in enumerate(names):
        for column in range(row + 1, len(names)):
            values = series(tags.cosine_tag(first, names[column]))
            if values is not None:
                cosine[:, row, column] = cosine[:, column, row] = values
    known = np.isfinite(cosine)
    if not known.any():
        return None
    # A task that has a cosine with another has one with itself, which is 1.
    diagonal = np.arange(len(names))
    cosine[:, diagonal, diagonal] = np.where(known.any(axis=2), 1.0, np.nan)
    return cosine


def _no_run(directory: str) -> ValueError:
    inside = sorted(
        name
        for name in os.listdir(directory)
        if event_files(os.path.join(directory, name, tags.TRAIN))
    )
    folders = [os.path.join(directory, split) for split in tags.SPLITS]
    if any(event_files(folder) for folder in folders):
        what = "holds events, but no task's: use `callbacks.TaskTensorBoard` in `fit`"
    elif inside:
        what = f"holds no events itself, but has the runs {inside}: choose one of them"
    else:
        what = "holds no events in `train` or `validation`"
    return ValueError(
        "Expected `directory` to be the `log_dir` of a run. "
        f"Received: directory={directory!r}, which {what}"
    )
