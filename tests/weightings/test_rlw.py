"""RLW: the distribution of its weights."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_mtl as mtl
from keras_mtl.utils.random import normal
from tests.balancers.samplers import Seed
from tests.weightings.samplers import evaluate


def weights_of(seed, num_tasks=3):
    return evaluate(mtl.weightings.RLW(), np.ones(num_tasks), seed=seed)[1]


def test_by_hand():
    """Normal numbers 0, log 2 and log 3: shares 1, 2 and 3 of 6, times 3."""
    draws = ops.array(np.log([1.0, 2.0, 3.0]))
    found = mtl.weightings.rlw_weights(draws, ops.ones(3, "bool"))
    np.testing.assert_allclose(found, [0.5, 1.0, 1.5], rtol=1e-6)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_softmax_of_the_normal_numbers_of_the_seed(seed):
    draws = np.asarray(normal(np.arange(3), Seed(seed)), "float64")
    expected = 3 * np.exp(draws) / np.exp(draws).sum()
    np.testing.assert_allclose(weights_of(seed), expected, rtol=1e-6)


def test_seeds_give_other_weights_and_one_seed_the_same():
    assert weights_of(1).tolist() == weights_of(1).tolist()
    assert weights_of(1).tolist() != weights_of(2).tolist()


def test_every_task_has_the_expected_weight_1():
    """Over 4000 draws, by the weights' own formula; and every sum is K."""
    draws = normal(np.arange(3 * 4000), Seed(1))
    everyone = tf.ones(3, "bool")
    rows = tf.function(tf.map_fn)(
        lambda row: mtl.weightings.rlw_weights(row, everyone),
        tf.reshape(draws, (4000, 3)),
    )
    np.testing.assert_allclose(np.sum(rows, axis=1), 3, rtol=1e-5)
    error = np.std(rows, axis=0) / 4000**0.5
    assert np.all(abs(np.mean(rows, axis=0) - 1) < 4 * error)
    # And the tasks have one distribution.
    spread = np.std(rows, axis=0)
    assert spread.max() / spread.min() < 1.1
