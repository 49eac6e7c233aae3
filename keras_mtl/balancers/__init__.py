"""Gradient balancers: what to do with the task gradients."""

from keras_mtl.balancers.balancer import Balancer, registry
from keras_mtl.balancers.cagrad import CAGrad, cagrad_weights
from keras_mtl.balancers.cr_mogm import CRMOGM, cr_mogm_weights
from keras_mtl.balancers.db_mtl import DBMTL, db_mtl_weights
from keras_mtl.balancers.gradnorm import GradNorm, gradnorm_update
from keras_mtl.balancers.gradvac import GradVac, gradvac_weights
from keras_mtl.balancers.krum import Krum, krum_weights
from keras_mtl.balancers.metabalance import MetaBalance, metabalance_weights
from keras_mtl.balancers.mgda import MGDA, mgda_weights
from keras_mtl.balancers.modo import MoDo, modo_shares
from keras_mtl.balancers.norm_proportion import NormProportion, norm_proportion_weights
from keras_mtl.balancers.pcgrad import PCGrad, pcgrad_weights
from keras_mtl.balancers.sdmgrad import SDMGrad, sdmgrad_shares
from keras_mtl.balancers.validation_descent import (
    ValidationDescent,
    validation_descent_shares,
)

get = registry.get

__all__ = [
    "CRMOGM",
    "DBMTL",
    "MGDA",
    "Balancer",
    "CAGrad",
    "GradNorm",
    "GradVac",
    "Krum",
    "MetaBalance",
    "MoDo",
    "NormProportion",
    "PCGrad",
    "SDMGrad",
    "ValidationDescent",
    "cagrad_weights",
    "cr_mogm_weights",
    "db_mtl_weights",
    "get",
    "gradnorm_update",
    "gradvac_weights",
    "krum_weights",
    "metabalance_weights",
    "mgda_weights",
    "modo_shares",
    "norm_proportion_weights",
    "pcgrad_weights",
    "registry",
    "sdmgrad_shares",
    "validation_descent_shares",
]
