"""Heads for real values per pixel, depth among them."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mtl.heads.dense import RelativeError, check_output_size, decoded
from keras_mtl.heads.head import check_label_shape, registry
from keras_mtl.heads.regression import Regression
from keras_mtl.utils.types import Tensor


@registry.register("regression_map")
class RegressionMap(Regression):
    """One or several real values per pixel.

    Raw outputs have shape `(batch, height, width, units)`, labels the same, or
    `(batch, height, width)` for one unit. A `NaN`, an entry equal to `Task.missing`
    and one that is False in the mask beside the labels are left out, each for itself.
    Units are those of `Regression`: standardised for the loss, those of the labels
    for metrics and predictions. The default metric is the mean absolute error.

    Args:
        output_size: `(height, width)` of the labels, in pixels.
        units: Integer, number of values per pixel.
        target_mean: Number, or one per unit.
        target_std: Positive number, or one per unit.
        **kwargs: `hidden_units` (channels of the decoder's 3×3 convolutions, each of
            which works at twice the resolution of the one before), `activation`,
            `dropout` of `Head`.

    Example:
    >>> head = RegressionMap.for_labels(np.ones((9, 24, 32, 3)), hidden_units=(8,))
    >>> head.output_size, head.units, head.target_mean
    ((24, 32), 3, [1.0, 1.0, 1.0])
    """

    feature = "map"
    feature_rank = 4

    def __init__(
        self,
        output_size: tuple[int, int],
        units: int = 1,
        *,
        target_mean: Any = 0.0,
        target_std: Any = 1.0,
        **kwargs,
    ):
        super().__init__(
            units, target_mean=target_mean, target_std=target_std, **kwargs
        )
        self.output_size = check_output_size(output_size)

    @classmethod
    def for_labels(cls, labels: np.ndarray, **kwargs) -> "RegressionMap":
        """A head scaled to labels of shape `(examples, height, width[, units])`.

        Missing labels (`NaN`) are left out; put `NaN` where the label has the value
        of `Task.missing`. A constant label gets a standard deviation of 1.
        """
        labels = np.asarray(labels, "float64")
        flat = labels.reshape(-1, *labels.shape[3:])
        scaled = Regression.for_labels(flat).get_config()
        scales = {name: scaled[name] for name in ("target_mean", "target_std")}
        if scaled["units"] > 1:
            kwargs["units"] = scaled["units"]
        return cls(labels.shape[1:3], **scales, **kwargs)

    def connect(self, feature, extra_inputs, name):
        return decoded(self, feature, self.units, self.output_size, name)

    def prepare_labels(self, labels: Tensor) -> Tensor:
        return labels if len(labels.shape) == 4 else ops.expand_dims(labels, -1)

    def check_labels(self, labels, outputs):
        super(Regression, self).check_labels(labels, outputs)
        shape = (*self.output_size, self.units)
        one = self.units == 1
        check_label_shape(self, labels, [shape[:2], shape] if one else [shape])

    def get_config(self):
        return {**super().get_config(), "output_size": list(self.output_size)}


@registry.register("depth")
class Depth(RegressionMap):
    """The depth of every pixel, in the units of the labels; served as `"depth"`.

    A `RegressionMap` with another loss, the mean absolute error (in standardised
    units), which far pixels lead less than the squared one, and the relative error
    as a second metric. Sensors often write 0 where they measured nothing:
    `Task(missing=0)`.

    Args:
        output_size: `(height, width)` of the labels, in pixels.
        **kwargs: Other arguments of `RegressionMap`.

    Example:
    >>> depth = np.array([[[2.0, 4.0], [np.nan, 6.0]]])
    >>> Depth.for_labels(depth).target_mean
    4.0

    Reference:
        - [Liu et al., 2019](https://arxiv.org/abs/1803.10704), section 4.1.1, for the
          loss beside other dense tasks.
    """

    def serving(self, outputs: Tensor) -> dict[str, Tensor]:
        return {"depth": super().serving(outputs)["value"]}

    def default_loss(self):
        return keras.losses.MeanAbsoluteError()

    def default_metrics(self):
        return [*super().default_metrics(), RelativeError()]
