"""The dataset `multi_mnist`: two overlapping digits in one image."""

from keras_mtl.data.datasets.multi_mnist.builder import MultiMNIST

__all__ = ["MultiMNIST"]
