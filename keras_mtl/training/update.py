"""The optimizer's update, in one operation where TensorFlow has it."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf
from keras import ops

from keras_mtl.utils.types import Tensor


@contextlib.contextmanager
def fused_update(optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Within the block, Adam's and AdamW's update of a variable is one operation.

    Keras writes the update as a dozen operations, each of which reads and writes
    all entries. The formula, the variables and so the saved state are the same; in
    float32 the results differ by about 1e-5 of the update, since TensorFlow takes
    `1 - beta_2` of a rounded `beta_2`. Other optimizers, and gradients that are not
    dense, are left to Keras.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    plain = keras.optimizers.Adam.update_step
    if type(optimizer).update_step is not plain or optimizer.amsgrad:
        yield
        return

    def update_step(gradient, variable, learning_rate):
        if isinstance(gradient, tf.IndexedSlices):
            plain(optimizer, gradient, variable, learning_rate)
        else:
            _adam(optimizer, gradient, variable, learning_rate)

    optimizer.update_step = update_step
    try:
        yield
    finally:
        # The threads of replicas share the optimizer: the first is done for all.
        optimizer.__dict__.pop("update_step", None)


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
