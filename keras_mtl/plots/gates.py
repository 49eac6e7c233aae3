"""The weights that gates give experts, as a heat-map."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_mtl.plots import figure as figures

# White for nothing to blue for all; grey where a gate cannot take an expert.
_NOTHING, _ALL, _UNKNOWN = (247, 247, 247), (33, 102, 172), "#c8c8c8"


def gate_heatmap(
    weights: Mapping[str, Mapping[str, float]], *, title: str | None = None
) -> Any:
    """Draws the mean weights with a row per gate and a column per expert.

    Args:
        weights: Dict by gate of dicts by expert of weights in `[0, 1]`, as
            `keras_mtl.architectures.gate_weights` returns it.
        title: Optional title.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is no gate.

    Example:
    >>> figure = gate_heatmap({"a": {"x/0": 0.9, "x/1": 0.1}})
    >>> figure.axes[0].get_title(loc="left")
    'mean gate weights'
    """
    matrix, experts = gate_matrix(weights)
    rows, columns = matrix.shape
    figure = figures.new_figure(2.6 + 0.45 * columns, 1.9 + 0.45 * rows)
    axes = figure.subplots()
    axes.imshow(np.ma.masked_invalid(matrix), cmap=_colour_map(), vmin=0.0, vmax=1.0)
    names = [figures.fit_name(name, width=24, lines=1) for name in weights]
    axes.set_yticks(range(rows), names, fontsize=8)
    names = [figures.fit_name(name, width=24, lines=1) for name in experts]
    axes.set_xticks(range(columns), names, fontsize=8, rotation=40)
    for label in axes.get_xticklabels():
        label.set(ha="right", rotation_mode="anchor")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    for (row, column), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            colour = "white" if value > 0.6 else "black"
            text = f"{value:.2f}".removeprefix("0")
            place = {"ha": "center", "va": "center"}
            axes.text(column, row, text, fontsize=8, color=colour, **place)
    axes.set_title(title or "mean gate weights", fontsize=10, loc="left")
    return figure


def gate_image(
    weights: Mapping[str, Mapping[str, float]], *, title: str | None = None
) -> np.ndarray:
    """The heat-map as pixels; without matplotlib, its colours alone.

    Args:
        weights: As for `gate_heatmap`.
        title: Optional title; only drawn with matplotlib.

    Returns:
        uint8 array of shape `(height, width, 3)`.
    """
    try:
        figure = gate_heatmap(weights, title=title)
    except ImportError:
        return gate_array(weights)
    return figures.figure_array(figure)


def gate_array(
    weights: Mapping[str, Mapping[str, float]], *, cell: int = 32
) -> np.ndarray:
    """The colours of the heat-map, without numbers or names, by NumPy alone.

    Args:
        weights: As for `gate_heatmap`.
        cell: Width and height of a cell in pixels.

    Returns:
        uint8 array of shape `(gates * cell, experts * cell, 3)`: from white for 0 to
        blue for 1, grey where the gate does not have the expert.

    Example:
    >>> gate_array({"a": {"x": 1.0}, "b": {"y": 0.0}}, cell=1).tolist()[0]
    [[33, 102, 172], [200, 200, 200]]
    """
    matrix, _ = gate_matrix(weights)
    ends = np.stack([_NOTHING, _ALL])
    share = np.nan_to_num(matrix)[..., None]
    unknown = tuple(bytes.fromhex(_UNKNOWN[1:]))
    mixed = ends[0] + share * (ends[1] - ends[0])
    pixels = np.where(np.isnan(matrix)[..., None], unknown, mixed)
    return np.round(pixels).astype("uint8").repeat(cell, axis=0).repeat(cell, axis=1)


def gate_matrix(
    weights: Mapping[str, Mapping[str, float]],
) -> tuple[np.ndarray, list[str]]:
    """The weights as a matrix `(gates, experts)`, NaN where there is none.

    Returns:
        The matrix and the names of its columns.

    Raises:
        ValueError: If there is no gate.
    """
    if not weights:
        raise ValueError(
            f"Expected `weights` to hold at least one gate. Received: {dict(weights)}"
        )
    experts = list(dict.fromkeys(name for row in weights.values() for name in row))
    rows = [[row.get(name, np.nan) for name in experts] for row in weights.values()]
    return np.array(rows, dtype="float64"), experts


def _colour_map() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    stops = [np.divide(rgb, 255) for rgb in (_NOTHING, _ALL)]
    colours = LinearSegmentedColormap.from_list("gates", stops)
    return colours.with_extremes(bad=_UNKNOWN)
