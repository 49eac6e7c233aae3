"""The dataset `multi_fashion`: two overlapping clothes in one image."""

from keras_mtl.data.datasets.multi_fashion.builder import MultiFashion

__all__ = ["MultiFashion"]
