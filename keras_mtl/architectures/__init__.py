"""Architectures: how tasks share."""

from keras_mtl.architectures.aitm import AITM
from keras_mtl.architectures.architecture import Architecture, registry
from keras_mtl.architectures.dselect_k import DSelectK
from keras_mtl.architectures.gates import GateReader, gate_weights, unused_experts
from keras_mtl.architectures.hard import HardSharing
from keras_mtl.architectures.mmoe import MMoE
from keras_mtl.architectures.ple import CGC, PLE
from keras_mtl.architectures.task_embedding_moe import TaskEmbeddingMoE

get = registry.get

__all__ = [
    "AITM",
    "CGC",
    "PLE",
    "Architecture",
    "DSelectK",
    "GateReader",
    "HardSharing",
    "MMoE",
    "TaskEmbeddingMoE",
    "gate_weights",
    "get",
    "registry",
    "unused_experts",
]
