"""Data: pipelines that survive a restart, mixtures, data packages, TFDS builders.

The builders are registered by `import keras_mtl.data.datasets`, which is separate
because it imports `tensorflow_datasets`.
"""

from keras_mtl.data.mixing import TaskMixture, mix
from keras_mtl.data.pipelines import EpochOrder, epoch_batches, pairs
from keras_mtl.data.rates import AnnealedTemperature

__all__ = [
    "AnnealedTemperature",
    "EpochOrder",
    "TaskMixture",
    "epoch_batches",
    "mix",
    "pairs",
]
