"""How much arithmetic a model takes."""

from typing import Any

import keras
import tensorflow as tf


def forward_flops(model: keras.Model) -> int:
    """Floating-point operations of one forward pass of one example.

    Counted by TensorFlow's profiler on the traced graph; a multiplication and an
    addition count as two.

    Args:
        model: A built functional model.

    Example:
    >>> inputs = keras.Input((3,))
    >>> forward_flops(keras.Model(inputs, keras.layers.Dense(5)(inputs)))
    35
    """
    return _counted(lambda x: model(x, training=False), model.input)


def call_flops(operation: Any, node: Any) -> int:
    """Floating-point operations of one call in a functional model, for one example.

    Args:
        operation: A Keras layer or operation.
        node: The node of Keras' graph that holds the arguments of the call.
    """

    def call(values):
        made = dict(zip(map(id, node.input_tensors), values, strict=True))
        args, kwargs = node.arguments.fill_in(made)
        return operation(*args, **kwargs)

    return _counted(call, list(node.input_tensors))


def training_flops(model: keras.Model, examples: int, backward_passes: int = 1) -> int:
    """Estimate for training: a backward pass counts as two forward passes.

    Args:
        model: A built functional model.
        examples: Number of examples seen, all steps together.
        backward_passes: Per step; the number of tasks when a balancer is set.
    """
    return examples * forward_flops(model) * (1 + 2 * backward_passes)


def _counted(function, like):
    """Operations of a function of tensors shaped `like` these, with one example."""

    def spec(tensor):
        return tf.TensorSpec([size or 1 for size in tensor.shape], tensor.dtype)

    specs = keras.tree.map_structure(spec, like)
    traced = tf.function(function, autograph=False).get_concrete_function(specs)
    # The profiler of TensorFlow 1 is the only one that counts; it warns of its age.
    level = tf.get_logger().level
    tf.get_logger().setLevel("ERROR")
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    counted = tf.compat.v1.profiler.profile(traced.graph, cmd="scope", options=options)
    tf.get_logger().setLevel(level)
    return int(counted.total_float_ops)
