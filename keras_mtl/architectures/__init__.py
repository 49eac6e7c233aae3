"""Architectures: how tasks share."""

from keras_mtl.architectures.adapters import Adapters
from keras_mtl.architectures.alignment import Alignment
from keras_mtl.architectures.architecture import Architecture, registry
from keras_mtl.architectures.film import FiLM
from keras_mtl.architectures.hard import HardSharing
from keras_mtl.architectures.lora import LoRA

get = registry.get

__all__ = [
    "Adapters",
    "Alignment",
    "Architecture",
    "FiLM",
    "HardSharing",
    "LoRA",
    "get",
    "registry",
]
