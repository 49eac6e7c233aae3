"""Loss weightings: what to do with the losses."""

from keras_mtl.weightings.dwa import DWA, dwa_weights
from keras_mtl.weightings.fixed import Fixed
from keras_mtl.weightings.uncertainty import Uncertainty, uncertainty_objective
from keras_mtl.weightings.weighting import LossWeighting, registry

get = registry.get

__all__ = [
    "DWA",
    "Fixed",
    "LossWeighting",
    "Uncertainty",
    "dwa_weights",
    "get",
    "registry",
    "uncertainty_objective",
]
