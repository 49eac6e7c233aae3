"""What a model that serves takes and gives."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_mtl.training.graph import upstream
from keras_mtl.utils.types import Tensor


def needed_inputs(model: keras.Model, outputs: list[Tensor]) -> Any:
    """Those of a functional model's inputs that some of its tensors need."""
    needed = {id(tensor) for output in outputs for tensor in upstream(output)[1]}
    inputs = model.input
    if isinstance(inputs, dict):
        return {k: v for k, v in inputs.items() if id(v) in needed}
    if isinstance(inputs, list | tuple):
        return [v for v in inputs if id(v) in needed]
    return inputs


def known_inputs(model: keras.Model, x: Any) -> Any:
    """Inputs by name, or a data set of them, without those that a model lacks."""

    def known(inputs, *_):
        if not isinstance(inputs, dict):
            return inputs
        return {key: value for key, value in inputs.items() if key in model.input}

    return x.map(known) if isinstance(x, tf.data.Dataset) else known(x)


def to_numpy(tensor: Tensor) -> np.ndarray:
    """The values of a tensor; strings as `str`."""
    array = ops.convert_to_numpy(tensor)
    if array.dtype != object:
        return array
    texts = [text.decode() for text in array.reshape(-1)]
    return np.array(texts).reshape(array.shape)
