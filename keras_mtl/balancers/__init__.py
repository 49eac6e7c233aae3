"""Gradient balancers: what to do with the task gradients."""

from keras_mtl.balancers.aligned_mtl import AlignedMTL, aligned_mtl_weights
from keras_mtl.balancers.balancer import Balancer, JacobianBalancer, registry
from keras_mtl.balancers.cagrad import CAGrad, cagrad_weights
from keras_mtl.balancers.config import ConFIG, config_weights
from keras_mtl.balancers.db_mtl_averaged import DBMTLAveraged, longest_norm_weights
from keras_mtl.balancers.dualproj import DualProj, dualproj_weights
from keras_mtl.balancers.excess_mtl import ExcessMTL, excess_weights
from keras_mtl.balancers.fairgrad import FairGrad, fairgrad_weights
from keras_mtl.balancers.graddrop import GradDrop, graddrop_gradient
from keras_mtl.balancers.imtl_g import IMTLG, imtl_g_weights
from keras_mtl.balancers.mgda import MGDA, mgda_weights
from keras_mtl.balancers.moco import MoCo, moco_weights
from keras_mtl.balancers.nash_mtl import NashMTL, nash_mtl_weights
from keras_mtl.balancers.pcgrad import PCGrad, pcgrad_weights
from keras_mtl.balancers.trimmed_mean import TrimmedMean, trimmed_mean
from keras_mtl.balancers.upgrad import UPGrad, upgrad_weights

get = registry.get

__all__ = [
    "IMTLG",
    "MGDA",
    "AlignedMTL",
    "Balancer",
    "CAGrad",
    "ConFIG",
    "DBMTLAveraged",
    "DualProj",
    "ExcessMTL",
    "FairGrad",
    "GradDrop",
    "JacobianBalancer",
    "MoCo",
    "NashMTL",
    "PCGrad",
    "TrimmedMean",
    "UPGrad",
    "aligned_mtl_weights",
    "cagrad_weights",
    "config_weights",
    "dualproj_weights",
    "excess_weights",
    "fairgrad_weights",
    "get",
    "graddrop_gradient",
    "imtl_g_weights",
    "longest_norm_weights",
    "mgda_weights",
    "moco_weights",
    "nash_mtl_weights",
    "pcgrad_weights",
    "registry",
    "trimmed_mean",
    "upgrad_weights",
]
