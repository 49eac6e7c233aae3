"""One figure that tells a run: curves per task, weights, cosine heat-map."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_mtl.plots import figure as figures
from keras_mtl.plots.cosine import draw_cosine
from keras_mtl.plots.curves import Curves, curves_shape, draw_curves
from keras_mtl.plots.weights import draw_weights

_WIDTH = 12.0


def report_figure(
    epochs: Any,
    curves: Curves,
    task_names: Sequence[str],
    *,
    weights: Mapping[str, np.ndarray] | None = None,
    cosine: Any = None,
    title: str | None = None,
) -> Any:
    """Draws the report of a run.

    Args:
        epochs: Array of shape `(num_epochs,)`, the numbers of the epochs.
        curves: `{task: {metric: {split: values}}}`, see `task_curves`.
        task_names: The names of the tasks.
        weights: Optional `{panel title: values}`, see `weight_curves`.
        cosine: Optional array of shape `(num_epochs, num_tasks, num_tasks)`. The
            last epoch of which something is known is drawn.
        title: Optional title.

    Returns:
        A `matplotlib.figure.Figure`, 12 inches wide.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is no curve, or an array has another shape.
    """
    weights = dict(weights or {})
    shown = _last_known(cosine)
    rows, _ = curves_shape(curves)
    top = 2.1 * rows + 0.4
    bottom = _bottom_height(len(weights), None if shown is None else len(task_names))
    figure = figures.new_figure(_WIDTH, top + bottom + (0.5 if title else 0.0))
    if title:
        figure.suptitle(title.replace("$", r"\$"), fontsize=13)
    parts = [figure]
    if bottom:
        parts = figure.subfigures(2, 1, height_ratios=[top, bottom], hspace=0.02)
    draw_curves(parts[0], epochs, curves)
    if shown is None:
        if weights:
            draw_weights(parts[1], epochs, weights, task_names, columns=2)
        return figure
    heatmap = parts[1]
    if weights:
        left, heatmap = parts[1].subfigures(1, 2, wspace=0.04)
        draw_weights(left, epochs, weights, task_names)
    name = f"cosine similarity of task gradients, epoch {epochs[shown]}"
    draw_cosine(heatmap.subplots(), cosine[shown], task_names, title=name)
    return figure


def _last_known(cosine: Any) -> int | None:
    """Index of the last epoch whose matrix has a finite entry."""
    if cosine is None:
        return None
    known = np.flatnonzero(np.isfinite(cosine).any(axis=(1, 2)))
    return int(known[-1]) if known.size else None


def _bottom_height(num_panels: int, num_tasks: int | None) -> float:
    """Inches that the weights and the heat-map (None if there is none) need."""
    if num_tasks is None:
        return 2.1 * -(-num_panels // 2) + 0.6 if num_panels else 0.0
    return max(2.0 * num_panels + 0.8, min(1.8 + 0.55 * num_tasks, 9.0), 3.2)
