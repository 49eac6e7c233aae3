"""Reusable Keras layers."""

from keras_mtl.layers.adapter import Adapter
from keras_mtl.layers.covariance_alignment import CovarianceAlignment
from keras_mtl.layers.feature_modulation import FeatureModulation
from keras_mtl.layers.last_step import LastStep
from keras_mtl.layers.low_rank import LowRankUpdate, WithUpdates
from keras_mtl.layers.ordered_thresholds import OrderedThresholds
from keras_mtl.layers.resize_map import ResizeMap

__all__ = [
    "Adapter",
    "CovarianceAlignment",
    "FeatureModulation",
    "LastStep",
    "LowRankUpdate",
    "OrderedThresholds",
    "ResizeMap",
    "WithUpdates",
]
