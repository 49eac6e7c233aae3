"""The dataset `digits_on_canvas`: which digit, where, and how thick its stroke is."""

from keras_mtl.data.datasets.digits_on_canvas.builder import DigitsOnCanvas

__all__ = ["DigitsOnCanvas"]
