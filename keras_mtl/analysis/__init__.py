"""What can be learnt from data, from a model, and from a run, finished or not."""

from keras_mtl.analysis.flops import forward_flops, training_flops
from keras_mtl.analysis.relevance import (
    LabelledRows,
    RelevanceReport,
    task_relevance,
)
from keras_mtl.analysis.runs import Run, read_run, run_figure, values_table
from keras_mtl.analysis.sharing import SharingReport, sharing_report

__all__ = [
    "LabelledRows",
    "RelevanceReport",
    "Run",
    "SharingReport",
    "forward_flops",
    "read_run",
    "run_figure",
    "sharing_report",
    "task_relevance",
    "training_flops",
    "values_table",
]
