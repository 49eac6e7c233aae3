"""Random numbers that are the same in a graph, eagerly, under XLA and on replicas."""

import math

import keras
from keras import ops

from keras_mtl.utils.types import Tensor

_KEY = -7046029254386353131  # 2⁶⁴ / golden ratio, odd, as a signed number


def uniform(counters: Tensor, seed: keras.random.SeedGenerator) -> Tensor:
    """Uniform numbers in `[0, 1)`, one per counter.

    TensorFlow's own stateless generators draw other numbers when XLA compiles
    them. Since each number belongs to its counter, a task can keep its numbers
    whatever the number of tasks.

    Args:
        counters: Integer tensor, non-negative, below `2 ** 32`.
        seed: Seed generator; one draw is taken from it.

    Returns:
        Float32 tensor of the shape of `counters`.

    Example:
    >>> seed = keras.random.SeedGenerator(1)
    >>> numbers = ops.convert_to_numpy(uniform(ops.arange(4), seed))
    >>> bool((numbers >= 0).all() and (numbers < 1).all())
    True

    Reference:
        - [Widynski, 2020](https://arxiv.org/abs/2004.06278), the squares generator.
    """
    base, step = ops.unstack(ops.cast(seed.next(), "int64"), 2)
    key = ops.bitwise_or(base * _KEY, 1)
    x = (step * 2**32 + ops.cast(counters, "int64")) * key
    y, z = x, x + key
    for addend in (y, z, y):
        x = _swap_halves(x * x + addend)
    upper = _upper_half(x * x + z)
    # The 24 leading bits are what a float32 below 1 can tell apart.
    return ops.cast(ops.right_shift(upper, 8), "float32") * 2.0**-24


def normal(counters: Tensor, seed: keras.random.SeedGenerator) -> Tensor:
    """Numbers of the standard normal distribution, one per counter.

    Args:
        counters: Integer tensor, non-negative, below `2 ** 31`.
        seed: Seed generator; one draw is taken from it.

    Returns:
        Float32 tensor of the shape of `counters`.

    Example:
    >>> seed = keras.random.SeedGenerator(1)
    >>> tuple(normal(ops.arange(4), seed).shape)
    (4,)

    Reference:
        - [Box & Muller, 1958](https://doi.org/10.1214/aoms/1177706645)
    """
    counters = 2 * ops.cast(counters, "int64")
    radii, angles = ops.unstack(uniform(ops.stack([counters, counters + 1]), seed), 2)
    # `1 - radii` is never zero.
    lengths = ops.sqrt(-2.0 * ops.log(1.0 - radii))
    return lengths * ops.cos(2.0 * math.pi * angles)


def _upper_half(x):
    return ops.bitwise_and(ops.right_shift(x, 32), 0xFFFFFFFF)


def _swap_halves(x):
    return ops.bitwise_or(_upper_half(x), ops.left_shift(x, 32))
