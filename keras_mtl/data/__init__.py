"""Data: pipelines that survive a restart, one's own files, packages, TFDS builders.

The builders are registered by `import keras_mtl.data.datasets`, which is separate
because it imports `tensorflow_datasets`.
"""

from keras_mtl.data.loaders import load, read_schema
from keras_mtl.data.pipelines import EpochOrder, epoch_batches, pairs

__all__ = ["EpochOrder", "epoch_batches", "load", "pairs", "read_schema"]
