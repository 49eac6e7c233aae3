"""The cosine similarity of the task gradients, as a heat-map."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_mtl.plots import figure as figures

# Red for conflict, white for neither, blue for agreement: the ends and the middle
# of ColorBrewer's RdBu, which is safe for colour-blind readers.
_CONFLICT, _NEUTRAL, _AGREEMENT = (178, 24, 43), (247, 247, 247), (33, 102, 172)
_UNKNOWN = "#c8c8c8"


def cosine_heatmap(
    cosine: Any, task_names: Sequence[str], *, title: str | None = None
) -> Any:
    """Draws a cosine matrix with a number in each cell.

    Args:
        cosine: Array of shape `(num_tasks, num_tasks)`; values in `[-1, 1]`, NaN
            for pairs of which nothing is known.
        task_names: The names of the tasks.
        title: Optional title.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If the matrix is not square or does not fit the names.

    Example:
    >>> figure = cosine_heatmap([[1.0, -0.3], [-0.3, 1.0]], ["digit", "box"])
    >>> figure.axes[0].get_title(loc="left")
    'cosine similarity of task gradients'
    """
    num_tasks = len(task_names)
    figure = figures.new_figure(2.6 + 0.6 * num_tasks, 1.7 + 0.6 * num_tasks)
    draw_cosine(figure.subplots(), cosine, task_names, title=title)
    return figure


def cosine_image(
    cosine: Any, task_names: Sequence[str], *, title: str | None = None
) -> np.ndarray:
    """The heat-map as pixels; without matplotlib, the plain `cosine_array`.

    Args:
        cosine: Array of shape `(num_tasks, num_tasks)`.
        task_names: The names of the tasks.
        title: Optional title; only drawn with matplotlib.

    Returns:
        uint8 array of shape `(height, width, 3)`.

    Raises:
        ValueError: If the matrix is not square or does not fit the names.
    """
    try:
        figure = cosine_heatmap(cosine, task_names, title=title)
    except ImportError:
        return cosine_array(cosine)
    return figures.figure_array(figure)


def cosine_array(cosine: Any, *, cell: int = 48) -> np.ndarray:
    """The colours of a cosine matrix, without numbers or names, by NumPy alone.

    Args:
        cosine: Array of shape `(num_tasks, num_tasks)`.
        cell: Width and height of a cell in pixels.

    Returns:
        uint8 array of shape `(num_tasks * cell, num_tasks * cell, 3)`: red for
        negative values, white for zero, blue for positive ones, grey for NaN.

    Example:
    >>> cosine_array([[1.0, -1.0], [-1.0, np.nan]], cell=1).tolist()[0]
    [[33, 102, 172], [178, 24, 43]]
    """
    cosine = np.asarray(cosine, dtype="float64")
    positions = [-1.0, 0.0, 1.0]
    channels = [
        np.interp(cosine, positions, stops)
        for stops in zip(_CONFLICT, _NEUTRAL, _AGREEMENT, strict=True)
    ]
    unknown = tuple(bytes.fromhex(_UNKNOWN[1:]))
    pixels = np.where(np.isnan(cosine)[..., None], unknown, np.stack(channels, -1))
    return np.round(pixels).astype("uint8").repeat(cell, axis=0).repeat(cell, axis=1)


def draw_cosine(
    axes: Any, cosine: Any, task_names: Sequence[str], *, title: str | None = None
) -> None:
    """Draws the heat-map into `axes`, with a colour bar beside it."""
    cosine = np.asarray(cosine, dtype="float64")
    num_tasks = len(task_names)
    if cosine.shape != (num_tasks, num_tasks):
        raise ValueError(
            f"Expected `cosine` to have the shape {(num_tasks, num_tasks)}, one row "
            f"and column per task. Received: shape={cosine.shape}"
        )
    image = axes.imshow(
        np.ma.masked_invalid(cosine), cmap=_colour_map(), vmin=-1.0, vmax=1.0
    )
    names = [figures.fit_name(name) for name in task_names]
    axes.set_xticks(range(num_tasks), names, fontsize=8)
    axes.set_yticks(range(num_tasks), names, fontsize=8)
    if max(len(line) for name in names for line in name.split("\n")) > 7:
        axes.tick_params(axis="x", rotation=40)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    _draw_grid(axes, num_tasks)
    _annotate(axes, cosine)
    title = title or "cosine similarity of task gradients"
    axes.set_title(title, fontsize=10, loc="left")
    # An inset stays as high as the heat-map, whatever the shape of the figure.
    beside = axes.inset_axes((1.03, 0.0, 0.04, 1.0))
    bar = axes.figure.colorbar(image, cax=beside, ticks=[-1, -0.5, 0, 0.5, 1])
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)


def _colour_map() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    stops = [np.divide(rgb, 255) for rgb in (_CONFLICT, _NEUTRAL, _AGREEMENT)]
    colours = LinearSegmentedColormap.from_list("cosine", stops)
    return colours.with_extremes(bad=_UNKNOWN)


def _draw_grid(axes: Any, num_tasks: int) -> None:
    """White lines between the cells instead of a box around them."""
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(1, num_tasks) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, num_tasks) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0)


def _annotate(axes: Any, cosine: np.ndarray) -> None:
    for (row, column), value in np.ndenumerate(cosine):
        known = np.isfinite(value)
        axes.text(
            column,
            row,
            # Adding zero turns a rounded -0.0 into 0.0.
            f"{round(float(value), 2) + 0.0:.2f}" if known else "–",
            ha="center",
            va="center",
            fontsize=9,
            color="white" if known and abs(value) > 0.6 else "black",
        )
