"""Multi-task learning for Keras 3 on TensorFlow."""

from keras_mtl import (
    analysis,
    architectures,
    backbones,
    balancers,
    callbacks,
    continual,
    data,
    export,
    heads,
    layers,
    plots,
    weightings,
)
from keras_mtl._version import __version__
from keras_mtl.distribution import strategy
from keras_mtl.task import Task
from keras_mtl.training import (
    BalancingOptions,
    MultiTaskModel,
    accelerate,
    build_model,
    layerwise_rates,
)

__all__ = [
    "BalancingOptions",
    "MultiTaskModel",
    "Task",
    "__version__",
    "accelerate",
    "analysis",
    "architectures",
    "backbones",
    "balancers",
    "build_model",
    "callbacks",
    "continual",
    "data",
    "export",
    "heads",
    "layers",
    "layerwise_rates",
    "plots",
    "strategy",
    "weightings",
]
