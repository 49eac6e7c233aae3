"""Reusable Keras layers."""

from keras_mtl.layers.ordered_thresholds import OrderedThresholds

__all__ = ["OrderedThresholds"]
