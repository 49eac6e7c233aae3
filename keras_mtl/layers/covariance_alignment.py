"""A loss that draws the covariances of the tasks' features together."""

import keras
from keras import ops

from keras_mtl.utils.checks import check_count, check_decay, check_non_negative
from keras_mtl.utils.types import Tensor

_SMALLEST = 1e-12


@keras.saving.register_keras_serializable(package="keras_mtl")
class CovarianceAlignment(keras.layers.Layer):
    """Passes features on, and in training compares their covariance with the others'.

    One layer for all tasks, called once for each. It remembers a running mean of every
    task's covariance matrix and, at a call for task `t`, adds the loss

        weight * mean over the other tasks j of 1 - <C_t, C_j> / (|C_t| |C_j|)

    with `C_t` of the batch and `C_j` as remembered (no gradient), Frobenius products
    and norms. It is 0 where the matrices are proportional and says nothing about
    their size, so that features are not drawn to zero. Tasks that were not seen yet
    are left out. Under several replicas each compares and remembers what it has seen
    itself: an average over them would interrupt the forward pass, in whose middle
    Keras mixes up the added losses of replicas.

    Args:
        num_tasks: Number of tasks.
        weight: Number `>= 0`.
        momentum: Share of the remembered matrix that stays at every step, `>= 0` and
            `< 1`.

    Call arguments:
        inputs: Tensor of shape `(batch, …, width)`; all axes but the last count as
            examples.
        task: Integer, position of the task.
        training: Whether the loss is added and the memory updated.

    Returns:
        The inputs.
    """

    def __init__(
        self, num_tasks: int, *, weight: float = 1.0, momentum: float = 0.9, **kwargs
    ):
        super().__init__(**kwargs)
        self.num_tasks = check_count("num_tasks", num_tasks)
        self.weight = check_non_negative("weight", weight)
        self.momentum = check_decay("momentum", momentum)
        self.supports_masking = True

    def build(self, input_shape):
        width = input_shape[-1]
        self.covariances = [
            self.add_weight(
                name=f"covariance_{task}",
                shape=(width, width),
                initializer="zeros",
                trainable=False,
                autocast=False,
            )
            for task in range(self.num_tasks)
        ]

    def call(self, inputs: Tensor, task: int, training: bool | None = None) -> Tensor:
        if not training or self.weight == 0:
            return inputs
        memory = self.covariances[task]
        here = _covariance(ops.cast(inputs, memory.dtype))
        others = [
            ops.convert_to_tensor(other)
            for index, other in enumerate(self.covariances)
            if index != task
        ]
        seen = [ops.cast(ops.any(ops.not_equal(c, 0)), here.dtype) for c in others]
        apart = [
            s * (1.0 - _cosine(here, c)) for s, c in zip(seen, others, strict=True)
        ]
        if others:
            self.add_loss(self.weight * sum(apart) / ops.maximum(sum(seen), 1.0))
        before = ops.convert_to_tensor(memory)
        moved = self.momentum * before + (1.0 - self.momentum) * here
        first = ops.all(ops.equal(before, 0))
        memory.assign(ops.stop_gradient(ops.where(first, here, moved)))
        return inputs

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "num_tasks": self.num_tasks,
            "weight": self.weight,
            "momentum": self.momentum,
        }


def _covariance(x):
    flat = ops.reshape(x, (-1, x.shape[-1]))
    centred = flat - ops.mean(flat, axis=0, keepdims=True)
    rows = ops.cast(ops.shape(flat)[0], x.dtype)
    return ops.matmul(ops.transpose(centred), centred) / rows


def _cosine(a, b):
    squares = ops.sum(a * a) * ops.sum(b * b)
    return ops.sum(a * b) / ops.sqrt(ops.maximum(squares, _SMALLEST))
