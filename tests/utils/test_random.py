"""Random numbers that are a function of counter, seed and step alone."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from keras import ops

from keras_mtl.utils.random import normal, uniform


class Seed:
    def __init__(self, base, step=0):
        self.draw = (base, step)

    def next(self):
        return ops.stack([ops.cast(part, "int64") for part in self.draw])


def draw(counters, base, step=0):
    return ops.convert_to_numpy(uniform(ops.array(counters), Seed(base, step)))


def squares(counter, key):
    """Listing of Widynski, 2020, with Python's integers."""
    mask = 2**64 - 1
    x = y = counter * key & mask
    z = y + key & mask
    for addend in (y, z, y):
        x = x * x + addend & mask
        x = (x >> 32 | x << 32) & mask
    return (x * x + z & mask) >> 32


@pytest.mark.parametrize(("base", "step"), [(1, 0), (3, 1), (2**31 - 1, 10**6)])
def test_equals_the_listing(base, step):
    counters = [0, 1, 2, 65536, 2**31 - 1]
    key = base * 0x9E3779B97F4A7C15 & (2**64 - 1) | 1
    expected = [squares((step << 32) + c & (2**64 - 1), key) for c in counters]
    found = draw(counters, base, step)
    assert found.tolist() == [(number >> 8) * 2.0**-24 for number in expected]


def test_the_key_is_the_golden_ratio():
    from keras_mtl.utils import random

    assert random._KEY % 2 == 1
    ratio = 2**64 / (random._KEY % 2**64)
    assert ratio == pytest.approx((1 + 5**0.5) / 2, rel=1e-12)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_same_in_a_graph_and_under_xla(jit_compile):
    compiled = tf.function(
        lambda counters, base, step: uniform(counters, Seed(base, step)),
        jit_compile=jit_compile,
    )
    counters = np.arange(50)
    for base, step in [(1, 0), (1, 7), (99, 7)]:
        found = compiled(counters, tf.constant(base), tf.constant(step))
        assert found.numpy().tolist() == draw(counters, base, step).tolist()


@pytest.mark.parametrize("base", [1, 2, 12345, 2**31 - 1])
def test_even_and_independent(base):
    """Over counters and over steps: mean, variance, and correlation of neighbours."""
    over_counters = draw(np.arange(20000), base)
    size = 20000
    over_steps = draw(np.zeros(size, int), np.full(size, base), np.arange(size))
    for numbers in (over_counters, over_steps):
        assert numbers.min() >= 0
        assert numbers.max() < 1
        assert abs(numbers.mean() - 1 / 2) < 4 * (1 / 12 / size) ** 0.5
        assert abs(numbers.var() - 1 / 12) < 4 * (1 / 180 / size) ** 0.5
        neighbours = np.corrcoef(numbers[1:], numbers[:-1])[0, 1]
        assert abs(neighbours) < 4 / size**0.5


def test_seeds_and_steps_differ():
    numbers = [draw(range(4), base, step) for base in (1, 2) for step in (0, 1)]
    assert len({tuple(n.tolist()) for n in numbers}) == 4


def test_normal_is_normal():
    """Mean, variance, skewness and kurtosis; the distribution function; no twins."""
    size = 20000
    numbers = ops.convert_to_numpy(normal(np.arange(size), Seed(5, 2)))
    assert numbers.dtype == "float32"
    assert np.all(np.isfinite(numbers))
    for power, moment, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
        error = (numbers.astype("float64") ** power).mean() - moment
        assert abs(error) < 4 * (variance / size) ** 0.5
    cumulative = scipy.stats.norm.cdf(np.sort(numbers))
    assert abs(cumulative - (np.arange(size) + 0.5) / size).max() < 2 / size**0.5
    neighbours = np.corrcoef(numbers[1:], numbers[:-1])[0, 1]
    assert abs(neighbours) < 4 / size**0.5


def test_a_normal_number_belongs_to_its_counter_and_step():
    one, two = (ops.convert_to_numpy(normal(np.arange(n), Seed(1))) for n in (3, 8))
    # Vectorised logarithms round differently.
    np.testing.assert_allclose(one, two[:3], rtol=1e-6)
    other = ops.convert_to_numpy(normal(np.arange(3), Seed(1, step=1)))
    assert not np.isin(other, one).any()


@pytest.mark.parametrize("jit_compile", [False, True])
def test_normal_in_a_graph_and_under_xla(jit_compile):
    compiled = tf.function(
        lambda counters, step: normal(counters, Seed(3, step)), jit_compile=jit_compile
    )
    for step in (0, 9):
        found = compiled(tf.range(50), tf.constant(step))
        expected = normal(np.arange(50), Seed(3, step))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
