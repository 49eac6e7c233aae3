"""Heads: from a feature of the backbone to the output of one task."""

from keras_mtl.heads.bounding_box import (
    BoundingBox,
    BoxIoU,
    BoxLoss,
    intersection_over_union,
)
from keras_mtl.heads.classification import (
    BinaryClassification,
    Classification,
    MultiLabelClassification,
)
from keras_mtl.heads.contrastive import ContrastiveEmbedding, InfoNCE, RecallAtK
from keras_mtl.heads.conversion import Conversion
from keras_mtl.heads.dense import RelativeError
from keras_mtl.heads.distillation import DistillationLoss
from keras_mtl.heads.entities import EntityF1, EntityPrecision, EntityRecall
from keras_mtl.heads.head import Head, registry
from keras_mtl.heads.ordinal import Ordinal, OrdinalCrossentropy
from keras_mtl.heads.regression import Regression
from keras_mtl.heads.regression_map import Depth, RegressionMap
from keras_mtl.heads.segmentation import Segmentation
from keras_mtl.heads.sequence_to_sequence import Perplexity, SequenceToSequence
from keras_mtl.heads.smoothing import SmoothedCrossentropy
from keras_mtl.heads.span import SpanExtraction, SpanLoss, SpanMatch, SpanOverlap
from keras_mtl.heads.tagging import CRFLoss, CRFTagging, TokenTagging

get = registry.get

__all__ = [
    "BinaryClassification",
    "BoundingBox",
    "BoxIoU",
    "BoxLoss",
    "CRFLoss",
    "CRFTagging",
    "Classification",
    "ContrastiveEmbedding",
    "Conversion",
    "Depth",
    "DistillationLoss",
    "EntityF1",
    "EntityPrecision",
    "EntityRecall",
    "Head",
    "InfoNCE",
    "MultiLabelClassification",
    "Ordinal",
    "OrdinalCrossentropy",
    "Perplexity",
    "RecallAtK",
    "Regression",
    "RegressionMap",
    "RelativeError",
    "Segmentation",
    "SequenceToSequence",
    "SmoothedCrossentropy",
    "SpanExtraction",
    "SpanLoss",
    "SpanMatch",
    "SpanOverlap",
    "TokenTagging",
    "get",
    "intersection_over_union",
    "registry",
]
