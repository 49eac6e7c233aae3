"""What can be learnt from a finished (or still running) training run."""

from keras_mtl.analysis.runs import Run, read_run, values_table

__all__ = ["Run", "read_run", "values_table"]
