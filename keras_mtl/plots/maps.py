"""Rows of images, class maps and maps of values: predictions beside the truth."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_mtl.plots import figure as figures

_MAP = "viridis"
_CELL = 1.35  # inches


def map_rows(
    rows: Sequence[Mapping[str, Any]],
    *,
    label_names: Sequence[str] | None = None,
    unit: str = "",
    title: str | None = None,
) -> Any:
    """Draws pictures in rows; the dtype says what a picture is.

    Args:
        rows: A dict per row, from the caption of a picture to its array. Of shape
            `(height, width, 3)`: an image, uint8 or float in [0, 1]. Integers of shape
            `(height, width)`: classes, one colour for each. Floats of shape
            `(height, width)`: values, on one colour scale for all of the row, blank
            where they are not finite. `None`: an empty place.
        label_names: Names of the classes, for a legend.
        unit: Unit of the values, beside their colour bar.
        title: Optional title of the figure.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is no picture, or an array has another shape.

    Example:
    >>> truth, found = np.eye(4, dtype=int), np.zeros((4, 4), int)
    >>> figure = map_rows([{"truth": truth, "found": found}], label_names=["no", "yes"])
    >>> len(figure.axes)
    2
    """
    columns = max(map(len, rows), default=0)
    if not columns:
        raise ValueError(
            f"Expected `rows` to hold a picture at least. Received: rows={rows!r}"
        )
    names = [figures.fit_name(name, lines=1) for name in label_names or ()]
    width = max(_CELL * columns + 0.6, 4.0)
    # As many names beside each other in the legend as have room.
    ncols = max(1, int(width / (0.4 + 0.075 * max(map(len, names), default=0))))
    height = (_CELL + 0.15) * len(rows) + (0.35 if title else 0.0)
    figure = figures.new_figure(width, height + 0.22 * -(-len(names) // ncols))
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes, row in zip(grid, rows, strict=True):
        arrays = {k: None if v is None else np.asarray(v) for k, v in row.items()}
        cells = [*arrays.items(), *[("", None)] * (columns - len(row))]
        scale = _range([array for array in arrays.values() if _is_values(array)])
        shown = None
        for place, (caption, array) in zip(axes, cells, strict=True):
            place.set(xticks=(), yticks=(), frame_on=False)
            if array is not None:
                place.set_title(figures.fit_name(caption, 22, 2), fontsize=8)
                drawn = _draw(place, caption, array, scale)
                shown = drawn if _is_values(array) else shown
        if shown is not None:
            bar = figure.colorbar(shown, ax=list(axes), pad=0.01, aspect=12)
            bar.set_ticks(_ticks(*scale))
            bar.set_label(unit, fontsize=8)
            bar.ax.tick_params(labelsize=7)
    if names:
        _legend(figure, names, ncols)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def _is_values(array):
    return array is not None and array.ndim == 2 and array.dtype.kind == "f"


def _range(arrays):
    """Smallest and largest finite value."""
    values = [array[np.isfinite(array)] for array in arrays]
    found = np.concatenate([*values, np.empty(0)])
    return (found.min(), found.max()) if found.size else (0.0, 1.0)


def _ticks(low, high):
    from matplotlib.ticker import MaxNLocator

    places = MaxNLocator(nbins=4).tick_values(low, high)
    return [place for place in places if low <= place <= high]


def _draw(axes, caption, array, scale):
    if _is_values(array):
        low, high = scale
        hidden = np.ma.masked_invalid(array)
        return axes.imshow(hidden, cmap=_MAP, vmin=low, vmax=high)
    if array.ndim == 2 and array.dtype.kind in "iu":
        return axes.imshow(_colours()[array % len(figures.COLOURS)])
    if array.ndim == 3 and array.shape[-1] == 3:
        return axes.imshow(array)
    raise ValueError(
        "Expected an array of shape (height, width, 3), or (height, width) of integers "
        f"or floats. Received: {array.dtype} of shape {array.shape} for {caption!r}"
    )


def _colours():
    from matplotlib.colors import to_rgb

    return np.array([to_rgb(colour) for colour in figures.COLOURS])


def _legend(figure, names, ncols):
    from matplotlib.patches import Patch

    colours = [figures.COLOURS[i % len(figures.COLOURS)] for i in range(len(names))]
    figure.legend(
        [Patch(color=colour) for colour in colours],
        names,
        loc="outside lower center",
        ncols=ncols,
        frameon=False,
        fontsize=8,
    )
