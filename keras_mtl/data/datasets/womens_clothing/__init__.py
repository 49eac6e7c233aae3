"""The dataset `womens_clothing`: reviews with rating, recommendation and department."""

from keras_mtl.data.datasets.womens_clothing.builder import WomensClothing

__all__ = ["WomensClothing"]
