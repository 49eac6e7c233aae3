"""Head for real values."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mtl.heads.head import Head, check_label_shape, registry
from keras_mtl.utils.checks import check_count
from keras_mtl.utils.types import Tensor


def _statistic(name, value, units):
    """The argument as a float, or a list with one float per unit."""
    array = np.asarray(value, "float64")
    if array.shape not in ((), (units,)) or not np.all(np.isfinite(array)):
        raise ValueError(
            f"Expected `{name}` to be a finite number or one per unit ({units}). "
            f"Received: {name}={value!r}"
        )
    return array.tolist()


@registry.register("regression")
class Regression(Head):
    """One or several real values; raw outputs have shape `(batch, units)`.

    Labels have shape `(batch, units)`, or `(batch,)` for one unit; a `NaN` entry
    is left out. With a `target_mean` and `target_std` the raw outputs and the
    loss live in standardised units, `(label - mean) / std`, while metrics and
    predictions are in the units of the labels. The two are part of the saved
    model. `Regression.for_labels` measures them.

    Args:
        units: Integer, number of values.
        target_mean: Number, or one per unit.
        target_std: Positive number, or one per unit.
        **kwargs: `hidden_units`, `activation`, `dropout` of `Head`.

    Example:
    >>> head = Regression.for_labels(np.array([10.0, 30.0]))
    >>> head.target_mean, head.target_std
    (20.0, 10.0)
    """

    labels_per_element = True

    def __init__(
        self,
        units: int = 1,
        *,
        target_mean: Any = 0.0,
        target_std: Any = 1.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.units = check_count("units", units)
        self.target_mean = _statistic("target_mean", target_mean, units)
        self.target_std = _statistic("target_std", target_std, units)
        if np.any(np.asarray(self.target_std) <= 0):
            raise ValueError(
                "Expected `target_std` to be positive. "
                f"Received: target_std={target_std!r}"
            )

    @classmethod
    def for_labels(cls, labels: np.ndarray, **kwargs) -> "Regression":
        """A head scaled to labels of shape `(examples,)` or `(examples, units)`.

        Missing labels (`NaN`) are left out. A constant label gets a standard
        deviation of 1.
        """
        labels = np.asarray(labels, "float64")
        units = 1 if labels.ndim == 1 else labels.shape[1]
        mean, std = np.nanmean(labels, axis=0), np.nanstd(labels, axis=0)
        std = np.where(std > 0, std, 1.0)
        return cls(units, target_mean=mean.tolist(), target_std=std.tolist(), **kwargs)

    def connect(self, feature, extra_inputs, name):
        return self.logits(feature, self.units, name)

    def prepare_labels(self, labels: Tensor) -> Tensor:
        return labels if len(labels.shape) == 2 else ops.expand_dims(labels, -1)

    def encode_labels(self, labels: Tensor) -> Tensor:
        if self._identity:
            return labels
        return (labels - self._as(labels, self.target_mean)) / self._as(
            labels, self.target_std
        )

    def activate(self, outputs: Tensor) -> Tensor:
        if self._identity:
            return outputs
        scaled = outputs * self._as(outputs, self.target_std)
        return scaled + self._as(outputs, self.target_mean)

    def serving(self, outputs: Tensor) -> dict[str, Tensor]:
        value = self.activate(outputs)
        return {"value": ops.squeeze(value, axis=-1) if self.units == 1 else value}

    def default_loss(self):
        return keras.losses.MeanSquaredError()

    def default_metrics(self):
        return [keras.metrics.MeanAbsoluteError(name="mae")]

    def check_labels(self, labels, outputs):
        super().check_labels(labels, outputs)
        one = self.units == 1
        check_label_shape(self, labels, [(), (1,)] if one else [(self.units,)])

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "target_mean": self.target_mean,
            "target_std": self.target_std,
        }

    @property
    def _identity(self):
        return self.target_mean == 0.0 and self.target_std == 1.0

    @staticmethod
    def _as(reference, value):
        return ops.convert_to_tensor(value, dtype=reference.dtype)
