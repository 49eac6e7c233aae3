"""Loss against what another model predicts."""

import keras
from keras import ops

from keras_mtl.utils.checks import check_positive
from keras_mtl.utils.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mtl")
class DistillationLoss(keras.losses.Loss):
    """Cross-entropy with another model's probabilities, both softened.

        t = y_true^(1/T) / Σ y_true^(1/T),   p = softmax(y_pred / T)
        loss = −T² Σ t log p

    For a `Classification` head with `one_hot=True`, whose labels are probabilities;
    `keras_mtl.data.distilled` makes them. With `temperature=1` it is the head's own
    loss. The factor T² keeps the size of the gradient, as Hinton et al. recommend.

    Args:
        temperature: Number above 0; the higher, the more the classes count that the
            other model finds unlikely.
        name: Name of the loss.

    Call arguments:
        y_true: Probabilities `(batch, num_classes)`.
        y_pred: Logits of that shape.

    Raises:
        ValueError: For a temperature that is not above 0.

    Example:
    >>> import keras_mtl as mtl
    >>> loss = mtl.heads.DistillationLoss(temperature=2.0)
    >>> round(float(loss([[0.5, 0.5]], [[1.0, 1.0]])), 4)  # 2² log 2
    2.7726

    Reference:
        - [Hinton et al., 2015](https://arxiv.org/abs/1503.02531), section 2.
        - [Li & Hoiem, 2016](https://arxiv.org/abs/1606.09282), equations 2 and 3,
          there without T².
    """

    def __init__(
        self, temperature: float = 2.0, *, name: str = "distillation", **kwargs
    ):
        super().__init__(name=name, **kwargs)
        self.temperature = check_positive("temperature", temperature)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        y_pred = ops.convert_to_tensor(y_pred)
        softened = ops.power(y_true, 1.0 / self.temperature)
        total = ops.sum(softened, axis=-1, keepdims=True)
        # A row without a label is all zeros.
        targets = softened / ops.where(total > 0, total, ops.ones_like(total))
        log_probabilities = ops.log_softmax(y_pred / self.temperature, axis=-1)
        return -(self.temperature**2) * ops.sum(targets * log_probabilities, axis=-1)

    def get_config(self) -> dict:
        return {**super().get_config(), "temperature": self.temperature}
