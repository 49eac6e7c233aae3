"""Heat-maps of what pairs of tasks have in common."""

from collections.abc import Mapping, Sequence
from typing import Any

from keras_mtl.plots import figure as figures
from keras_mtl.plots.cosine import draw_cosine


def relevance_figure(
    measures: Mapping[str, Any],
    task_names: Sequence[str],
    *,
    title: str | None = None,
) -> Any:
    """Draws a heat-map per measure, side by side, on one scale from -1 to 1.

    Args:
        measures: Dict from the name of a measure to an array of shape
            `(num_tasks, num_tasks)` with values in [-1, 1], NaN where it is not known.
        task_names: The names of the tasks.
        title: Optional title of the figure.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is no measure, or a matrix does not fit the names.

    Example:
    >>> same = [[1.0, 0.3], [0.3, 1.0]]
    >>> figure = relevance_figure({"correlation": same, "inputs": same}, "ab")
    >>> [axes.get_title(loc="left") for axes in figure.axes]
    ['correlation', 'inputs']
    """
    if not measures:
        raise ValueError("Expected `measures` to hold a matrix. Received: measures={}")
    size = 0.6 * len(task_names)
    figure = figures.new_figure((2.6 + size) * len(measures), 1.7 + size)
    grid = figure.subplots(1, len(measures), squeeze=False)[0]
    for axes, (name, matrix) in zip(grid, measures.items(), strict=True):
        draw_cosine(axes, matrix, task_names, title=name)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure
