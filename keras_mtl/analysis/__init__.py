"""What can be learnt from data, from a model, and from a run, finished or not."""

from keras_mtl.analysis.flops import forward_flops, training_flops
from keras_mtl.analysis.relevance import (
    LabelledRows,
    RelevanceReport,
    task_relevance,
)
from keras_mtl.analysis.retrieval import retrieval_recall
from keras_mtl.analysis.runs import Run, read_run, run_figure, values_table
from keras_mtl.analysis.sharing import SharingReport, sharing_report
from keras_mtl.analysis.transfer import TransferReport, transfer_report
from keras_mtl.analysis.translation import translation_scores
from keras_mtl.training.engine import EngineReport, engine_report

__all__ = [
    "EngineReport",
    "LabelledRows",
    "RelevanceReport",
    "Run",
    "SharingReport",
    "TransferReport",
    "engine_report",
    "forward_flops",
    "read_run",
    "retrieval_recall",
    "run_figure",
    "sharing_report",
    "task_relevance",
    "training_flops",
    "transfer_report",
    "translation_scores",
    "values_table",
]
