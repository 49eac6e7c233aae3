"""Gradient balancers: what to do with the task gradients."""

from keras_mtl.balancers.aligned_mtl import AlignedMTL, aligned_mtl_weights
from keras_mtl.balancers.balancer import Balancer, JacobianBalancer, registry
from keras_mtl.balancers.cagrad import CAGrad, cagrad_weights
from keras_mtl.balancers.config import ConFIG, config_weights
from keras_mtl.balancers.cr_mogm import CRMOGM, cr_mogm_weights
from keras_mtl.balancers.db_mtl import DBMTL, db_mtl_weights
from keras_mtl.balancers.db_mtl_averaged import DBMTLAveraged, longest_norm_weights
from keras_mtl.balancers.dualproj import DualProj, dualproj_weights
from keras_mtl.balancers.excess_mtl import ExcessMTL, excess_weights
from keras_mtl.balancers.fairgrad import FairGrad, fairgrad_weights
from keras_mtl.balancers.graddrop import GradDrop, graddrop_gradient
from keras_mtl.balancers.gradnorm import GradNorm, gradnorm_update
from keras_mtl.balancers.gradvac import GradVac, gradvac_weights
from keras_mtl.balancers.imtl_g import IMTLG, imtl_g_weights
from keras_mtl.balancers.krum import Krum, krum_weights
from keras_mtl.balancers.latest_gradients import LatestGradients
from keras_mtl.balancers.metabalance import MetaBalance, metabalance_weights
from keras_mtl.balancers.mgda import MGDA, mgda_weights
from keras_mtl.balancers.moco import MoCo, moco_weights
from keras_mtl.balancers.modo import MoDo, modo_shares
from keras_mtl.balancers.nash_mtl import NashMTL, nash_mtl_weights
from keras_mtl.balancers.norm_proportion import NormProportion, norm_proportion_weights
from keras_mtl.balancers.pcgrad import PCGrad, pcgrad_weights
from keras_mtl.balancers.sdmgrad import SDMGrad, sdmgrad_shares
from keras_mtl.balancers.trimmed_mean import TrimmedMean, trimmed_mean
from keras_mtl.balancers.upgrad import UPGrad, upgrad_weights
from keras_mtl.balancers.validation_descent import (
    ValidationDescent,
    validation_descent_shares,
)

get = registry.get

__all__ = [
    "CRMOGM",
    "DBMTL",
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
    "GradNorm",
    "GradVac",
    "JacobianBalancer",
    "Krum",
    "LatestGradients",
    "MetaBalance",
    "MoCo",
    "MoDo",
    "NashMTL",
    "NormProportion",
    "PCGrad",
    "SDMGrad",
    "TrimmedMean",
    "UPGrad",
    "ValidationDescent",
    "aligned_mtl_weights",
    "cagrad_weights",
    "config_weights",
    "cr_mogm_weights",
    "db_mtl_weights",
    "dualproj_weights",
    "excess_weights",
    "fairgrad_weights",
    "get",
    "graddrop_gradient",
    "gradnorm_update",
    "gradvac_weights",
    "imtl_g_weights",
    "krum_weights",
    "longest_norm_weights",
    "metabalance_weights",
    "mgda_weights",
    "moco_weights",
    "modo_shares",
    "nash_mtl_weights",
    "norm_proportion_weights",
    "pcgrad_weights",
    "registry",
    "sdmgrad_shares",
    "trimmed_mean",
    "upgrad_weights",
    "validation_descent_shares",
]
