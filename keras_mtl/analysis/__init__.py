"""What can be learnt from a model, and from a training run, finished or not."""

from keras_mtl.analysis.flops import forward_flops, training_flops
from keras_mtl.analysis.runs import Run, read_run, run_figure, values_table
from keras_mtl.analysis.sharing import SharingReport, sharing_report
from keras_mtl.analysis.transfer import TransferReport, transfer_report
from keras_mtl.training.engine import EngineReport, engine_report

__all__ = [
    "EngineReport",
    "Run",
    "SharingReport",
    "TransferReport",
    "engine_report",
    "forward_flops",
    "read_run",
    "run_figure",
    "sharing_report",
    "training_flops",
    "transfer_report",
    "values_table",
]
