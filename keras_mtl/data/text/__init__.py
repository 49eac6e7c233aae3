"""Texts: tokens in the pipeline, tags of words, buckets by length, cached features."""

from keras_mtl.data.augmentation import word_mask
from keras_mtl.data.text.buckets import (
    bucket_boundaries,
    bucketed,
    padding_waste,
    token_counts,
)
from keras_mtl.data.text.features import cached_features
from keras_mtl.data.text.preprocessor import TextPreprocessor
from keras_mtl.data.text.pretrained import NAMES, pretrained
from keras_mtl.data.text.tags import encode_tags

__all__ = [
    "NAMES",
    "TextPreprocessor",
    "bucket_boundaries",
    "bucketed",
    "cached_features",
    "encode_tags",
    "padding_waste",
    "pretrained",
    "token_counts",
    "word_mask",
]
