"""Reusable Keras layers."""

from keras_mtl.layers.adapter import Adapter
from keras_mtl.layers.attention_module import AttentionModule
from keras_mtl.layers.batch_normalization import BatchNormalization
from keras_mtl.layers.bilinear_attention import BilinearAttention
from keras_mtl.layers.branch_choice import BranchChoice
from keras_mtl.layers.covariance_alignment import CovarianceAlignment
from keras_mtl.layers.crf import CRF
from keras_mtl.layers.cross_residual_unit import CrossResidualUnit
from keras_mtl.layers.cross_stitch_unit import CrossStitchUnit
from keras_mtl.layers.einsum_dense import EinsumDense
from keras_mtl.layers.embedding_pair import EmbeddingPair
from keras_mtl.layers.expert_bank import ExpertBank
from keras_mtl.layers.feature_attention import FeatureAttention
from keras_mtl.layers.feature_modulation import FeatureModulation
from keras_mtl.layers.fill_absent import FillAbsent
from keras_mtl.layers.funnel import MonotonePenalty, ProbabilityProduct
from keras_mtl.layers.fused_slope import FusedSlope
from keras_mtl.layers.gate import DSelectKGate, Gate
from keras_mtl.layers.gated_sum import GatedSum
from keras_mtl.layers.information_transfer import InformationTransfer
from keras_mtl.layers.last_step import LastStep
from keras_mtl.layers.layer_normalization import LayerNormalization
from keras_mtl.layers.low_rank import LowRankUpdate, WithUpdates
from keras_mtl.layers.masked_sequence import MaskedSequence
from keras_mtl.layers.mean_over_tokens import MeanOverTokens
from keras_mtl.layers.mixture import Mixture
from keras_mtl.layers.modality_dropout import ModalityDropout
from keras_mtl.layers.multi_head_attention import MultiHeadAttention
from keras_mtl.layers.nddr_unit import NDDRUnit
from keras_mtl.layers.ordered_thresholds import OrderedThresholds
from keras_mtl.layers.present_rows import PresentRows
from keras_mtl.layers.resize_map import ResizeMap
from keras_mtl.layers.search import SearchOptions, beam_search, greedy_search
from keras_mtl.layers.sequence_decoder import SequenceDecoder, SequenceSearch
from keras_mtl.layers.sluice_unit import LayerMixture, SluiceUnit
from keras_mtl.layers.task_embedding import TaskEmbedding
from keras_mtl.layers.word_pieces import WordPieces

__all__ = [
    "CRF",
    "Adapter",
    "AttentionModule",
    "BatchNormalization",
    "BilinearAttention",
    "BranchChoice",
    "CovarianceAlignment",
    "CrossResidualUnit",
    "CrossStitchUnit",
    "DSelectKGate",
    "EinsumDense",
    "EmbeddingPair",
    "ExpertBank",
    "FeatureAttention",
    "FeatureModulation",
    "FillAbsent",
    "FusedSlope",
    "Gate",
    "GatedSum",
    "InformationTransfer",
    "LastStep",
    "LayerMixture",
    "LayerNormalization",
    "LowRankUpdate",
    "MaskedSequence",
    "MeanOverTokens",
    "Mixture",
    "ModalityDropout",
    "MonotonePenalty",
    "MultiHeadAttention",
    "NDDRUnit",
    "OrderedThresholds",
    "PresentRows",
    "ProbabilityProduct",
    "ResizeMap",
    "SearchOptions",
    "SequenceDecoder",
    "SequenceSearch",
    "SluiceUnit",
    "TaskEmbedding",
    "WithUpdates",
    "WordPieces",
    "beam_search",
    "greedy_search",
]
