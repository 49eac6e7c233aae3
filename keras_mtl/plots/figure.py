"""What all drawings share: figures, colours, names that fit."""

import os
import re
from typing import Any

import numpy as np

# Okabe and Ito's palette, which people with colour blindness can tell apart; its
# yellow, hard to see on white, is a dark grey here. Markers repeat the distinction.
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#7F7F7F",
)
MARKERS = "osD^vPX*"
DPI = 110


def new_figure(width: float, height: float) -> Any:
    """An empty `matplotlib.figure.Figure` with Agg canvas and constrained layout.

    Args:
        width: Width in inches.
        height: Height in inches.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed; the message says how to get it.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "Expected matplotlib to be installed, which draws the figures. "
            'Install it with `pip install "keras-mtl[plots]"`.'
        ) from error
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    figure.set_facecolor("white")
    FigureCanvasAgg(figure)
    return figure


def figure_array(figure: Any) -> np.ndarray:
    """The pixels of a figure.

    Args:
        figure: A `matplotlib.figure.Figure` made by this package.

    Returns:
        uint8 array of shape `(height, width, 3)`.
    """
    figure.canvas.draw()
    return np.array(figure.canvas.buffer_rgba())[..., :3]


def save_png(figure: Any, path: str | os.PathLike) -> None:
    """Writes a figure as a PNG file; missing folders are made.

    Args:
        figure: A `matplotlib.figure.Figure`.
        path: Path of the file, whatever its extension.
    """
    path = os.fspath(path)
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    figure.savefig(path, format="png", dpi=DPI)


def series_style(index: int, num_points: int) -> dict:
    """Keyword arguments that draw the `index`-th line of a chart."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": ("-", "--", ":", "-.")[index // len(COLOURS) % 4],
        "linewidth": 1.6,
        "marker": MARKERS[index % len(MARKERS)],
        "markersize": 4,
        # Too many markers on one line would hide it.
        "markevery": max(1, num_points // 12),
    }


def plot_line(axes: Any, x: Any, y: Any, label: str, index: int) -> None:
    """Draws the finite points of one series, joined over the gaps."""
    x, y = np.asarray(x), np.asarray(y, dtype="float64")
    finite = np.isfinite(y)
    style = series_style(index, int(finite.sum()))
    axes.plot(x[finite], y[finite], label=label, **style)


def tidy(axes: Any, title: str) -> None:
    """The look of every chart: title, light grid, whole epochs, no box."""
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, fontsize=10, loc="left")
    axes.grid(color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#888888")
    axes.tick_params(labelsize=8, color="#888888")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))


def fit_name(name: str, width: int = 16, lines: int = 2) -> str:
    """A name broken into lines, and shortened if it does not fit into them.

    Args:
        name: Any text, usually the name of a task.
        width: Characters per line.
        lines: Largest number of lines.

    Returns:
        The name with line breaks, safe to hand to matplotlib.

    Example:
    >>> print(fit_name("stroke_thickness_of_the_digit", width=12))
    stroke_
    thickness_…
    """
    parts = []
    for part in re.findall(r"[^\s_\-.]*[\s_\-.]*", name):
        parts += [part[i : i + width] for i in range(0, len(part), width)]
    rows = [""]
    for part in parts:
        if rows[-1] and len(rows[-1]) + len(part.rstrip()) > width:
            rows.append("")
        rows[-1] += part
    rows = [row.strip() for row in rows]
    if len(rows) > lines:
        rows = rows[:lines]
        rows[-1] = rows[-1][: width - 1] + "…"
    # An unescaped dollar sign would start a formula.
    return "\n".join(rows).replace("$", r"\$")
