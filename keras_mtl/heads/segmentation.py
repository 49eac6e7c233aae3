"""Head for one class per pixel."""

import keras
from keras import ops

from keras_mtl.heads.dense import check_output_size, decoded
from keras_mtl.heads.head import (
    Head,
    check_label_names,
    check_label_shape,
    in_range,
    registry,
)
from keras_mtl.utils.checks import check_count
from keras_mtl.utils.types import Tensor


@registry.register("segmentation")
class Segmentation(Head):
    """One of several classes per pixel; raw outputs are logits.

    They have shape `(batch, height, width, num_classes)`. Labels are class indices of
    shape `(batch, height, width)`, or with a last axis of 1. A pixel without a label
    has the value `Task.missing` (the "ignore label", often 255), or is False in the
    mask beside the labels; loss and metrics run over the others. The default metric
    is the mean IoU: per class the pixels in common over those in either, averaged
    over the classes that occur.

    Served are `"probabilities"` and the class map `"label"`.

    Args:
        num_classes: Integer, at least 2.
        output_size: `(height, width)` of the labels, in pixels.
        label_names: Optional names of the classes (kept beside the export).
        **kwargs: `hidden_units` (channels of the decoder's 3×3 convolutions, each of
            which works at twice the resolution of the one before), `activation`,
            `dropout` of `Head`.

    Example:
    >>> import keras_mtl as mtl
    >>> head = mtl.heads.Segmentation(5, (48, 48), hidden_units=(16,))
    >>> task = mtl.Task("surface", head, missing=255)
    >>> net = mtl.backbones.ConvNet(input_shape=(48, 48, 3), filters=(8, 16))
    >>> mtl.build_model(net, [task]).output["surface"].shape
    (None, 48, 48, 5)

    Reference:
        - [Long et al., 2015](https://arxiv.org/abs/1411.4038): a linear layer per
          pixel, and bilinear upsampling of the logits.
    """

    feature = "map"
    feature_rank = 4
    likelihood = "categorical"

    def __init__(
        self,
        num_classes: int,
        output_size: tuple[int, int],
        *,
        label_names: list[str] | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_classes = check_count("num_classes", num_classes, 2)
        self.output_size = check_output_size(output_size)
        self.label_names = check_label_names(label_names, num_classes)

    def connect(self, feature, extra_inputs, name):
        return decoded(self, feature, self.num_classes, self.output_size, name)

    def prepare_labels(self, labels: Tensor) -> Tensor:
        return ops.squeeze(labels, axis=-1) if len(labels.shape) == 4 else labels

    def class_indices(self, labels: Tensor) -> Tensor:
        return ops.cast(labels, "int32")

    def labels_in_range(self, labels: Tensor) -> Tensor | None:
        return in_range(labels, self.num_classes - 1)

    def activate(self, outputs: Tensor) -> Tensor:
        return ops.softmax(outputs)

    def serving(self, outputs: Tensor) -> dict[str, Tensor]:
        label = ops.cast(ops.argmax(outputs, axis=-1), "int32")
        return {"probabilities": self.activate(outputs), "label": label}

    def default_loss(self):
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def default_metrics(self):
        # Keras' default dtype here is an integer, which cuts weights off.
        return [
            keras.metrics.MeanIoU(
                self.num_classes,
                sparse_y_pred=False,
                name="mean_iou",
                dtype=keras.config.floatx(),
            )
        ]

    def accuracy(self):
        return keras.metrics.SparseCategoricalAccuracy(name="accuracy")

    def check_labels(self, labels, outputs):
        super().check_labels(labels, outputs)
        size = self.output_size
        check_label_shape(self, labels, [size, (*size, 1)])

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "output_size": list(self.output_size),
            "label_names": self.label_names,
        }
