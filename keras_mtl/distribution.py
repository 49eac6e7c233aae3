"""What the step needs of `tf.distribute`, and strategies by name."""

import contextlib
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_mtl.utils.types import Tensor


def strategy(
    identifier: str | tf.distribute.Strategy = "auto",
) -> tf.distribute.Strategy:
    """The distribution strategy that `identifier` stands for.

    Build and compile the model inside its scope; `fit` does the rest.

    Args:
        identifier: `"auto"` (all GPUs of this machine if there are several, the one
            GPU or the CPU otherwise), `"mirrored"` (all GPUs, or all logical CPUs
            where there is no GPU), `"default"` (one device), or a strategy, which
            is returned as it is.

    Raises:
        ValueError: For another name.

    Example:
    >>> strategy("default").num_replicas_in_sync
    1
    """
    if isinstance(identifier, tf.distribute.Strategy):
        return identifier
    gpus = tf.config.list_logical_devices("GPU")
    if identifier == "default" or (identifier == "auto" and len(gpus) < 2):
        return tf.distribute.get_strategy()
    if identifier in ("auto", "mirrored"):
        devices = gpus or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    raise ValueError(
        "Expected `strategy` to be 'auto', 'mirrored', 'default' or a "
        f"tf.distribute.Strategy. Received: strategy={identifier!r}"
    )


def num_replicas() -> int:
    """Number of replicas that share the global batch; 1 without a strategy."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def all_reduce_sum(tensors: list[Tensor]) -> list[Tensor]:
    """Sums of the tensors over all replicas; the tensors as they are on one."""
    context = tf.distribute.get_replica_context()
    if num_replicas() == 1 or context is None or not tensors:
        return tensors
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tensors)


def apply_reduced_gradients(
    optimizer: keras.optimizers.Optimizer, gradients: list, variables: list
) -> None:
    """Updates variables with gradients that are summed over the replicas already.

    Keras clips, and tests for overflow, before it sums over replicas, which makes
    both depend on their number. So the step sums first, and here the optimizer is
    kept from summing again.
    """
    with contextlib.ExitStack() as stack:
        if num_replicas() > 1:
            inner = getattr(optimizer, "inner_optimizer", optimizer)
            stack.enter_context(_without_reduction(inner))
        optimizer.apply(gradients, variables)


@contextlib.contextmanager
def _without_reduction(optimizer):
    # The only private name of Keras that distribution touches: there is no public
    # switch (tests/training/test_replicas.py fails if it is renamed).
    optimizer._all_reduce_sum_gradients = lambda grads_and_vars: [
        (g, v) for g, v in grads_and_vars if g is not None
    ]
    try:
        yield
    finally:
        # The threads of the replicas share the optimizer: the first one back here
        # is done with it for all.
        optimizer.__dict__.pop("_all_reduce_sum_gradients", None)


def choose(predicate: Tensor, if_true: Callable, if_false: Callable, data: Any) -> Any:
    """`if_true(data)` or `if_false(data)`, chosen in the graph.

    Both may hold collectives and optimizer updates. Under several replicas the
    branch is therefore taken outside of the replica context, where `tf.cond` may
    contain them, and each branch enters the replicas again.
    """
    context = tf.distribute.get_replica_context()
    if num_replicas() == 1 or context is None:
        return tf.cond(predicate, lambda: if_true(data), lambda: if_false(data))

    def merged(strategy, predicate, data):
        first = strategy.experimental_local_results(predicate)[0]
        return tf.cond(
            first,
            lambda: strategy.run(if_true, args=(data,)),
            lambda: strategy.run(if_false, args=(data,)),
        )

    return context.merge_call(merged, args=(predicate, data))


def first_row(rows: Tensor) -> Tensor:
    """Position of this replica's first example in the global batch.

    Args:
        rows: Number of examples that this replica holds.
    """
    context = tf.distribute.get_replica_context()
    count = num_replicas()
    if count == 1 or context is None:
        return tf.zeros_like(rows)
    replica = context.replica_id_in_sync_group
    before = tf.cast(tf.range(count) > replica, rows.dtype) * rows
    return all_reduce_sum([before])[0][replica]
