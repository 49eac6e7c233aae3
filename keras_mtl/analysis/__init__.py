"""What can be learnt from a finished (or still running) training run."""

from keras_mtl.analysis.flops import forward_flops, training_flops
from keras_mtl.analysis.runs import Run, read_run, run_figure, values_table

__all__ = [
    "Run",
    "forward_flops",
    "read_run",
    "run_figure",
    "training_flops",
    "values_table",
]
