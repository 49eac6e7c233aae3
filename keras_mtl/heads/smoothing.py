"""Label smoothing for classes that are given by their index."""

import keras
from keras import ops

from keras_mtl.utils.checks import check_share
from keras_mtl.utils.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mtl")
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy with labels that are not quite sure.

        loss = −(1 − ε) log p[y_true] − ε / K Σ log p,   p = softmax(y_pred)

    As `keras.losses.CategoricalCrossentropy(label_smoothing=ε)`, but of class indices,
    which a `Classification` head has. Give it to the task that shall be smoothed:
    `Task("kind", head, loss=SmoothedCrossentropy(0.1))`. Other heads take the losses of
    Keras: `BinaryCrossentropy(from_logits=True, label_smoothing=0.1)`.

    Args:
        label_smoothing: The share `ε` of a label that all classes get, from 0 to 1.
        name: Name of the loss.

    Call arguments:
        y_true: Class indices of shape `(batch,)`.
        y_pred: Logits of shape `(batch, num_classes)`.

    Raises:
        ValueError: For a share below 0 or above 1.

    Example:
    >>> import keras_mtl as mtl
    >>> loss = mtl.heads.SmoothedCrossentropy(1.0)
    >>> round(float(loss([0], [[5.0, 5.0]])), 4)  # log 2
    0.6931

    Reference:
        - [Szegedy et al., 2016](https://arxiv.org/abs/1512.00567), section 7.
    """

    def __init__(
        self, label_smoothing: float = 0.1, *, name: str = "smoothed", **kwargs
    ):
        super().__init__(name=name, **kwargs)
        self.label_smoothing = check_share("label_smoothing", label_smoothing)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        log_p = ops.log_softmax(y_pred, axis=-1)
        index = ops.expand_dims(ops.cast(y_true, "int32"), -1)
        of_label = ops.squeeze(ops.take_along_axis(log_p, index, axis=-1), -1)
        of_all = ops.mean(log_p, axis=-1)
        share = self.label_smoothing
        return -(1.0 - share) * of_label - share * of_all

    def get_config(self) -> dict:
        return {**super().get_config(), "label_smoothing": self.label_smoothing}
