"""Two replicas give what one device gives, for every method."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from tests.training import problems

# `test_every_method.py` has every method on its own.
METHODS = {
    "cagrad": {"balancer": "cagrad", "loss_weighting": "uncertainty"},
    "every": {
        "balancer": "pcgrad",
        "loss_weighting": "dwa",
        "balancing": mtl.BalancingOptions(every=3, start_after=1),
    },
    "balanced_heads": {
        "balancer": "cagrad",
        "balancing": mtl.BalancingOptions(head_gradients="balanced", scale="sum"),
    },
    "features": {
        "balancer": "mgda",
        "balancing": mtl.BalancingOptions(scope="features"),
    },
    "layers": {
        "balancer": "gradvac",
        "balancing": mtl.BalancingOptions(scope="layers"),
    },
}


def train(strategy, optimizer, rows=43, epochs=2, validate=False, **compile_arguments):
    """Uneven last batch (43 = 2 × 16 + 11), partial labels, sample weights."""
    x, y = problems.data(rows, missing=["kind", "price"])
    weights = {"sold": np.linspace(0.0, 2.0, rows)}
    with strategy.scope():
        model = problems.model(kind={"missing": -1})
        keras.utils.set_random_seed(5)
        model.compile(optimizer(), **compile_arguments)
    history = model.fit(
        x,
        y,
        sample_weight=weights,
        batch_size=16,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        validation_data=(x, y) if validate else None,
    )
    return model, history.history


def both(two_replicas, optimizer, **arguments):
    """The run on one device, eagerly, which is sooner done than traced; and on two."""
    one = tf.distribute.get_strategy()
    return (
        train(one, optimizer, run_eagerly=True, **arguments),
        train(two_replicas, optimizer, **arguments),
    )


def assert_same(one, two):
    model, logs = one
    other, other_logs = two
    difference = problems.largest_difference(
        problems.weights(model), problems.weights(other)
    )
    assert difference < 1e-12
    for key, values in logs.items():
        np.testing.assert_allclose(values, other_logs[key], rtol=1e-10, err_msg=key)
    state, other_state = model.balancing_state, other.balancing_state
    for key, values in state.items():
        np.testing.assert_allclose(values, other_state[key], atol=1e-10, err_msg=key)


@pytest.mark.parametrize("method", METHODS)
def test_method(method, float64, two_replicas):
    def adam():
        return keras.optimizers.Adam(0.02)

    assert_same(*both(two_replicas, adam, validate=True, **METHODS[method]))


@pytest.mark.parametrize("clipping", ["clipnorm", "global_clipnorm", "clipvalue"])
def test_clipping_is_of_the_global_gradient(clipping, float64, two_replicas):
    """Fails if Keras renames the method that `apply_reduced_gradients` replaces."""

    def clipped():
        return keras.optimizers.SGD(0.1, momentum=0.9, **{clipping: 0.05})

    assert_same(*both(two_replicas, clipped, balancer="pcgrad"))


def test_the_optimizer_can_reduce_again_after_the_step(two_replicas):
    with two_replicas.scope():
        model = problems.model()
        model.compile("sgd")
    x, y = problems.data()
    model.fit(x, y, verbose=0)
    assert "_all_reduce_sum_gradients" not in vars(model.optimizer)


def test_a_replica_without_examples(float64, two_replicas):
    """One example in the last batch: one of the replicas gets none."""

    def sgd():
        return keras.optimizers.SGD(0.1)

    options = {"rows": 33, "validate": True, "balancer": "mgda"}
    assert_same(*both(two_replicas, sgd, **options))


@pytest.mark.parametrize(
    "setting",
    [
        {"gradient_accumulation_steps": 2},
        {"use_ema": True, "ema_overwrite_frequency": 2},
    ],
)
def test_what_keras_cannot_distribute_is_an_error_at_compile(setting, two_replicas):
    with two_replicas.scope():
        model = problems.model()
        name = "gradient_accumulation_steps"
        name = name if name in setting else "ema_overwrite_frequency"
        with pytest.raises(ValueError, match=name):
            model.compile(keras.optimizers.Adam(**setting))


def test_an_optimizer_of_another_strategy_is_an_error_at_compile(two_replicas):
    with two_replicas.scope():
        model = problems.model()
    with pytest.raises(ValueError, match="inside the `scope"):
        model.compile(keras.optimizers.Adam())


def test_strategies_by_name(two_replicas):
    assert mtl.strategy("default").num_replicas_in_sync == 1
    assert mtl.strategy(two_replicas) is two_replicas
    assert mtl.strategy("mirrored").num_replicas_in_sync == 2
    with pytest.raises(ValueError, match="'mirorred'"):
        mtl.strategy("mirorred")
