"""Gradient balancers: what to do with the task gradients."""

from keras_mtl.balancers.aligned_mtl import AlignedMTL, aligned_mtl_weights
from keras_mtl.balancers.balancer import Balancer, registry
from keras_mtl.balancers.cagrad import CAGrad, cagrad_weights
from keras_mtl.balancers.config import ConFIG, config_weights
from keras_mtl.balancers.dualproj import DualProj, dualproj_weights
from keras_mtl.balancers.fairgrad import FairGrad, fairgrad_weights
from keras_mtl.balancers.imtl_g import IMTLG, imtl_g_weights
from keras_mtl.balancers.mgda import MGDA, mgda_weights
from keras_mtl.balancers.nash_mtl import NashMTL, nash_mtl_weights
from keras_mtl.balancers.pcgrad import PCGrad, pcgrad_weights
from keras_mtl.balancers.upgrad import UPGrad, upgrad_weights

get = registry.get

__all__ = [
    "IMTLG",
    "MGDA",
    "AlignedMTL",
    "Balancer",
    "CAGrad",
    "ConFIG",
    "DualProj",
    "FairGrad",
    "NashMTL",
    "PCGrad",
    "UPGrad",
    "aligned_mtl_weights",
    "cagrad_weights",
    "config_weights",
    "dualproj_weights",
    "fairgrad_weights",
    "get",
    "imtl_g_weights",
    "mgda_weights",
    "nash_mtl_weights",
    "pcgrad_weights",
    "registry",
    "upgrad_weights",
]
