"""The K×K algebra of gradient balancing: Gram matrices and their small problems."""

from keras_mtl.linalg.cone import dual_cone_projection, proportional_point
from keras_mtl.linalg.gram import (
    cosine,
    gram_matrix,
    gram_of_products,
    inverse_power,
    least_norm_solution,
    norms,
)
from keras_mtl.linalg.simplex import (
    active_shares,
    min_norm_point,
    simplex_minimum,
    simplex_projection,
    update_shares,
)

__all__ = [
    "active_shares",
    "cosine",
    "dual_cone_projection",
    "gram_matrix",
    "gram_of_products",
    "inverse_power",
    "least_norm_solution",
    "min_norm_point",
    "norms",
    "proportional_point",
    "simplex_minimum",
    "simplex_projection",
    "update_shares",
]
