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
    decay_multipliers: list[float] | None = None,
    moving: list[Tensor | None] | None = None,
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
        decay_multipliers: The same of the weight decay alone.
        moving: For each of these variables a boolean scalar, whether it and what the
            optimizer remembers of it change at all; `None` means that they do.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    kind = type(optimizer)
    fused = fused and _can_be_fused(optimizer)
    by_variable = (multipliers, decay_multipliers, moving)
    changed = any(values is not None for values in by_variable)
    if not fused and not changed:
        yield
        return

    def entry(values, variable, otherwise=None):
        if values is None:
            return otherwise
        return values[optimizer._get_variable_index(variable)]

    def update_step(gradient, variable, learning_rate):
        factor = entry(multipliers, variable, 1.0)
        if factor != 1.0:
            learning_rate = learning_rate * factor
        if fused and not isinstance(gradient, tf.IndexedSlices):
            _adam(optimizer, gradient, variable, learning_rate)
        else:
            kind.update_step(optimizer, gradient, variable, learning_rate)

    def update_where_moving(gradient, variable, learning_rate):
        moves = entry(moving, variable)
        if moves is None:
            update_step(gradient, variable, learning_rate)
            return

        def update():
            update_step(gradient, variable, learning_rate)
            return tf.constant(0)

        tf.cond(moves, update, lambda: tf.constant(0))

    def apply_weight_decay(variables):
        groups: dict[tuple, tuple] = {}
        for variable in variables:
            factor = entry(multipliers, variable, 1.0)
            factor *= entry(decay_multipliers, variable, 1.0)
            moves = entry(moving, variable)
            group = groups.setdefault((factor, id(moves)), (factor, moves, []))
            group[-1].append(variable)
        for factor, moves, group in groups.values():
            if moves is not None:
                factor = factor * tf.cast(moves, keras.config.floatx())
            scaled: Any = _ScaledDecay(optimizer, factor)
            kind._apply_weight_decay(scaled, group)

    optimizer.update_step = update_where_moving
    if changed:
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
