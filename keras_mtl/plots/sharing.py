"""Bars of what every task shares with the others."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_mtl.plots import figure as figures

_KINDS = ("shared by all", "shared by some", "its own")


def sharing_figure(
    panels: Mapping[str, Sequence[Sequence[float]]],
    task_names: Sequence[str],
    *,
    title: str | None = None,
) -> Any:
    """Draws a bar per task in every panel, of three parts.

    Args:
        panels: `{panel title: values}`, with values of the shape `(num_tasks, 3)`:
            what all tasks use, what some others use too, and what the task alone
            uses.
        task_names: The names of the tasks.
        title: Optional title of the figure.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If values have another shape.

    Example:
    >>> figure = sharing_figure({"parameters": [[90, 0, 10], [90, 0, 30]]}, "ab")
    >>> len(figure.axes)
    1
    """
    height = 0.38 * len(task_names) + 1.3
    figure = figures.new_figure(4.6 * max(len(panels), 1), height)
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    names = [figures.fit_name(name, width=18, lines=1) for name in task_names]
    places = np.arange(len(names))
    for axes, (heading, given) in zip(grid, panels.items(), strict=True):
        values = np.asarray(given, dtype="float64")
        if values.shape != (len(names), len(_KINDS)):
            raise ValueError(
                f"Expected `panels[{heading!r}]` to have the shape "
                f"{(len(names), len(_KINDS))}: tasks and what all, some and they alone "
                f"use. Received: shape={values.shape}"
            )
        left = np.zeros(len(names))
        for kind, part, colour in zip(_KINDS, values.T, figures.COLOURS, strict=False):
            axes.barh(places, part, left=left, color=colour, label=kind, height=0.65)
            left = left + part
        figures.tidy(axes, heading)
        axes.set_yticks(places, names)
        axes.xaxis.set_major_formatter(_short)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=len(_KINDS),
        frameon=False,
        fontsize=9,
    )
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def _short(value, _):
    """A number with k, M or G."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
