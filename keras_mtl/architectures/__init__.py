"""Architectures: how tasks share."""

from keras_mtl.architectures.architecture import Architecture, registry
from keras_mtl.architectures.cross_residual import CrossResidual
from keras_mtl.architectures.cross_stitch import CrossStitch
from keras_mtl.architectures.hard import HardSharing
from keras_mtl.architectures.hierarchical import HierarchicalSharing
from keras_mtl.architectures.learning_to_branch import LearningToBranch
from keras_mtl.architectures.mtan import MTAN
from keras_mtl.architectures.nddr import NDDR
from keras_mtl.architectures.sluice import Sluice
from keras_mtl.architectures.soft import SoftSharing
from keras_mtl.architectures.task_attention import TaskAttention

get = registry.get

__all__ = [
    "MTAN",
    "NDDR",
    "Architecture",
    "CrossResidual",
    "CrossStitch",
    "HardSharing",
    "HierarchicalSharing",
    "LearningToBranch",
    "Sluice",
    "SoftSharing",
    "TaskAttention",
    "get",
    "registry",
]
