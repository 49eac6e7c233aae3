"""The contract of a head: from a feature to the output of one task."""

from typing import Any

import keras
from keras import layers, ops

from keras_mtl.utils.checks import check_count
from keras_mtl.utils.registry import Registry
from keras_mtl.utils.types import Tensor

registry = Registry("head")


def output_dtype() -> str:
    """Dtype of raw outputs: that of the variables, so never half precision."""
    return keras.config.dtype_policy().variable_dtype


class Head:
    """Maps one feature of the backbone to the raw outputs of a task.

    Raw outputs are what the loss sees (logits, scaled values, boxes). A head holds
    configuration only: `connect` makes the layers, in the functional model that
    `build_model` assembles.

    Args:
        hidden_units: Widths of the dense layers before the output layer.
        activation: Activation of those layers.
        dropout: Dropout rate after each of them.

    Attributes:
        feature: Name of the feature that the head prefers.
        feature_rank: Rank of that feature, the batch included.
        needs_label: Whether the task has labels at all.
        labels_per_element: Whether every entry of a label vector counts as a
            label of its own (a vector with some entries missing is then used
            for the others).
        likelihood: `"gaussian"` or `"categorical"`: whether the default loss is
            that of a real value or of a class (uncertainty weighting asks).
        label_names: Names of the classes, or `None`.
        unlabelled: What the loss sees in the place of a label that is not there, or
            `None` for 0. What the loss gives there is left out anyway; a loss that
            compares several labels has to know.
        other_feature: Name of a second feature, which `connect` then finds under this
            name in `extra_inputs`, or `None`.
        after: Name of another task, whose raw outputs `connect` then finds under
            this name in `extra_inputs`, or `None`.
    """

    feature = "pooled"
    feature_rank = 2
    needs_label = True
    labels_per_element = False
    likelihood = "gaussian"
    label_names: list[str] | None = None
    unlabelled: float | None = None
    other_feature: str | None = None
    after: str | None = None

    def __init__(
        self,
        *,
        hidden_units: tuple[int, ...] = (),
        activation: str = "relu",
        dropout: float = 0.0,
    ):
        for units in hidden_units:
            check_count("hidden_units", units)
        self.hidden_units = tuple(hidden_units)
        self.activation = activation
        self.dropout = dropout

    def extra_inputs(self, name: str) -> dict[str, Any]:
        """Inputs that the backbone need not have, as a dict of `keras.Input`.

        An input that the model has already under this name, of the same dtype and a
        shape that fits, takes the place of the one given here.
        """
        return {}

    def connect(
        self, feature: Tensor, extra_inputs: dict[str, Tensor], name: str
    ) -> Tensor:
        """Raw outputs from a feature of shape `(batch, width)`.

        Layers are named `"<name>_<part>"`.
        """
        raise NotImplementedError

    def check_earlier(self, head: "Head") -> None:
        """Raises a `ValueError` if the head of the task `after` cannot be used."""

    def prepare_labels(self, labels: Tensor) -> Tensor:
        """Labels in the shape that loss and metrics expect."""
        return labels

    def own_labels(self, outputs: Tensor) -> Tensor:
        """Labels where the batch has none, if the head does not need any."""
        return ops.zeros((ops.shape(outputs)[0],), dtype=outputs.dtype)

    def labels_in_range(self, labels: Tensor) -> Tensor | None:
        """Which prepared labels can be right; `None` where all numbers can.

        One that cannot makes the task's loss NaN, on every device alike: see
        `BalancingOptions.on_nonfinite`.

        Returns:
            Boolean tensor of the labels' shape, or `None`.
        """
        return None

    def encode_labels(self, labels: Tensor) -> Tensor:
        """Prepared labels in the units of the raw outputs, for the loss."""
        return labels

    def class_indices(self, labels: Tensor) -> Tensor:
        """Class of every prepared label, for the task's `class_weight`."""
        if len(labels.shape) > 1 and labels.shape[-1] != 1:
            return ops.argmax(labels, axis=-1)
        return ops.cast(ops.reshape(labels, (-1,)), "int32")

    def activate(self, outputs: Tensor) -> Tensor:
        """What the metrics see."""
        return outputs

    def served(self, outputs: Tensor) -> Any:
        """What `serving` takes, as symbolic tensors of the functional model.

        The raw outputs, unless these need inputs that there are not when the model
        serves: then what can be made without them, with the layers of `connect`.

        Args:
            outputs: What `connect` gave, or the same of a loaded model.
        """
        return outputs

    def serving(self, outputs: Any) -> dict[str, Tensor]:
        """What a user of the exported model sees: a dict of named tensors."""
        raise NotImplementedError

    def default_loss(self) -> keras.losses.Loss:
        """Loss on the raw outputs."""
        raise NotImplementedError

    def default_metrics(self) -> list[keras.metrics.Metric]:
        """Metrics on the activated outputs."""
        return []

    def accuracy(self) -> keras.metrics.Metric:
        """The metric that the name `"accuracy"` stands for."""
        raise ValueError(
            f"`metrics=['accuracy']` has no meaning for {type(self).__name__}. "
            "Expected a metric of real values, such as 'mae'"
        )

    def check_labels(self, labels: Tensor, outputs: Tensor) -> None:
        """Raises a `ValueError` if the labels' dtype or shape cannot be right."""
        kind = keras.backend.standardize_dtype(labels.dtype)
        if kind == "string":
            raise ValueError(
                f"Expected labels of {type(self).__name__} to be numbers. "
                f"Received: dtype={kind}. Map the strings to indices first, for "
                "example with `keras.layers.StringLookup`"
            )

    def hidden(self, feature: Tensor, name: str) -> Tensor:
        """The dense layers before the output layer."""
        x = feature
        for index, units in enumerate(self.hidden_units):
            x = layers.Dense(
                units, activation=self.activation, name=f"{name}_hidden_{index}"
            )(x)
            if self.dropout:
                x = layers.Dropout(self.dropout, name=f"{name}_dropout_{index}")(x)
        return x

    def logits(self, feature: Tensor, units: int, name: str) -> Tensor:
        """Hidden layers and a linear output layer."""
        x = self.hidden(feature, name)
        return layers.Dense(units, name=f"{name}_output", dtype=output_dtype())(x)

    def get_config(self) -> dict:
        """Arguments that rebuild this head."""
        return {
            "hidden_units": list(self.hidden_units),
            "activation": self.activation,
            "dropout": self.dropout,
        }

    @classmethod
    def from_config(cls, config: dict) -> "Head":
        return cls(**config)


def check_label_shape(head: Head, labels: Tensor, expected: list[tuple]) -> None:
    """Raises unless the labels' shape is one of `expected` (batch left out)."""
    shape = tuple(labels.shape[1:])
    known = None not in shape
    if known and shape not in expected:
        wanted = " or ".join(str(("batch", *rest)) for rest in expected)
        raise ValueError(
            f"Expected labels of {type(head).__name__} to have shape {wanted}. "
            f"Received: shape={tuple(labels.shape)}"
        )


def in_range(labels: Tensor, highest: int) -> Tensor:
    """Which labels are from 0 to `highest`; mixed labels may be off by rounding."""
    slack = 1e-3 if "float" in keras.backend.standardize_dtype(labels.dtype) else 0
    return ops.logical_and(labels >= -slack, labels <= highest + slack)


def check_label_names(names: list[str] | None, num_classes: int) -> list[str] | None:
    """The names as strings, one per class, or `None`."""
    if names is not None and len(names) != num_classes:
        raise ValueError(
            f"Expected `label_names` to hold one name per class ({num_classes}). "
            f"Received: {len(names)} names"
        )
    return None if names is None else [str(name) for name in names]
