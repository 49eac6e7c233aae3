"""What heads for dense prediction share: a light decoder, and errors per pixel."""

from typing import Any

import keras
from keras import layers, ops

from keras_mtl.heads.head import Head, output_dtype
from keras_mtl.layers import ResizeMap
from keras_mtl.utils.checks import check_count
from keras_mtl.utils.types import Tensor


def check_output_size(value: Any) -> tuple[int, int]:
    """`value` as `(height, width)`.

    Raises:
        ValueError: If it is not two positive integers.
    """
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(
            "Expected `output_size` to be (height, width), in pixels. "
            f"Received: output_size={value!r}"
        )
    height, width = (check_count("output_size", side) for side in value)
    return height, width


def decoded(
    head: Head, feature: Tensor, channels: int, size: tuple[int, int], name: str
) -> Tensor:
    """Raw outputs of shape `(batch, *size, channels)` from a map.

    Every entry of the head's `hidden_units` is a stage: the map is doubled in height
    and width, unless it would exceed `size` (or its own size is not known in
    advance), and passes a convolution of that many channels. A linear 1×1
    convolution and a bilinear resize to `size` follow.

    Args:
        head: Head whose `hidden_units`, `activation` and `dropout` are taken.
        feature: Map of shape `(batch, height, width, width of the feature)`.
        channels: Channels of the raw outputs.
        size: Their height and width.
        name: Name of the task.
    """
    x = feature
    for index, units in enumerate(head.hidden_units):
        if _may_double(x, size):
            x = layers.UpSampling2D(
                2,
                interpolation="bilinear",
                data_format="channels_last",
                name=f"{name}_upsampling_{index}",
            )(x)
        x = layers.Conv2D(
            units,
            3,
            padding="same",
            activation=head.activation,
            data_format="channels_last",
            name=f"{name}_hidden_{index}",
        )(x)
        if head.dropout:
            x = layers.Dropout(head.dropout, name=f"{name}_dropout_{index}")(x)
    x = layers.Conv2D(
        channels,
        1,
        data_format="channels_last",
        name=f"{name}_output",
        dtype=output_dtype(),
    )(x)
    if tuple(x.shape[1:3]) != size:
        x = ResizeMap(size, name=f"{name}_resize", dtype=output_dtype())(x)
    return x


def _may_double(x, size):
    sides = zip(x.shape[1:3], size, strict=True)
    return all(side is not None and 2 * side <= limit for side, limit in sides)


@keras.saving.register_keras_serializable(package="keras_mtl")
class RelativeError(keras.metrics.Mean):
    """Mean of `|y_true - y_pred| / |y_true|`; labels that are zero are left out.

    Call arguments:
        y_true: Labels.
        y_pred: Predictions of the same shape.
        sample_weight: Weights of that shape, or without trailing axes of it.

    Example:
    >>> metric = RelativeError()
    >>> metric.update_state([[2.0, 4.0, 0.0]], [[3.0, 4.0, 9.0]])
    >>> float(metric.result())
    0.25

    Reference:
        - [Eigen et al., 2014](https://arxiv.org/abs/1406.2283), section 4.1, "absolute
          relative difference".
    """

    def __init__(self, name: str = "relative_error", dtype=None):
        super().__init__(name=name, dtype=dtype)

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        y_true = ops.convert_to_tensor(y_true, self.dtype)
        y_pred = ops.convert_to_tensor(y_pred, self.dtype)
        counted = ops.not_equal(y_true, 0)
        size = ops.where(counted, ops.abs(y_true), ops.ones_like(y_true))
        weights = ops.cast(counted, self.dtype)
        if sample_weight is not None:
            given = ops.convert_to_tensor(sample_weight, self.dtype)
            while len(given.shape) < len(weights.shape):
                given = ops.expand_dims(given, -1)
            weights = weights * given
        super().update_state(ops.abs(y_true - y_pred) / size, sample_weight=weights)
