"""Head for one axis-parallel box per example."""

import keras
from keras import layers, ops

from keras_mtl.heads.head import Head, check_label_shape, output_dtype, registry
from keras_mtl.utils.checks import check_non_negative
from keras_mtl.utils.types import Tensor

_SMALLEST_AREA = 1e-7


def _areas(a, b):
    """Areas of intersection, union and enclosing box; shapes `(…, 4)` to `(…,)`."""

    def area(low, high):
        size = ops.maximum(high - low, 0.0)
        return size[..., 0] * size[..., 1]

    a_low, a_high, b_low, b_high = a[..., :2], a[..., 2:], b[..., :2], b[..., 2:]
    overlap = area(ops.maximum(a_low, b_low), ops.minimum(a_high, b_high))
    union = area(a_low, a_high) + area(b_low, b_high) - overlap
    hull = area(ops.minimum(a_low, b_low), ops.maximum(a_high, b_high))
    return overlap, union, hull


def intersection_over_union(boxes: Tensor, others: Tensor) -> Tensor:
    """Overlap of boxes in corners `(…, 4)`, from 0 to 1, of shape `(…,)`.

    Example:
    >>> a = ops.array([[0.0, 0.0, 2.0, 2.0]])
    >>> b = ops.array([[1.0, 0.0, 3.0, 2.0]])
    >>> ops.convert_to_numpy(intersection_over_union(a, b)).round(4)
    array([0.3333], dtype=float32)
    """
    overlap, union, _ = _areas(boxes, others)
    return overlap / ops.maximum(union, _SMALLEST_AREA)


@keras.saving.register_keras_serializable(package="keras_mtl")
class BoxLoss(keras.losses.Loss):
    """Generalised IoU loss plus the mean absolute difference of the corners.

    `1 - GIoU + l1_weight * mean |y_true - y_pred|`, where `GIoU = IoU - (hull -
    union) / hull` still has a slope when the boxes do not touch.

    Args:
        l1_weight: Number `>= 0`, weight of the corner term.
        **kwargs: `name`, `reduction`, `dtype` of `keras.losses.Loss`.

    Call arguments:
        y_true: Boxes as corners `x1, y1, x2, y2`, shape `(batch, 4)`.
        y_pred: The same.

    Reference:
        - [Rezatofighi et al., 2019](https://arxiv.org/abs/1902.09630), Algorithm 2.
    """

    def __init__(self, l1_weight: float = 1.0, name: str = "box_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.l1_weight = check_non_negative("l1_weight", l1_weight)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        overlap, union, hull = _areas(y_true, y_pred)
        union = ops.maximum(union, _SMALLEST_AREA)
        hull = ops.maximum(hull, _SMALLEST_AREA)
        generalised = overlap / union - (hull - union) / hull
        corners = ops.mean(ops.abs(y_true - y_pred), axis=-1)
        return 1.0 - generalised + self.l1_weight * corners

    def get_config(self):
        return {**super().get_config(), "l1_weight": self.l1_weight}


@keras.saving.register_keras_serializable(package="keras_mtl")
class BoxIoU(keras.metrics.MeanMetricWrapper):
    """Mean intersection over union of predicted and true boxes."""

    def __init__(self, name: str = "iou", dtype=None):
        super().__init__(fn=intersection_over_union, name=name, dtype=dtype)

    def get_config(self):
        return {"name": self.name, "dtype": self.dtype}


@registry.register("bounding_box")
class BoundingBox(Head):
    """One box per example; raw outputs are normalised corners `(batch, 4)`.

    Boxes are `x1, y1, x2, y2` as shares of width and height, and `x1 <= x2`,
    `y1 <= y2` always hold: the output layer gives the centre and the size, each
    through a sigmoid. Labels have the same form.

    Args:
        image_size: Optional `(width, height)`; the served box then comes in
            pixels as well.
        **kwargs: `hidden_units`, `activation`, `dropout` of `Head`.
    """

    def __init__(self, *, image_size: tuple[int, int] | None = None, **kwargs):
        super().__init__(**kwargs)
        self.image_size = None if image_size is None else tuple(image_size)

    def connect(self, feature, extra_inputs, name):
        centre_and_size = layers.Activation(
            "sigmoid", name=f"{name}_centre_and_size", dtype=output_dtype()
        )(self.logits(feature, 4, name))
        return Corners(name=f"{name}_corners", dtype=output_dtype())(centre_and_size)

    def serving(self, outputs: Tensor) -> dict[str, Tensor]:
        served = {"box": ops.clip(outputs, 0.0, 1.0)}
        if self.image_size is not None:
            size = ops.convert_to_tensor(2 * self.image_size, dtype=outputs.dtype)
            served["pixels"] = served["box"] * size
        return served

    def default_loss(self):
        return BoxLoss()

    def default_metrics(self):
        return [BoxIoU()]

    def check_labels(self, labels, outputs):
        super().check_labels(labels, outputs)
        check_label_shape(self, labels, [(4,)])

    def get_config(self):
        return {**super().get_config(), "image_size": self.image_size}


@keras.saving.register_keras_serializable(package="keras_mtl")
class Corners(layers.Layer):
    """From centre and size `x, y, width, height` to corners `x1, y1, x2, y2`."""

    def call(self, inputs: Tensor) -> Tensor:
        centre, half = inputs[..., :2], inputs[..., 2:] / 2.0
        return ops.concatenate([centre - half, centre + half], axis=-1)

    def compute_output_shape(self, input_shape):
        return input_shape
