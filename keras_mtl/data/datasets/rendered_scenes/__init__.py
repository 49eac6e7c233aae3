"""The dataset `rendered_scenes`: what every pixel shows, how far it is, how many."""

from keras_mtl.data.datasets.rendered_scenes.builder import (
    RenderedScenes,
    ScenesConfig,
)
from keras_mtl.data.datasets.rendered_scenes.scene import SIDE, SURFACES

__all__ = ["SIDE", "SURFACES", "RenderedScenes", "ScenesConfig"]
