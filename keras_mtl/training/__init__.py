"""The step: task losses, task gradients, and the model that trains by them."""

from keras_mtl.training.accelerate import Acceleration, accelerate
from keras_mtl.training.builder import build_model
from keras_mtl.training.layer_rates import layerwise_rates
from keras_mtl.training.model import MultiTaskModel
from keras_mtl.training.options import BalancingOptions

__all__ = [
    "Acceleration",
    "BalancingOptions",
    "MultiTaskModel",
    "accelerate",
    "build_model",
    "layerwise_rates",
]
