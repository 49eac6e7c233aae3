"""Curves of losses and metrics, per task."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from keras_mtl.plots import figure as figures

Curves: TypeAlias = Mapping[str, Mapping[str, Mapping[str, np.ndarray]]]


def task_curves(epochs: Any, curves: Curves, *, title: str | None = None) -> Any:
    """Draws one row per task: its loss and metrics, training and validation.

    Args:
        epochs: Array of shape `(num_epochs,)`, the numbers of the epochs.
        curves: `{task: {metric: {split: values}}}`, where the values have the shape
            `(num_epochs,)`, NaN where an epoch has none.
        title: Optional title of the figure.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is no curve.

    Example:
    >>> loss = {"train": np.array([2.0, 1.0]), "validation": np.array([2.1, 1.2])}
    >>> figure = task_curves([1, 2], {"digit": {"loss": loss}})
    >>> len(figure.axes)
    1
    """
    rows, columns = curves_shape(curves)
    figure = figures.new_figure(3.1 * columns + 0.4, 2.1 * rows + 0.7)
    draw_curves(figure, epochs, curves)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def curves_shape(curves: Curves, max_columns: int = 4) -> tuple[int, int]:
    """Rows and columns of panels that `draw_curves` takes."""
    counts = [len(metrics) for metrics in curves.values()]
    if not any(counts):
        raise ValueError(
            "Expected `curves` to hold at least one metric of one task. "
            f"Received: curves={dict(curves)!r}"
        )
    # The fewest rows, and among those the fewest columns.
    return min(
        (sum(-(-count // columns) for count in counts), columns)
        for columns in range(1, min(max_columns, max(counts)) + 1)
    )


def draw_curves(figure: Any, epochs: Any, curves: Curves) -> None:
    """Draws the panels of all tasks into a figure or sub-figure.

    A task starts on a new row, and goes on to the next when it has more metrics
    than there are columns.
    """
    rows, columns = curves_shape(curves)
    grid = figure.subplots(rows, columns, squeeze=False)
    splits = []
    row = 0
    for task, metrics in curves.items():
        for index, (metric, by_split) in enumerate(metrics.items()):
            axes = grid[row + index // columns, index % columns]
            draw_curve(axes, epochs, by_split, f"{task} · {metric}")
            splits += [split for split in by_split if split not in splits]
        row += -(-len(metrics) // columns)
    for axes in grid.flat:
        if not axes.lines:
            axes.remove()
    _draw_legend(figure, splits)


def draw_curve(axes: Any, epochs: Any, by_split: Mapping, title: str) -> None:
    """Draws one metric of one task: a line per split."""
    for split, values in by_split.items():
        figures.plot_line(axes, epochs, values, split, _split_index(split))
    figures.tidy(axes, figures.fit_name(title, width=38))
    axes.set_xlabel("epoch", fontsize=8)


def _split_index(split: str) -> int:
    """The same colour for a split in every panel."""
    return {"train": 0, "validation": 1}.get(split, 2)


def _draw_legend(figure: Any, splits: list[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], label=split, **figures.series_style(_split_index(split), 1))
        for split in splits
    ]
    figure.legend(
        handles=handles,
        loc="outside upper right",
        ncols=len(handles),
        frameon=False,
        fontsize=9,
    )
