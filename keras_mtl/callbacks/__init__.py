"""Keras callbacks that know about tasks."""

from keras_mtl.callbacks.epoch_backup import EpochBackup
from keras_mtl.callbacks.pseudo_labels import PseudoLabels
from keras_mtl.callbacks.tensorboard import TaskTensorBoard

__all__ = ["EpochBackup", "PseudoLabels", "TaskTensorBoard"]
