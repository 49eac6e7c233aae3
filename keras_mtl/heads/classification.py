"""Heads for classes: one of many, yes or no, and any number of many."""

import keras
import tensorflow as tf
from keras import ops

from keras_mtl.heads.head import (
    Head,
    check_label_names,
    check_label_shape,
    in_range,
    registry,
)
from keras_mtl.utils.checks import check_count
from keras_mtl.utils.types import Tensor


@registry.register("classification")
class Classification(Head):
    """One of several classes; raw outputs are logits `(batch, num_classes)`.

    Labels are class indices of shape `(batch,)` or `(batch, 1)`, or, with
    `one_hot=True`, distributions of shape `(batch, num_classes)`.

    It serves for pairs of texts as well (does the one follow from the other?): let the
    backbone read both as one sequence, as BERT does, or put the features of two passes
    through one encoder beside each other, `[u, v, |u - v|]`, in its `"pooled"`.

    Args:
        num_classes: Integer, at least 2.
        one_hot: Whether labels are distributions instead of indices.
        label_names: Optional names of the classes; served as strings.
        **kwargs: `hidden_units`, `activation`, `dropout` of `Head`.

    Example:
    >>> import keras_mtl as mtl
    >>> head = mtl.heads.Classification(3)
    >>> keras.ops.convert_to_numpy(head.activate(ops.zeros((1, 3)))).round(2)
    array([[0.33, 0.33, 0.33]], dtype=float32)
    """

    likelihood = "categorical"

    def __init__(
        self,
        num_classes: int,
        *,
        one_hot: bool = False,
        label_names: list[str] | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_classes = check_count("num_classes", num_classes, 2)
        self.one_hot = one_hot
        self.label_names = check_label_names(label_names, num_classes)

    def connect(self, feature, extra_inputs, name):
        return self.logits(feature, self.num_classes, name)

    def prepare_labels(self, labels: Tensor) -> Tensor:
        if not self.one_hot and len(labels.shape) == 2:
            return ops.squeeze(labels, axis=-1)
        return labels

    def labels_in_range(self, labels: Tensor) -> Tensor | None:
        return None if self.one_hot else in_range(labels, self.num_classes - 1)

    def activate(self, outputs: Tensor) -> Tensor:
        return ops.softmax(outputs)

    def serving(self, outputs: Tensor) -> dict[str, Tensor]:
        index = ops.argmax(outputs, axis=-1)
        if self.label_names is None:
            label = ops.cast(index, "int32")
        else:
            label = tf.gather(tf.constant(self.label_names), index)
        return {"probabilities": self.activate(outputs), "label": label}

    def default_loss(self):
        if self.one_hot:
            return keras.losses.CategoricalCrossentropy(from_logits=True)
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def default_metrics(self):
        return [self.accuracy()]

    def accuracy(self):
        if self.one_hot:
            return keras.metrics.CategoricalAccuracy(name="accuracy")
        return keras.metrics.SparseCategoricalAccuracy(name="accuracy")

    def check_labels(self, labels, outputs):
        super().check_labels(labels, outputs)
        expected = [(self.num_classes,)] if self.one_hot else [(), (1,)]
        check_label_shape(self, labels, expected)

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "one_hot": self.one_hot,
            "label_names": self.label_names,
        }


@registry.register("binary_classification")
class BinaryClassification(Head):
    """Yes or no; raw outputs are logits `(batch, 1)`.

    Labels are 0 or 1, of shape `(batch,)` or `(batch, 1)`. The default metrics
    are accuracy and the area under the ROC curve.

    Args:
        label_names: Optional names of "no" and "yes"; served as strings.
        threshold: Probability from which on the served label is 1.
        **kwargs: `hidden_units`, `activation`, `dropout` of `Head`.
    """

    likelihood = "categorical"

    def __init__(
        self,
        *,
        label_names: list[str] | None = None,
        threshold: float = 0.5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.label_names = check_label_names(label_names, 2)
        self.threshold = threshold

    def connect(self, feature, extra_inputs, name):
        return self.logits(feature, 1, name)

    def prepare_labels(self, labels: Tensor) -> Tensor:
        return labels if len(labels.shape) == 2 else ops.expand_dims(labels, -1)

    def labels_in_range(self, labels: Tensor) -> Tensor | None:
        return in_range(labels, 1)

    def activate(self, outputs: Tensor) -> Tensor:
        return ops.sigmoid(outputs)

    def serving(self, outputs: Tensor) -> dict[str, Tensor]:
        probability = ops.squeeze(self.activate(outputs), axis=-1)
        label = ops.cast(probability >= self.threshold, "int32")
        if self.label_names is not None:
            label = tf.gather(tf.constant(self.label_names), label)
        return {"probability": probability, "label": label}

    def default_loss(self):
        return keras.losses.BinaryCrossentropy(from_logits=True)

    def default_metrics(self):
        return [self.accuracy(), keras.metrics.AUC(name="auc")]

    def accuracy(self):
        return keras.metrics.BinaryAccuracy(name="accuracy", threshold=self.threshold)

    def check_labels(self, labels, outputs):
        super().check_labels(labels, outputs)
        check_label_shape(self, labels, [(), (1,)])

    def get_config(self):
        return {
            **super().get_config(),
            "label_names": self.label_names,
            "threshold": self.threshold,
        }


@registry.register("multi_label_classification")
class MultiLabelClassification(Head):
    """Any number of classes at once; raw outputs are logits `(batch, num_classes)`.

    Labels are 0 or 1 per class, of shape `(batch, num_classes)`. A `NaN` entry
    leaves out that class for that example only.

    Args:
        num_classes: Integer, at least 1.
        label_names: Optional names of the classes (kept beside the export).
        threshold: Probability from which on a class is served as present.
        **kwargs: `hidden_units`, `activation`, `dropout` of `Head`.
    """

    labels_per_element = True
    likelihood = "categorical"

    def __init__(
        self,
        num_classes: int,
        *,
        label_names: list[str] | None = None,
        threshold: float = 0.5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_classes = check_count("num_classes", num_classes)
        self.label_names = check_label_names(label_names, num_classes)
        self.threshold = threshold

    def connect(self, feature, extra_inputs, name):
        return self.logits(feature, self.num_classes, name)

    def labels_in_range(self, labels: Tensor) -> Tensor | None:
        return in_range(labels, 1)

    def activate(self, outputs: Tensor) -> Tensor:
        return ops.sigmoid(outputs)

    def serving(self, outputs: Tensor) -> dict[str, Tensor]:
        probabilities = self.activate(outputs)
        labels = ops.cast(probabilities >= self.threshold, "int32")
        return {"probabilities": probabilities, "labels": labels}

    def default_loss(self):
        return keras.losses.BinaryCrossentropy(from_logits=True)

    def default_metrics(self):
        return [self.accuracy()]

    def accuracy(self):
        return keras.metrics.BinaryAccuracy(name="accuracy", threshold=self.threshold)

    def check_labels(self, labels, outputs):
        super().check_labels(labels, outputs)
        check_label_shape(self, labels, [(self.num_classes,)])

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "label_names": self.label_names,
            "threshold": self.threshold,
        }
