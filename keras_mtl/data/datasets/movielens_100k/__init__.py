"""The dataset `movielens_100k`: who rated which film, and how."""

from keras_mtl.data.datasets.movielens_100k.builder import GENRES, MovieLens100K

__all__ = ["GENRES", "MovieLens100K"]
