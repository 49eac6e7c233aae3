"""Reusable Keras layers."""

from keras_mtl.layers.last_step import LastStep
from keras_mtl.layers.ordered_thresholds import OrderedThresholds
from keras_mtl.layers.resize_map import ResizeMap

__all__ = ["LastStep", "OrderedThresholds", "ResizeMap"]
