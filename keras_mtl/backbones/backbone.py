"""The contract of a backbone, and how any other Keras model is adopted as one."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from keras_mtl.layers import MeanOverTokens
from keras_mtl.utils.checks import check_count
from keras_mtl.utils.registry import Registry
from keras_mtl.utils.types import Tensor

registry = Registry("backbone")

_FEATURE_OF_RANK = {2: "pooled", 3: "sequence", 4: "map"}
_KERAS_HUB_NAMES = {"pooled_output": "pooled", "sequence_output": "sequence"}


class Backbone(keras.Model):
    """A functional model whose outputs are named features.

    The names are `"pooled"` of shape `(batch, width)`, `"sequence"` of shape
    `(batch, tokens, width)` and `"map"` of shape `(batch, height, width, channels)`;
    a backbone gives those that it has.

    Attributes:
        stages: Names of the layers after which an architecture may cut the
            network, in their order.
    """

    stages: tuple[str, ...] = ()

    def __init__(self, *args, trainable: bool = True, **kwargs):
        super().__init__(*args, **kwargs)
        # Given to Keras' constructor it would not reach the layers, and the model
        # around a frozen backbone would train it.
        self.trainable = trainable

    def get_config(self) -> dict:
        """Arguments that rebuild this backbone."""
        return {"name": self.name, "trainable": self.trainable}

    @classmethod
    def from_config(cls, config: dict, custom_objects=None) -> "Backbone":
        return cls(**config)


def dense_stack(
    x: Tensor, units: Sequence[int], activation: str, dropout: float
) -> Tensor:
    """Dense layers named `dense_<index>`, each with dropout after it if asked for."""
    for index, width in enumerate(units):
        check_count("units", width)
        x = layers.Dense(width, activation=activation, name=f"dense_{index}")(x)
        if dropout:
            x = layers.Dropout(dropout, name=f"dropout_{index}")(x)
    return x


def named_features(
    outputs: Any, padding_mask: Tensor | None = None
) -> dict[str, Tensor]:
    """The features of any model, named by the rank of its outputs.

    A dict keeps its names, apart from `"pooled_output"` and `"sequence_output"`
    of keras-hub, which become `"pooled"` and `"sequence"`. Where nothing is
    pooled, the mean over the tokens (masked ones left out) or over the pixels is
    added as `"pooled"`.

    Args:
        outputs: A Keras tensor, a list or a dict of them.
        padding_mask: Optional Keras tensor of shape `(batch, tokens)`, 0 at padding,
            for models such as keras-hub's, whose outputs do not carry a mask.

    Raises:
        ValueError: If two outputs of a list have the same rank, or one has a
            rank that is no feature's.
    """
    features: dict[str, Tensor] = {}
    if isinstance(outputs, dict):
        features = {_KERAS_HUB_NAMES.get(k) or k: v for k, v in outputs.items()}
    else:
        for tensor in outputs if isinstance(outputs, list | tuple) else [outputs]:
            name = _FEATURE_OF_RANK.get(len(tensor.shape), "")
            if not name or name in features:
                raise ValueError(
                    "Expected the outputs of a backbone to have different ranks, "
                    "each 2 (pooled), 3 (sequence) or 4 (map), or to be a dict of "
                    f"named features. Received: outputs={outputs}"
                )
            features[name] = tensor
    if "pooled" not in features and "sequence" in features:
        if padding_mask is not None:
            mean = MeanOverTokens(name="pooled_sequence")
            return {**features, "pooled": mean(features["sequence"], padding_mask)}
        pool = layers.GlobalAveragePooling1D(name="pooled_sequence")
        features["pooled"] = pool(features["sequence"])
    elif "pooled" not in features and "map" in features:
        pool = layers.GlobalAveragePooling2D(name="pooled_map")
        features["pooled"] = pool(features["map"])
    return features
