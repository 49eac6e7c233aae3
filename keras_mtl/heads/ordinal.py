"""Head for classes that have an order, such as star ratings."""

import keras
from keras import ops

from keras_mtl.heads.head import (
    Head,
    check_label_names,
    check_label_shape,
    in_range,
    output_dtype,
    registry,
)
from keras_mtl.layers import OrderedThresholds
from keras_mtl.utils.checks import check_count
from keras_mtl.utils.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mtl")
class OrdinalCrossentropy(keras.losses.Loss):
    """Mean binary cross-entropy of the questions "is the class above k?".

    Call arguments:
        y_true: Class indices of shape `(batch,)`.
        y_pred: Logits of shape `(batch, num_classes - 1)`.

    Reference:
        - [Cao et al., 2020](https://arxiv.org/abs/1901.07884), equation 4 with
          equal importance of the thresholds, divided by their number.
    """

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        thresholds = ops.arange(y_pred.shape[-1], dtype=y_true.dtype)
        above = ops.cast(ops.expand_dims(y_true, -1) > thresholds, y_pred.dtype)
        values = (
            keras.ops.relu(y_pred) - y_pred * above + ops.softplus(-ops.abs(y_pred))
        )
        return ops.mean(values, axis=-1)


@registry.register("ordinal")
class Ordinal(Head):
    """Ordered classes; raw outputs are logits of "above class k".

    Raw outputs have shape `(batch, num_classes - 1)` and never increase along
    the classes. Labels are class indices of shape `(batch,)` or `(batch, 1)`.

    Args:
        num_classes: Integer, at least 3 (two classes: `BinaryClassification`).
        label_names: Optional names of the classes, lowest first.
        **kwargs: `hidden_units`, `activation`, `dropout` of `Head`.

    Reference:
        - [McCullagh, 1980](https://doi.org/10.1111/j.2517-6161.1980.tb01109.x)
    """

    likelihood = "categorical"

    def __init__(
        self, num_classes: int, *, label_names: list[str] | None = None, **kwargs
    ):
        super().__init__(**kwargs)
        self.num_classes = check_count("num_classes", num_classes, 3)
        self.label_names = check_label_names(label_names, num_classes)

    def connect(self, feature, extra_inputs, name):
        score = keras.layers.Dense(
            1, use_bias=False, name=f"{name}_score", dtype=output_dtype()
        )(self.hidden(feature, name))
        return OrderedThresholds(
            self.num_classes - 1, name=f"{name}_output", dtype=output_dtype()
        )(score)

    def prepare_labels(self, labels: Tensor) -> Tensor:
        return ops.squeeze(labels, axis=-1) if len(labels.shape) == 2 else labels

    def labels_in_range(self, labels: Tensor) -> Tensor | None:
        return in_range(labels, self.num_classes - 1)

    def activate(self, outputs: Tensor) -> Tensor:
        """Class probabilities of shape `(batch, num_classes)`."""
        above = ops.sigmoid(outputs)
        ones = ops.ones_like(above[:, :1])
        return ops.concatenate([ones, above], -1) - ops.concatenate(
            [above, ops.zeros_like(ones)], -1
        )

    def serving(self, outputs: Tensor) -> dict[str, Tensor]:
        probabilities = self.activate(outputs)
        return {
            "probabilities": probabilities,
            "label": ops.cast(ops.argmax(probabilities, axis=-1), "int32"),
            "expected": ops.sum(ops.sigmoid(outputs), axis=-1),
        }

    def default_loss(self):
        return OrdinalCrossentropy()

    def default_metrics(self):
        return [self.accuracy()]

    def accuracy(self):
        return keras.metrics.SparseCategoricalAccuracy(name="accuracy")

    def check_labels(self, labels, outputs):
        super().check_labels(labels, outputs)
        check_label_shape(self, labels, [(), (1,)])

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "label_names": self.label_names,
        }
