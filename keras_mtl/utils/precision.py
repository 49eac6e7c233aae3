"""Sums in half precision do not add up."""

import keras
from keras import ops

from keras_mtl.utils.types import Tensor


def in_single(tensor: Tensor) -> Tensor:
    """The tensor in float32 or better, for what has to sum to 1."""
    return ops.cast(tensor, keras.backend.result_type(tensor.dtype, "float32"))
