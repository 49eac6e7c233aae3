"""Drawing: curves, weights, heat-maps, tables, the report of a run.

The functions take NumPy arrays and give back `matplotlib.figure.Figure` objects,
which belong to no window and to no global state. They need matplotlib:
`pip install "keras-mtl[plots]"`. Only the text tables, `cosine_array` and
`gate_array` do without.
"""

from keras_mtl.plots.cosine import cosine_array, cosine_heatmap, cosine_image
from keras_mtl.plots.curves import task_curves
from keras_mtl.plots.figure import figure_array, save_png
from keras_mtl.plots.gates import gate_array, gate_heatmap, gate_image
from keras_mtl.plots.maps import map_rows
from keras_mtl.plots.relevance import relevance_figure
from keras_mtl.plots.report import report_figure
from keras_mtl.plots.sharing import sharing_figure
from keras_mtl.plots.tables import (
    Table,
    comparison_table,
    markdown_table,
    table_figure,
    text_table,
)
from keras_mtl.plots.weights import weight_curves

__all__ = [
    "Table",
    "comparison_table",
    "cosine_array",
    "cosine_heatmap",
    "cosine_image",
    "figure_array",
    "gate_array",
    "gate_heatmap",
    "gate_image",
    "map_rows",
    "markdown_table",
    "relevance_figure",
    "report_figure",
    "save_png",
    "sharing_figure",
    "table_figure",
    "task_curves",
    "text_table",
    "weight_curves",
]
