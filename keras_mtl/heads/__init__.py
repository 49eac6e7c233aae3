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
from keras_mtl.heads.conversion import Conversion
from keras_mtl.heads.head import Head, registry
from keras_mtl.heads.ordinal import Ordinal, OrdinalCrossentropy
from keras_mtl.heads.regression import Regression

get = registry.get

__all__ = [
    "BinaryClassification",
    "BoundingBox",
    "BoxIoU",
    "BoxLoss",
    "Classification",
    "Conversion",
    "Head",
    "MultiLabelClassification",
    "Ordinal",
    "OrdinalCrossentropy",
    "Regression",
    "get",
    "intersection_over_union",
    "registry",
]
