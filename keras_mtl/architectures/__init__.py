"""Architectures: how tasks share."""

from keras_mtl.architectures.architecture import Architecture, registry
from keras_mtl.architectures.hard import HardSharing

get = registry.get

__all__ = ["Architecture", "HardSharing", "get", "registry"]
