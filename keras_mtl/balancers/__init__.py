"""Gradient balancers: what to do with the task gradients."""

from keras_mtl.balancers.balancer import Balancer, JacobianBalancer, registry
from keras_mtl.balancers.cagrad import CAGrad, cagrad_weights
from keras_mtl.balancers.mgda import MGDA, mgda_weights
from keras_mtl.balancers.pcgrad import PCGrad, pcgrad_weights

get = registry.get

__all__ = [
    "MGDA",
    "Balancer",
    "CAGrad",
    "JacobianBalancer",
    "PCGrad",
    "cagrad_weights",
    "get",
    "mgda_weights",
    "pcgrad_weights",
    "registry",
]
