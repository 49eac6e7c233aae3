"""A loss weighting that sees the batch once more after the update: FAMO."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from tests.training import problems
from tests.weightings import oracles

FIXED = np.array([1.0, 2.0, 1.0])  # The loss weights of the tasks of `problems`.


def state_of(model):
    return {k: np.asarray(v) for k, v in model._step.state.weighting_state.items()}


def losses_and_slopes(model, x, y):
    """Literal task losses, and their gradients on all trainable variables."""
    losses, slopes = [], []
    variables = model.trainable_variables
    for task in model.tasks:
        with tf.GradientTape() as tape:
            outputs = model(x, training=True)[task.name]
            labels = task.head.prepare_labels(tf.convert_to_tensor(y[task.name]))
            loss = task.head.default_loss()(labels, outputs)
        losses.append(float(loss))
        slopes.append(tape.gradient(loss, [v.value for v in variables]))
    return np.array(losses), slopes


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_training_follows_the_algorithm_literally(optimizer, float64):
    """Algorithm 1 of Liu et al. (2023) with SGD, over some batches."""
    config = {"learning_rate": 0.3, "decay": 0.01, "optimizer": optimizer}
    model, other = problems.model(), problems.model()
    model.compile(
        keras.optimizers.SGD(0.1),
        loss_weighting={"class_name": "famo", "config": config},
    )
    literal = oracles.FAMO(3, rate=0.3, decay=0.01, adam=optimizer == "adam")
    x, y = problems.data(64)
    for start in range(0, 64, 16):
        rows = slice(start, start + 16)
        batch = x[rows], {k: v[rows] for k, v in y.items()}
        model.train_on_batch(*batch)
        losses, slopes = losses_and_slopes(other, *batch)
        weights = literal.task_weights(losses) * FIXED
        for i, variable in enumerate(other.trainable_variables):
            parts = [
                w * s[i]
                for w, s in zip(weights, slopes, strict=True)
                if s[i] is not None
            ]
            variable.assign_sub(0.1 * sum(parts))
        literal.update(losses, losses_and_slopes(other, *batch)[0])
        np.testing.assert_allclose(
            model.balancing_state["loss_weights"], weights, rtol=1e-10
        )
        np.testing.assert_allclose(state_of(model)["logits"], literal.xi, atol=1e-10)
    difference = problems.largest_difference(
        problems.weights(model), problems.weights(other)
    )
    assert difference < 1e-12
    assert np.ptp(literal.xi) > 0.01


def noisy_model(replicas=1):
    """With what a forward pass changes: statistics and, on one device, more."""
    keras.utils.set_random_seed(1)
    layers = keras.layers
    inputs = keras.Input((6,))
    regularizer = "l2" if replicas == 1 else None
    hidden = layers.Dense(8, activity_regularizer=regularizer, name="dense")(inputs)
    hidden = layers.BatchNormalization(
        synchronized=True, momentum=0.5, name="normalisation"
    )(hidden)
    if replicas == 1:  # Each replica draws its own numbers.
        hidden = layers.Dropout(0.5, seed=3, name="dropout")(hidden)
    backbone = keras.Model(inputs, layers.Activation("tanh")(hidden))
    return mtl.build_model(backbone, problems.tasks())


def non_trainable(model):
    """By position: the names of seed generators are numbered through the process."""
    variables = model.non_trainable_variables
    return {i: np.asarray(v) for i, v in enumerate(variables)}


class Seeing(mtl.weightings.Fixed):
    """The sum of the losses, with a state of the losses before and after."""

    second_forward = True

    def init(self, tasks):
        zeros = np.zeros(len(tasks))
        return {}, {"before": zeros, "after": zeros, "active": zeros}

    def objective(self, losses, active, variables, state, seed):
        objective, _ = super().objective(losses, active, {}, {}, seed)
        return objective, {**state, "before": losses}

    def after_step(self, new_losses, active, state):
        active = keras.ops.cast(active, new_losses.dtype)
        return {**state, "after": new_losses, "active": active}


@pytest.mark.parametrize(
    ("balancer", "jit_compile"), [(None, False), (None, True), ("pcgrad", False)]
)
def test_the_second_pass_leaves_no_trace(balancer, jit_compile):
    """Statistics, random states, weights and logs are those of a run with one pass."""
    x, y = problems.data(32)
    runs = []
    for weighting in ("fixed", Seeing()):
        model = noisy_model()
        keras.utils.set_random_seed(7)
        model.compile(
            keras.optimizers.Adam(0.02),
            loss_weighting=weighting,
            balancer=balancer,
            jit_compile=jit_compile,
        )
        start = non_trainable(model)
        logs = model.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0)
        weights = {v.path: np.asarray(v) for v in model.trainable_variables}
        runs.append((non_trainable(model), weights, logs.history))
        assert start.keys() == runs[-1][0].keys()
        moved = {k for k, v in runs[-1][0].items() if (v != start[k]).any()}
        assert moved == start.keys(), "the layers must have states that move"
    for one, other in zip(*runs, strict=True):
        for key in one:
            # XLA rounds two programs differently, even where they mean the same.
            tolerance = 1e-6 if jit_compile else 0.0
            np.testing.assert_allclose(
                one[key], other[key], rtol=tolerance, err_msg=key
            )
    seen = state_of(model)
    assert (seen["before"] != seen["after"]).all()


def test_the_second_pass_sees_the_updated_model(float64):
    x, y = problems.data()
    y["kind"] = np.full_like(y["kind"], -1)
    model = problems.model(kind={"missing": -1})
    model.compile(keras.optimizers.SGD(0.1), loss_weighting=Seeing())
    before = model.evaluate(x, y, batch_size=48, verbose=0, return_dict=True)
    model.train_on_batch(x, y)
    after = model.evaluate(x, y, batch_size=48, verbose=0, return_dict=True)
    seen = state_of(model)
    for key, logs in (("before", before), ("after", after)):
        expected = [0.0, logs["price_loss"], logs["sold_loss"]]
        np.testing.assert_allclose(seen[key], expected, rtol=1e-10)
    assert seen["active"].tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"balancer": "cagrad"},
        {"balancer": "pcgrad", "balancing": mtl.BalancingOptions(every=2)},
    ],
    ids=["plain", "cagrad", "every"],
)
def test_two_replicas_equal_one_device(arguments, float64, two_replicas):
    """Uneven last batch, partial labels, sample weights."""
    x, y = problems.data(43, missing=["kind", "price"])
    weights = {"sold": np.linspace(0.0, 2.0, 43)}
    runs = []
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        with strategy.scope():
            model = problems.model(kind={"missing": -1})
            keras.utils.set_random_seed(5)
            model.compile(
                keras.optimizers.Adam(0.02), loss_weighting="famo", **arguments
            )
        model.fit(
            x,
            y,
            sample_weight=weights,
            batch_size=16,
            epochs=3,
            shuffle=False,
            verbose=0,
        )
        runs.append((problems.weights(model), state_of(model), model.balancing_state))
    assert (runs[0][1]["steps"] == 9).all()
    for one, other in zip(*runs, strict=True):
        for key, value in one.items():
            np.testing.assert_allclose(value, other[key], atol=1e-11, err_msg=key)


def test_batch_statistics_on_two_replicas(float64, two_replicas):
    """Those of one device, although each replica makes two passes."""
    x, y = problems.data()
    runs = []
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        with strategy.scope():
            model = noisy_model(replicas=2)
            model.compile(keras.optimizers.Adam(0.02), loss_weighting="famo")
        model.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0)
        runs.append((problems.weights(model), state_of(model)))
    for one, other in zip(*runs, strict=True):
        for key, value in one.items():
            np.testing.assert_allclose(value, other[key], atol=1e-10, err_msg=key)


def test_xla_gives_the_numbers_of_the_graph(float64):
    x, y = problems.data()
    runs = []
    for jit_compile in (False, True):
        model = problems.model()
        model.compile(
            keras.optimizers.Adam(0.02),
            loss_weighting="famo",
            balancer="pcgrad",
            jit_compile=jit_compile,
        )
        model.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0)
        runs.append((problems.weights(model), state_of(model)))
    for one, other in zip(*runs, strict=True):
        for key, value in one.items():
            np.testing.assert_allclose(value, other[key], atol=1e-10, err_msg=key)


def test_a_step_that_overflows_is_no_step_of_the_logits():
    """Float16 overflows at first: only applied steps count."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = problems.model()
        optimizer = keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(0.01), initial_scale=2.0**24
        )
        model.compile(optimizer, loss_weighting="famo")
        x, y = problems.data()
        model.fit(x, y, batch_size=16, epochs=5, shuffle=False, verbose=0)
    finally:
        keras.config.set_dtype_policy("float32")
    applied = int(model.optimizer.iterations.numpy())
    assert 0 < applied < 15
    assert (state_of(model)["steps"] == applied).all()
    assert np.isfinite(state_of(model)["logits"]).all()


def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path, float64):
    x, y = problems.data()

    def compiled():
        model = problems.model()
        model.compile(keras.optimizers.Adam(0.02), loss_weighting="famo")
        return model

    def train(model, epochs):
        model.fit(x, y, batch_size=16, epochs=epochs, shuffle=False, verbose=0)

    whole, first = compiled(), compiled()
    train(whole, 4)
    train(first, 2)
    first.save(tmp_path / "model.keras")
    second = keras.saving.load_model(tmp_path / "model.keras")
    train(second, 2)
    for key, value in state_of(whole).items():
        np.testing.assert_array_equal(value, state_of(second)[key], err_msg=key)
    difference = problems.largest_difference(
        problems.weights(whole), problems.weights(second)
    )
    assert difference == 0


def test_next_batch_needs_no_second_pass(monkeypatch):
    calls = []
    model = problems.model()
    call = type(model).call

    def counted(self, *args, **kwargs):
        calls.append(1)
        return call(self, *args, **kwargs)

    monkeypatch.setattr(type(model), "call", counted)
    x, y = problems.data(16)
    passes = {}
    for form in ("next_batch", "second_forward"):
        model.compile("sgd", loss_weighting=mtl.weightings.FAMO(form=form))
        calls.clear()
        model.train_on_batch(x, y)
        passes[form] = len(calls)
    assert passes == {"next_batch": 1, "second_forward": 2}
