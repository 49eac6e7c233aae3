"""Architectures: how tasks share."""

from keras_mtl.architectures.adapters import Adapters
from keras_mtl.architectures.aitm import AITM
from keras_mtl.architectures.alignment import Alignment
from keras_mtl.architectures.architecture import Architecture, registry
from keras_mtl.architectures.cross_residual import CrossResidual
from keras_mtl.architectures.cross_stitch import CrossStitch
from keras_mtl.architectures.dselect_k import DSelectK
from keras_mtl.architectures.film import FiLM
from keras_mtl.architectures.gates import GateReader, gate_weights, unused_experts
from keras_mtl.architectures.hard import HardSharing
from keras_mtl.architectures.hierarchical import HierarchicalSharing
from keras_mtl.architectures.learning_to_branch import LearningToBranch
from keras_mtl.architectures.lora import LoRA
from keras_mtl.architectures.mmoe import MMoE
from keras_mtl.architectures.mtan import MTAN
from keras_mtl.architectures.nddr import NDDR
from keras_mtl.architectures.ple import CGC, PLE
from keras_mtl.architectures.sluice import Sluice
from keras_mtl.architectures.soft import SoftSharing
from keras_mtl.architectures.task_attention import TaskAttention
from keras_mtl.architectures.task_embedding_moe import TaskEmbeddingMoE

get = registry.get

__all__ = [
    "AITM",
    "CGC",
    "MTAN",
    "NDDR",
    "PLE",
    "Adapters",
    "Alignment",
    "Architecture",
    "CrossResidual",
    "CrossStitch",
    "DSelectK",
    "FiLM",
    "GateReader",
    "HardSharing",
    "HierarchicalSharing",
    "LearningToBranch",
    "LoRA",
    "MMoE",
    "Sluice",
    "SoftSharing",
    "TaskAttention",
    "TaskEmbeddingMoE",
    "gate_weights",
    "get",
    "registry",
    "unused_experts",
]
