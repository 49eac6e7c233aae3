"""The optimizer's update: with a learning rate per part, and in one operation."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_mtl.utils.types import Tensor


@contextlib.contextmanager
def adjusted_update(
    optimizer: keras.optimizers.Optimizer,
    *,
    fused: bool = False,
    multipliers: list[float] | None = None,
) -> Iterator[None]:
    """Changes how an optimizer updates a variable, within the block.

    Args:
        optimizer: The optimizer, built.
        fused: Whether Adam's and AdamW's update of a variable is one operation. Keras
            writes it as a dozen, each of which reads and writes all entries. The
            formula, the variables and so the saved state are the same; in float32
            the results differ by about 1e-5 of the update, since TensorFlow takes
            `1 - beta_2` of a rounded `beta_2`. Other optimizers, and gradients that
            are not dense, are left to Keras.
        multipliers: A factor of the learning rate, weight decay included, for each of
            the variables that the optimizer was built with, in their order.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    kind = type(optimizer)
    fused = fused and _can_be_fused(optimizer)
    if not fused and multipliers is None:
        yield
        return

    def factor(variable):
        index = optimizer._get_variable_index(variable)
        return 1.0 if multipliers is None else multipliers[index]

    def update_step(gradient, variable, learning_rate):
        if factor(variable) != 1.0:
            learning_rate = learning_rate * factor(variable)
        if fused and not isinstance(gradient, tf.IndexedSlices):
            _adam(optimizer, gradient, variable, learning_rate)
        else:
            kind.update_step(optimizer, gradient, variable, learning_rate)

    def apply_weight_decay(variables):
        groups: dict[float, list] = {}
        for variable in variables:
            groups.setdefault(factor(variable), []).append(variable)
        for value, group in groups.items():
            scaled: Any = _ScaledDecay(optimizer, value)
            kind._apply_weight_decay(scaled, group)

    optimizer.update_step = update_step
    if multipliers is not None:
        optimizer._apply_weight_decay = apply_weight_decay
    try:
        yield
    finally:
        # The threads of replicas share the optimizer: the first is done for all.
        optimizer.__dict__.pop("update_step", None)
        optimizer.__dict__.pop("_apply_weight_decay", None)


class _ScaledDecay:
    """An optimizer as its method for weight decay sees it, with less of it."""

    def __init__(self, optimizer, factor):
        self._optimizer, self._factor = optimizer, factor

    def __getattr__(self, name):
        return getattr(self._optimizer, name)

    @property
    def weight_decay(self):
        decay = self._optimizer.weight_decay
        return None if decay is None else decay * self._factor


def _can_be_fused(optimizer):
    plain = keras.optimizers.Adam.update_step
    return type(optimizer).update_step is plain and not optimizer.amsgrad


def _adam(
    optimizer: keras.optimizers.Adam,
    gradient: Tensor,
    variable: tf.Variable,
    learning_rate: Tensor,
) -> None:
    dtype = variable.dtype
    index = optimizer._get_variable_index(variable)
    step = tf.cast(optimizer.iterations + 1, dtype)
    # As Keras has it, which rounds the powers' bases to float32, but not the betas.
    powers = [
        tf.pow(ops.cast(b, dtype), step) for b in (optimizer.beta_1, optimizer.beta_2)
    ]
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=optimizer._momentums[index].value.handle,
        v=optimizer._velocities[index].value.handle,
        beta1_power=powers[0],
        beta2_power=powers[1],
        lr=tf.cast(learning_rate, dtype),
        beta1=tf.constant(optimizer.beta_1, dtype),
        beta2=tf.constant(optimizer.beta_2, dtype),
        epsilon=tf.constant(optimizer.epsilon, dtype),
        grad=tf.cast(gradient, dtype),
    )
