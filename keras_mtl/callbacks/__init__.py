"""Keras callbacks that know about tasks."""

from keras_mtl.callbacks.tensorboard import TaskTensorBoard

__all__ = ["TaskTensorBoard"]
