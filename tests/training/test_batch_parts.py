"""Balancers of two batch parts: the halves' gradients, and one step with them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_mtl as mtl
from keras_mtl.balancers import Balancer
from tests.asserts import error_with
from tests.training import problems
from tests.training.test_replicas import assert_same, both


@keras.saving.register_keras_serializable(package="tests")
class Crossed(Balancer):
    """Weights in which every entry of `J₁ J₂ᵀ` shows; remembers what it was given."""

    batch_parts = 2

    def init_state(self, num_tasks):
        zeros = np.zeros(num_tasks)
        return {
            "gram": np.zeros((num_tasks, num_tasks)),
            "losses": zeros,
            "active": zeros,
        }

    def weights(self, gram, losses, active, state, seed):
        kept = ops.cast(active, gram.dtype)
        weights = kept * (1 + ops.tanh(gram @ kept[:, None])[:, 0])
        weights = weights + 0.5 * ops.tanh(kept[None, :] @ gram)[0]
        return weights, {"gram": gram, "losses": losses, "active": kept}


def expected_weights(gram, active):
    kept = active.astype("float64")
    return kept * (1 + np.tanh(gram @ kept)) + 0.5 * np.tanh(kept @ gram)


def sgd():
    return keras.optimizers.SGD(0.1)


def labelled(y):
    return {
        "kind": y["kind"] >= 0,
        "price": ~np.isnan(y["price"]).any(axis=1),
        "sold": ~np.isnan(y["sold"]),
    }


def gradients(model, x, y, rows):
    """Per task, the gradient of its weighted mean loss over those labelled rows."""
    found = []
    for task in model.tasks:
        chosen = rows & labelled(y)[task.name]
        variables = model.trainable_variables
        if not chosen.any():
            found.append({v.path: np.zeros(v.shape) for v in variables})
            continue
        with tf.GradientTape() as tape:
            outputs = model(x[chosen], training=True)[task.name]
            labels = tf.convert_to_tensor(y[task.name][chosen])
            labels = task.head.prepare_labels(labels)
            loss = task.loss_weight * task.head.default_loss()(labels, outputs)
        values = tape.gradient(
            loss, [v.value for v in variables], unconnected_gradients="zero"
        )
        found.append(
            {v.path: g.numpy() for v, g in zip(variables, values, strict=True)}
        )
    return found


def stacked(found, paths):
    return np.stack([np.concatenate([g[p].ravel() for p in paths]) for g in found])


def shared_paths(model):
    paths = [v.path for v in model.trainable_variables]
    return [path for path in paths if not path.startswith(problems.TASKS)]


def even_rows(count):
    return np.arange(count) % 2 == 0


def partial_data(rows=43):
    return problems.data(rows, missing=["kind", "price"])


@pytest.mark.parametrize("jit_compile", [False, True])
def test_step_is_the_literal_one(jit_compile, float64):
    """Cross-Gram matrix, weights, shared and head gradients, and the records."""
    x, y = partial_data()
    model = problems.model(kind={"missing": -1})
    paths, even = shared_paths(model), even_rows(len(x))
    whole = gradients(model, x, y, np.ones(len(x), bool))
    one, two = (stacked(gradients(model, x, y, half), paths) for half in (even, ~even))
    before = problems.weights(model)
    model.compile(sgd(), balancer=Crossed(), jit_compile=jit_compile)
    model.train_on_batch(x, y)
    state = model._step.state.balancer_state
    np.testing.assert_allclose(np.asarray(state["gram"]), one @ two.T, atol=1e-12)
    weights = expected_weights(one @ two.T, np.ones(3, bool))
    seen = model.balancing_state
    np.testing.assert_allclose(seen["task_weights"], weights, atol=1e-12)
    after = problems.weights(model)
    for path in after:
        step = (before[path] - after[path]) / 0.1
        if path in paths:
            expected = sum(w * g[path] for w, g in zip(weights, whole, strict=True))
        else:
            expected = sum(g[path] for g in whole)
        np.testing.assert_allclose(step, expected, atol=1e-12, err_msg=path)
    J = stacked(whole, paths)
    lengths = np.linalg.norm(J, axis=1)
    np.testing.assert_allclose(seen["gradient_norms"], lengths, rtol=1e-10)
    cosine = J @ J.T / np.outer(lengths, lengths)
    np.testing.assert_allclose(seen["cosine"], cosine, atol=1e-10)


@pytest.mark.parametrize("name", problems.TASKS)
def test_a_task_with_labels_in_one_half_is_inactive_there(name, float64):
    """It gets weight 0, the others what they get without it; its head trains on."""
    x, y = problems.data(20)
    y["kind"] = y["kind"].astype("float64")
    y[name][::2] = np.nan
    model = problems.model()
    before = problems.weights(model)
    literal = gradients(model, x, y, np.ones(20, bool))[problems.TASKS.index(name)]
    model.compile(sgd(), balancer=Crossed())
    model.train_on_batch(x, y)
    found = problems.weights(model)
    others = tuple(task for task in problems.TASKS if task != name)
    without = problems.model(others)
    without.compile(sgd(), balancer=Crossed())
    without.train_on_batch(x, {task: y[task] for task in others})
    for path, value in problems.weights(without).items():
        np.testing.assert_allclose(found[path], value, atol=1e-13, err_msg=path)
    for path in set(found) - set(problems.weights(without)):
        step = (before[path] - found[path]) / 0.1
        np.testing.assert_allclose(step, literal[path], atol=1e-12, err_msg=path)
        assert np.abs(step).max() > 0
    index = problems.TASKS.index(name)
    state = model._step.state.balancer_state
    for value in (
        state["gram"][index],
        state["gram"][:, index],
        state["losses"][index],
    ):
        assert not np.asarray(value).any()
    assert np.isnan(model.balancing_state["gradient_norms"][index])


METHODS = {
    "each step": {},
    "every": {"balancing": mtl.BalancingOptions(every=2, start_after=1)},
    "balanced heads": {
        "balancing": mtl.BalancingOptions(head_gradients="balanced", scale="sum")
    },
}


@pytest.mark.parametrize(
    ("method", "rows"),  # the last of three batches has 5 + 5 or 6 + 5
    [("each step", 42), ("every", 43), ("balanced heads", 43)],
)
def test_two_replicas_are_one(method, rows, float64, two_replicas):
    """A replica whose first row is an odd one of the global batch, too."""
    arguments = {"balancer": Crossed(), "epochs": 1, **METHODS[method]}
    one, two = both(two_replicas, sgd, rows=rows, **arguments)
    assert_same(one, two)
    for key, value in one[0]._step.state.balancer_state.items():
        other = two[0]._step.state.balancer_state[key]
        np.testing.assert_allclose(np.asarray(value), np.asarray(other), atol=1e-11)


def test_a_reuse_step_needs_no_halves(float64):
    """With the weights of the step before, and the gradient of the whole batch."""
    x, y = partial_data()
    model = problems.model(kind={"missing": -1})
    model.compile(sgd(), balancer=Crossed(), balancing=mtl.BalancingOptions(every=2))
    model.train_on_batch(x, y)
    weights, paths = model.balancing_state["task_weights"], shared_paths(model)
    whole = stacked(gradients(model, x, y, np.ones(len(x), bool)), paths)
    before = problems.weights(model)
    model.train_on_batch(x, y)
    after = problems.weights(model)
    step = np.concatenate([(before[p] - after[p]).ravel() / 0.1 for p in paths])
    np.testing.assert_allclose(step, weights @ whole, atol=1e-12)


@pytest.mark.parametrize("scaling", ["dynamic", "static"])
def test_loss_scaling_changes_nothing(scaling, float64):
    def fit(optimizer):
        x, y = partial_data()
        model = problems.model(kind={"missing": -1})
        model.compile(optimizer, balancer=Crossed())
        model.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0)
        return problems.weights(model)

    if scaling == "dynamic":
        scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01))
    else:
        scaled = keras.optimizers.Adam(0.01, loss_scale_factor=512.0)
    plain = fit(keras.optimizers.Adam(0.01))
    assert problems.largest_difference(plain, fit(scaled)) < 1e-12


def test_a_loss_that_is_not_finite_in_one_half(float64):
    """The task is left out as a whole and counted, the others train on."""
    x, y = problems.data(20)
    y["price"][3, 0] = np.inf
    model = problems.model()
    model.compile(sgd(), balancer=Crossed())
    model.train_on_batch(x, y)
    found = problems.weights(model)
    assert all(np.isfinite(value).all() for value in found.values())
    np.testing.assert_array_equal(model.balancing_state["nonfinite"], [0, 1, 0])
    without = problems.model(("kind", "sold"))
    without.compile(sgd(), balancer=Crossed())
    without.train_on_batch(x, {k: v for k, v in y.items() if k != "price"})
    for path, value in problems.weights(without).items():
        np.testing.assert_allclose(found[path], value, atol=1e-13, err_msg=path)


def as_dataset(x, y):
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(1, drop_remainder=True)


@pytest.mark.parametrize("how", ["batch_size", "one row", "dataset"])
def test_a_batch_size_of_one_is_an_error(how):
    x, y = problems.data(1 if how == "one row" else 4)
    model = problems.model()
    model.compile(sgd(), balancer=Crossed())
    before = problems.weights(model)
    with error_with(ValueError, "two examples", "balancer=Crossed", "batch size of 1"):
        if how == "dataset":
            model.fit(as_dataset(x, y), verbose=0)
        else:
            model.fit(x, y, batch_size=1 if how == "batch_size" else None, verbose=0)
    assert problems.largest_difference(before, problems.weights(model)) == 0
    model.compile(sgd(), balancer="mgda")
    model.fit(x, y, batch_size=1, verbose=0)


def test_a_generator_of_one_batch_is_no_batch_of_one():
    x, y = problems.data(8)
    model = problems.model()
    model.compile(sgd(), balancer=Crossed())
    batches = (batch for batch in [(x, y)])
    model.fit(batches, steps_per_epoch=1, shuffle=False, verbose=0)
    assert model.balancing_state["step"] == 1


@pytest.mark.parametrize("options", [{}, {"every": 2}, {"start_after": 1}])
def test_no_batch_with_two_halves_is_an_error_after_the_epoch(options):
    """Batches of one row whose size is not static."""
    x, y = problems.data(4)
    model = problems.model()
    balancing = mtl.BalancingOptions(**options)
    model.compile(sgd(), balancer=Crossed(), balancing=balancing)
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(1)
    with error_with(ValueError, "halves", "balancer=Crossed", "larger batches"):
        model.fit(data, verbose=0)


def test_an_epoch_without_a_balancing_step_is_no_error():
    x, y = problems.data(8)
    model = problems.model()
    options = mtl.BalancingOptions(every=10, start_after=3)
    model.compile(sgd(), balancer=Crossed(), balancing=options)
    for _ in range(2):  # the second call has no balancing step at all
        model.fit(x, y, batch_size=4, epochs=3, verbose=0)
    assert model.balancing_state["step"] == 12
