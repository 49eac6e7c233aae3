"""Backbones: the networks that make features."""

from keras_mtl.backbones.backbone import Backbone, named_features, registry
from keras_mtl.backbones.convnet import ConvNet
from keras_mtl.backbones.fusion import Fusion
from keras_mtl.backbones.mlp import MLP
from keras_mtl.backbones.recurrent import Recurrent
from keras_mtl.backbones.tabular import Tabular
from keras_mtl.backbones.text import Text

get = registry.get

__all__ = [
    "MLP",
    "Backbone",
    "ConvNet",
    "Fusion",
    "Recurrent",
    "Tabular",
    "Text",
    "get",
    "named_features",
    "registry",
]
