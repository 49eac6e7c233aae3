"""Keras callbacks that know about tasks."""

from keras_mtl.callbacks.early_stopping import TaskEarlyStopping
from keras_mtl.callbacks.epoch_backup import EpochBackup
from keras_mtl.callbacks.gradual_unfreezing import GradualUnfreezing
from keras_mtl.callbacks.loss_driven_rates import LossDrivenRates
from keras_mtl.callbacks.pseudo_labels import PseudoLabels
from keras_mtl.callbacks.schedules import AlternatingTasks, TaskSchedule
from keras_mtl.callbacks.tensorboard import TaskTensorBoard

__all__ = [
    "AlternatingTasks",
    "EpochBackup",
    "GradualUnfreezing",
    "LossDrivenRates",
    "PseudoLabels",
    "TaskEarlyStopping",
    "TaskSchedule",
    "TaskTensorBoard",
]
