"""Data: pipelines that survive a restart, mixtures, one's own files, TFDS builders.

The builders are registered by `import keras_mtl.data.datasets`, which is separate
because it imports `tensorflow_datasets`.
"""

from keras_mtl.data import augmentation, self_supervised, text
from keras_mtl.data.augmentation import augment
from keras_mtl.data.distillation import distilled
from keras_mtl.data.loaders import load, read_schema
from keras_mtl.data.mixing import TaskMixture, mix
from keras_mtl.data.pipelines import EpochOrder, epoch_batches, pairs
from keras_mtl.data.rates import AnnealedTemperature
from keras_mtl.data.seeding import seeded_map

__all__ = [
    "AnnealedTemperature",
    "EpochOrder",
    "TaskMixture",
    "augment",
    "augmentation",
    "distilled",
    "epoch_batches",
    "load",
    "mix",
    "pairs",
    "read_schema",
    "seeded_map",
    "self_supervised",
    "text",
]
