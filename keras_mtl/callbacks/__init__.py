"""Keras callbacks that know about tasks."""

from keras_mtl.callbacks.epoch_backup import EpochBackup
from keras_mtl.callbacks.loss_driven_rates import LossDrivenRates
from keras_mtl.callbacks.tensorboard import TaskTensorBoard

__all__ = ["EpochBackup", "LossDrivenRates", "TaskTensorBoard"]
