"""Reusable Keras layers."""

from keras_mtl.layers.expert_bank import ExpertBank
from keras_mtl.layers.funnel import MonotonePenalty, ProbabilityProduct
from keras_mtl.layers.gate import DSelectKGate, Gate
from keras_mtl.layers.information_transfer import InformationTransfer
from keras_mtl.layers.mixture import Mixture
from keras_mtl.layers.ordered_thresholds import OrderedThresholds
from keras_mtl.layers.task_embedding import TaskEmbedding

__all__ = [
    "DSelectKGate",
    "ExpertBank",
    "Gate",
    "InformationTransfer",
    "Mixture",
    "MonotonePenalty",
    "OrderedThresholds",
    "ProbabilityProduct",
    "TaskEmbedding",
]
