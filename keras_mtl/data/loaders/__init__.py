"""Loaders of one's own files: CSV, JSONL, CoNLL, TFRecord, folders of images.

A schema file names the files, the inputs and the labels; every row is checked against
it.
"""

from keras_mtl.data.loaders.columns import Input, Label
from keras_mtl.data.loaders.loading import Split, label_present, load, load_split
from keras_mtl.data.loaders.rejects import BadRow
from keras_mtl.data.loaders.schema import Schema, read_schema

__all__ = [
    "BadRow",
    "Input",
    "Label",
    "Schema",
    "Split",
    "label_present",
    "load",
    "load_split",
    "read_schema",
]
