"""Random changes of images and texts that keep the labels of every task true."""

from keras_mtl.data.augmentation.batch import Batch, Transform
from keras_mtl.data.augmentation.geometry import Crop, Flip, Rotate, Scale, Shift
from keras_mtl.data.augmentation.map_targets import MapTarget, SegmentationTarget
from keras_mtl.data.augmentation.pipeline import augment
from keras_mtl.data.augmentation.pixels import CutOut, MixUp, Pixels
from keras_mtl.data.augmentation.targets import (
    BoxTarget,
    ClassTarget,
    Target,
    ValueTarget,
    registry,
)
from keras_mtl.data.augmentation.words import (
    pieces_of_words,
    tags_of_pieces,
    tags_of_words,
    word_dropout,
    word_mask,
)

get = registry.get

__all__ = [
    "Batch",
    "BoxTarget",
    "ClassTarget",
    "Crop",
    "CutOut",
    "Flip",
    "MapTarget",
    "MixUp",
    "Pixels",
    "Rotate",
    "Scale",
    "SegmentationTarget",
    "Shift",
    "Target",
    "Transform",
    "ValueTarget",
    "augment",
    "get",
    "pieces_of_words",
    "registry",
    "tags_of_pieces",
    "tags_of_words",
    "word_dropout",
    "word_mask",
]
