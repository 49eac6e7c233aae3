"""Random changes of batches that are a pure function of (seed, epoch, position)."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_mtl.data.pipelines import EpochOrder
from keras_mtl.utils.checks import check_count
from keras_mtl.utils.types import Tensor


def seeded_map(
    dataset: tf.data.Dataset,
    function: Callable[..., Any],
    *,
    seed: int = 0,
    epoch: int | EpochOrder = 0,
) -> tf.data.Dataset:
    """`dataset.map` for functions that draw random numbers.

    The function gets, beside the element, a seed made of `seed`, the epoch and the
    position of the element in the epoch. So a run that was killed and resumed draws
    what an uninterrupted one draws, and parallel calls change nothing.

    Args:
        dataset: Dataset whose elements are tuples, `(x, y)` for example.
        function: `function(seed, *element) -> element`. `seed` is an integer tensor
            of shape `(2,)` for TensorFlow's stateless generators.
        seed: Integer; another seed draws other numbers.
        epoch: Number of the epoch, or the `EpochOrder` that follows `fit` through
            the epochs.

    Returns:
        A `tf.data.Dataset` of the same cardinality.

    Raises:
        ValueError: If `seed` or `epoch` is no integer `>= 0`.

    Example:
    >>> data = tf.data.Dataset.from_tensors((1.0,)).repeat(3)
    >>> noisy = seeded_map(data, lambda seed, x: x + uniform(seed, []))
    >>> a, b = ([float(x) for x in noisy] for _ in range(2))
    >>> a == b, len(set(a))
    (True, 3)
    """
    check_count("seed", seed, 0)
    if not isinstance(epoch, EpochOrder):
        check_count("epoch", epoch, 0)

    def current(_):
        if not isinstance(epoch, EpochOrder):
            return tf.constant(epoch, tf.int64)
        number = tf.numpy_function(lambda: np.int64(epoch.epoch), [], tf.int64)
        return tf.ensure_shape(number, [])

    def called(place, base, element):
        return function(fold(base, place), *element)

    # Read once per iterator, when its first element is made.
    epochs = tf.data.Dataset.from_tensors(0).map(current)
    seeds = epochs.flat_map(
        lambda number: tf.data.Dataset.from_tensors(
            tf.stack([tf.constant(seed, tf.int64), number])
        ).repeat()
    )
    places = tf.data.Dataset.range(tf.int64.max)
    mapped = tf.data.Dataset.zip(places, seeds, dataset).map(
        called, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    size = dataset.cardinality()
    if size not in (tf.data.UNKNOWN_CARDINALITY, tf.data.INFINITE_CARDINALITY):
        mapped = mapped.apply(tf.data.experimental.assert_cardinality(size))
    options = tf.data.Options()
    # As in `EpochOrder.batches`: a warm start could read the epoch too early.
    options.experimental_warm_start = False
    return mapped.with_options(options)


def check_pairs(dataset: tf.data.Dataset) -> tuple[Any, Mapping]:
    """The specifications of the inputs and of the labels, which are a dict.

    Raises:
        ValueError: If the elements are not `(x, y)` or `(x, y, sample_weight)`.
    """
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) < 2 or not isinstance(spec[1], Mapping):
        raise ValueError(
            "Expected a dataset of `(x, y)` batches where `y` is a dict of labels. "
            f"Received: element_spec={spec}"
        )
    return spec[0], spec[1]


def check_input(x: Any, name: str | None) -> Any:
    """The specification of one input: that of this name, if there are several.

    Raises:
        ValueError: If there is none of this name, or no name for one of several.
    """
    names = sorted(x) if isinstance(x, Mapping) else [None]
    if name not in names:
        raise ValueError(
            f"Expected the name of an input, one of {names} (None if `x` is one "
            f"tensor). Received: {name!r}"
        )
    return x if name is None else x[name]


def fold(seed: Tensor, number: Any) -> Tensor:
    """Another seed, for the part of a draw that has this number."""
    # A named algorithm: "auto_select" could differ from device to device.
    return tf.random.experimental.stateless_fold_in(seed, number, alg="philox")


def uniform(seed: Tensor, shape: Any, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Uniform float32 numbers from `low` to `high`."""
    return tf.random.stateless_uniform(shape, seed, low, high, alg="philox")
