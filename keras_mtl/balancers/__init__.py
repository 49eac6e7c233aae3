"""Gradient balancers: what to do with the task gradients."""

from keras_mtl.balancers.balancer import Balancer, JacobianBalancer, registry
from keras_mtl.balancers.cagrad import CAGrad, cagrad_weights
from keras_mtl.balancers.db_mtl_averaged import DBMTLAveraged, longest_norm_weights
from keras_mtl.balancers.excess_mtl import ExcessMTL, excess_weights
from keras_mtl.balancers.graddrop import GradDrop, graddrop_gradient
from keras_mtl.balancers.mgda import MGDA, mgda_weights
from keras_mtl.balancers.moco import MoCo, moco_weights
from keras_mtl.balancers.pcgrad import PCGrad, pcgrad_weights
from keras_mtl.balancers.trimmed_mean import TrimmedMean, trimmed_mean

get = registry.get

__all__ = [
    "MGDA",
    "Balancer",
    "CAGrad",
    "DBMTLAveraged",
    "ExcessMTL",
    "GradDrop",
    "JacobianBalancer",
    "MoCo",
    "PCGrad",
    "TrimmedMean",
    "cagrad_weights",
    "excess_weights",
    "get",
    "graddrop_gradient",
    "longest_norm_weights",
    "mgda_weights",
    "moco_weights",
    "pcgrad_weights",
    "registry",
    "trimmed_mean",
]
