"""The dataset `molecule_ace`: how strongly molecules act on thirty targets."""

from keras_mtl.data.datasets.molecule_ace.builder import TARGETS, MoleculeACE

__all__ = ["TARGETS", "MoleculeACE"]
