"""Loss weightings: what to do with the losses."""

from keras_mtl.weightings.data_based import (
    DataBased,
    inverse_shares,
    label_counts,
    label_entropies,
)
from keras_mtl.weightings.dtp import DTP, focal_weights
from keras_mtl.weightings.dwa import DWA, dwa_weights
from keras_mtl.weightings.famo import FAMO, famo_objective, famo_slopes
from keras_mtl.weightings.fixed import Fixed
from keras_mtl.weightings.gls import GLS, geometric_mean
from keras_mtl.weightings.imtl_l import IMTLL, imtl_l_objective
from keras_mtl.weightings.rlw import RLW, rlw_weights
from keras_mtl.weightings.stch import STCH, smooth_tchebycheff
from keras_mtl.weightings.uncertainty import Uncertainty, uncertainty_objective
from keras_mtl.weightings.validation_adaptive import ValidationAdaptive, trend_weights
from keras_mtl.weightings.weighting import LossWeighting, registry

get = registry.get

__all__ = [
    "DTP",
    "DWA",
    "FAMO",
    "GLS",
    "IMTLL",
    "RLW",
    "STCH",
    "DataBased",
    "Fixed",
    "LossWeighting",
    "Uncertainty",
    "ValidationAdaptive",
    "dwa_weights",
    "famo_objective",
    "famo_slopes",
    "focal_weights",
    "geometric_mean",
    "get",
    "imtl_l_objective",
    "inverse_shares",
    "label_counts",
    "label_entropies",
    "registry",
    "rlw_weights",
    "smooth_tchebycheff",
    "trend_weights",
    "uncertainty_objective",
]
