"""Curves of one number per task: loss weights, task weights, gradient norms."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_mtl.plots import figure as figures


def weight_curves(
    epochs: Any,
    weights: Mapping[str, np.ndarray],
    task_names: Sequence[str],
    *,
    title: str | None = None,
) -> Any:
    """Draws weights over the epochs: a panel per kind, a line per task.

    Args:
        epochs: Array of shape `(num_epochs,)`, the numbers of the epochs.
        weights: `{panel title: values}`, with values of the shape
            `(num_epochs, num_tasks)`, NaN where an epoch has none.
        task_names: The names of the tasks.
        title: Optional title of the figure.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is no panel, or the values have another shape.

    Example:
    >>> values = np.array([[1.0, 1.0], [0.8, 1.2]])
    >>> figure = weight_curves([1, 2], {"loss weights": values}, ["digit", "box"])
    >>> len(figure.axes)
    1
    """
    if not weights:
        raise ValueError(
            "Expected `weights` to hold at least one panel. "
            f"Received: weights={dict(weights)!r}"
        )
    figure = figures.new_figure(7.0, 2.1 * len(weights) + 1.0)
    draw_weights(figure, epochs, weights, task_names)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def draw_weights(
    figure: Any,
    epochs: Any,
    weights: Mapping[str, np.ndarray],
    task_names: Sequence[str],
    columns: int = 1,
) -> None:
    """Draws the panels into a figure or sub-figure, above one legend."""
    rows = -(-len(weights) // columns)
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, (title, values) in zip(grid, weights.items(), strict=False):
        values = np.asarray(values, dtype="float64")
        expected = (len(epochs), len(task_names))
        if values.shape != expected:
            raise ValueError(
                f"Expected `weights[{title!r}]` to have the shape {expected}: epochs "
                f"and tasks. Received: shape={values.shape}"
            )
        for index in range(len(task_names)):
            figures.plot_line(axes, epochs, values[:, index], str(index), index)
        figures.tidy(axes, title)
        axes.set_xlabel("epoch", fontsize=8)
    for axes in grid[len(weights) :]:
        axes.remove()
    _draw_legend(figure, task_names, 6.0 * columns)


def _draw_legend(figure: Any, task_names: Sequence[str], width: float) -> None:
    """One legend for all panels, in as many columns as the names leave room for."""
    from matplotlib.lines import Line2D

    names = [figures.fit_name(name, width=24, lines=1) for name in task_names]
    handles = [
        Line2D([], [], label=name, **figures.series_style(index, 1))
        for index, name in enumerate(names)
    ]
    inches = 0.085 * max(map(len, names)) + 0.55
    figure.legend(
        handles,
        names,
        loc="outside lower center",
        ncols=max(1, min(len(names), int(width / inches))),
        frameon=False,
        fontsize=9,
    )
