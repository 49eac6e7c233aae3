"""A neutral setting is stock Keras: the same variables and the same logs."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl.balancers import Balancer
from tests.training import problems


class OnesBalancer(Balancer):
    """Equal weights, by way of the task gradients."""

    def weights(self, gram, losses, active, state, seed):
        return keras.ops.cast(active, gram.dtype), state


def stock(model):
    """The same network with the losses and metrics of stock Keras."""
    plain = keras.Model.from_config(
        {
            k: v
            for k, v in model.get_config().items()
            if k not in ("tasks", "architecture")
        }
    )
    plain.set_weights(model.get_weights())
    return plain


def compile_stock(plain, optimizer):
    plain.compile(
        optimizer,
        loss={t.name: t.head.default_loss() for t in problems.tasks()},
        loss_weights={"kind": 1.0, "price": 2.0, "sold": 1.0},
        metrics={
            "kind": [keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
            "price": [keras.metrics.MeanAbsoluteError(name="mae")],
            "sold": [keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)],
        },
    )


def optimizers():
    adam = keras.optimizers.Adam
    return {
        "plain": lambda: adam(0.01),
        "loss_scaling": lambda: keras.optimizers.LossScaleOptimizer(adam(0.01)),
        "clipnorm": lambda: adam(0.01, clipnorm=0.1),
        "global_clipnorm": lambda: adam(0.01, global_clipnorm=0.1),
        "ema": lambda: adam(0.01, use_ema=True, ema_overwrite_frequency=4),
        "accumulation": lambda: adam(0.01, gradient_accumulation_steps=3),
        "weight_decay": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    }


def run(model, compile_it):
    compile_it(model)
    x, y = problems.data()
    history = model.fit(
        x,
        y,
        batch_size=16,
        epochs=3,
        shuffle=False,
        verbose=0,
        validation_data=(x, y),
    )
    return problems.weights(model), history.history


def same_logs(ours, theirs, tolerance):
    assert ours.keys() == theirs.keys()
    for key in theirs:
        np.testing.assert_allclose(ours[key], theirs[key], atol=tolerance, err_msg=key)


@pytest.mark.parametrize("name", optimizers())
def test_without_a_balancer_equals_stock_keras(name):
    model = problems.model()
    plain = stock(model)
    make = optimizers()[name]
    ours, our_logs = run(model, lambda m: m.compile(make()))
    theirs, their_logs = run(plain, lambda m: compile_stock(m, make()))
    assert problems.largest_difference(ours, theirs) < 1e-6
    same_logs(our_logs, their_logs, 1e-6)


@pytest.mark.parametrize("name", ["plain", "loss_scaling", "clipnorm"])
def test_gram_path_equals_stock_keras(name, float64):
    model = problems.model()
    plain = stock(model)
    make = optimizers()[name]
    ours, our_logs = run(model, lambda m: m.compile(make(), balancer=OnesBalancer()))
    theirs, their_logs = run(plain, lambda m: compile_stock(m, make()))
    assert problems.largest_difference(ours, theirs) < 1e-12
    same_logs(our_logs, their_logs, 1e-12)


@pytest.mark.parametrize("name", ["plain", "loss_scaling"])
@pytest.mark.parametrize("balancer", [None, OnesBalancer()])
def test_two_replicas_equal_stock_keras_on_one(name, balancer, float64, two_replicas):
    with two_replicas.scope():
        model = problems.model()
    plain = stock(problems.model())
    plain.set_weights(model.get_weights())
    make = optimizers()[name]

    def compile_ours(model):
        with two_replicas.scope():
            model.compile(make(), balancer=balancer)

    ours, our_logs = run(model, compile_ours)
    theirs, their_logs = run(plain, lambda m: compile_stock(m, make()))
    assert problems.largest_difference(ours, theirs) < 1e-12
    same_logs(our_logs, their_logs, 1e-12)


def test_sample_weights_and_class_weights_keep_keras_meaning():
    """A zero weight counts in the denominator; class weights are sample weights."""
    x, y = problems.data()
    by_class = {0: 0.5, 1: 2.0, 2: 0.0}
    model = problems.model(kind={"class_weight": by_class})
    plain = stock(model)
    weights = np.random.default_rng(0).uniform(size=48) * (np.arange(48) % 3 > 0)
    model.compile("sgd")
    compile_stock(plain, "sgd")
    of_class = np.array([by_class[k] for k in y["kind"]])
    model.fit(
        x, y, sample_weight={"price": weights}, batch_size=16, shuffle=False, verbose=0
    )
    plain.fit(
        x,
        y,
        sample_weight={"kind": of_class, "price": weights, "sold": np.ones(48)},
        batch_size=16,
        shuffle=False,
        verbose=0,
    )
    difference = problems.largest_difference(
        problems.weights(model), problems.weights(plain)
    )
    assert difference < 1e-6


def test_regularisers_and_add_loss_are_added_unprojected(float64):
    """Through the Gram path they count as in stock Keras."""

    def build():
        keras.utils.set_random_seed(0)
        inputs = keras.Input((6,))
        x = keras.layers.Dense(8, kernel_regularizer="l2", activation="tanh")(inputs)
        x = keras.layers.Dense(8, activity_regularizer="l2")(x)
        return mtl.build_model(keras.Model(inputs, x), problems.tasks())

    model = build()
    plain = stock(model)
    ours, our_logs = run(model, lambda m: m.compile("adam", balancer=OnesBalancer()))
    theirs, their_logs = run(plain, lambda m: compile_stock(m, "adam"))
    assert problems.largest_difference(ours, theirs) < 1e-12
    same_logs(our_logs, their_logs, 1e-12)


@pytest.mark.parametrize("balancer", [None, "pcgrad"])
def test_steps_per_execution_and_eager_and_xla_give_the_same(balancer, float64):
    def train(**kwargs):
        model = problems.model()
        with_seed(model, balancer, **kwargs)
        x, y = problems.data(missing=["price"])
        model.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0)
        return problems.weights(model)

    def with_seed(model, balancer, **kwargs):
        keras.utils.set_random_seed(7)
        model.compile("adam", balancer=balancer, loss_weighting="uncertainty", **kwargs)

    reference = train()
    for change in (
        {"steps_per_execution": 3},
        {"run_eagerly": True},
        {"jit_compile": True},
    ):
        assert problems.largest_difference(reference, train(**change)) < 1e-12, change
