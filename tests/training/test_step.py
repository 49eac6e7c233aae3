"""The step as the paper has it, the schedule of balancing, and one trace."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from keras_mtl.balancers import Balancer
from tests.training import problems


def sgd(rate=0.1):
    return keras.optimizers.SGD(rate)


def one_step(model, x, y, jit_compile=False, **compile_arguments):
    """The gradient that one step of SGD applied, by path of the variable.

    Eagerly unless compiled: one step is sooner done than traced.
    """
    before = problems.weights(model)
    how = {"jit_compile": jit_compile, "run_eagerly": not jit_compile}
    model.compile(sgd(), **how, **compile_arguments)
    model.train_on_batch(x, y)
    after = problems.weights(model)
    return {k: (before[k] - after[k]) / 0.1 for k in before}


def task_gradients(model, x, y):
    """Literal gradients of the weighted task losses, one dict per task."""
    found = []
    for task in model.tasks:
        loss = task.head.default_loss()
        with tf.GradientTape() as tape:
            outputs = model(x, training=True)[task.name]
            labels = task.head.prepare_labels(tf.convert_to_tensor(y[task.name]))
            value = task.loss_weight * loss(labels, outputs)
        variables = model.trainable_variables
        gradients = tape.gradient(value, [v.value for v in variables])
        found.append(
            {
                v.path: tf.convert_to_tensor(g).numpy()
                for v, g in zip(variables, gradients, strict=True)
                if g is not None
            }
        )
    return found


def literal_pcgrad(vectors, orders):
    """Algorithm 1 of Yu et al. (2020) on full vectors."""
    total = np.zeros_like(vectors[0])
    for i, order in enumerate(orders):
        projected = vectors[i].copy()
        for j in order:
            inner = projected @ vectors[j]
            if j != i and inner < 0:
                projected -= inner / (vectors[j] @ vectors[j]) * vectors[j]
        total += projected
    return total


def test_pcgrad_step_is_the_literal_algorithm_on_full_vectors(float64):
    """Over all orders, one of them must be the one that was drawn."""
    import itertools

    x, y = problems.data()
    model = problems.model()
    literal = task_gradients(model, x, y)
    shared = [k for k in literal[0] if all(k in g for g in literal)]
    vectors = [np.concatenate([g[k].ravel() for k in shared]) for g in literal]
    cosines = np.array([[a @ b for b in vectors] for a in vectors])
    assert (cosines < 0).any(), "the problem must have a conflict"
    found = one_step(model, x, y, balancer="pcgrad")
    update = np.concatenate([found[k].ravel() for k in shared])
    orders = list(itertools.permutations(range(3)))
    distances = [
        np.abs(literal_pcgrad(vectors, choice) - update).max()
        for choice in itertools.product(orders, repeat=3)
    ]
    assert min(distances) < 1e-12
    for task, gradients in zip(model.task_names, literal, strict=True):
        for path in set(gradients) - set(shared):
            np.testing.assert_allclose(found[path], gradients[path], atol=1e-12)
            assert path.startswith(task)


def test_mgda_step_is_the_min_norm_point(float64):
    x, y = problems.data()
    model = problems.model()
    literal = task_gradients(model, x, y)
    shared = [k for k in literal[0] if all(k in g for g in literal)]
    vectors = np.stack(
        [np.concatenate([g[k].ravel() for k in shared]) for g in literal]
    )
    found = one_step(model, x, y, balancer="mgda")
    update = np.concatenate([found[k].ravel() for k in shared])
    inner = vectors @ update
    assert (inner >= update @ update - 1e-10).all()
    weights = model.balancing_state["task_weights"]
    np.testing.assert_allclose(weights @ vectors, update, atol=1e-10)
    np.testing.assert_allclose(
        model.balancing_state["gradient_norms"], np.linalg.norm(vectors, axis=1)
    )


class Counting(Balancer):
    """Weights that tell at which balancing step they were made."""

    def init_state(self, num_tasks):
        return {"calls": np.zeros(())}

    def weights(self, gram, losses, active, state, seed):
        calls = state["calls"] + 1
        ones = keras.ops.cast(active, gram.dtype)
        return ones * keras.ops.cast(calls, gram.dtype), {"calls": calls}


@pytest.mark.parametrize(
    ("every", "start_after", "expected"),
    [
        (1, 0, [1, 2, 3, 4, 5, 6]),
        (3, 0, [1, 1, 1, 2, 2, 2]),
        (2, 3, [1, 1, 1, 1, 1, 2]),
        (1, 4, [1, 1, 1, 1, 1, 2]),
    ],
)
def test_schedule(every, start_after, expected):
    model = problems.model()
    options = mtl.BalancingOptions(every=every, start_after=start_after)
    model.compile(sgd(), balancer=Counting(), balancing=options)
    x, y = problems.data(16)
    seen = []
    for _ in range(6):
        model.train_on_batch(x, y)
        seen.append(model.balancing_state["task_weights"][0])
    np.testing.assert_array_equal(seen, expected)


class Fixed123(Balancer):
    """Task weights 0, 2 and 3: a weight of zero must not stop the task's head."""

    def weights(self, gram, losses, active, state, seed):
        return keras.ops.convert_to_tensor([0.0, 2.0, 3.0], gram.dtype), state


@pytest.mark.parametrize("head_gradients", ["task", "balanced"])
@pytest.mark.parametrize("reuse", [False, True])
def test_task_weights_reach_shared_and_task_variables(head_gradients, reuse, float64):
    """A reuse step applies the gradient that a balancing step would."""
    x, y = problems.data()
    model = problems.model()
    options = mtl.BalancingOptions(every=2, head_gradients=head_gradients)
    model.compile(sgd(), balancer=Fixed123(), balancing=options)
    if reuse:
        model.train_on_batch(x, y)
    literal = task_gradients(model, x, y)
    before = problems.weights(model)
    model.train_on_batch(x, y)
    after = problems.weights(model)
    weights = np.array([0.0, 2.0, 3.0])
    for path in before:
        parts = [(g[path], i) for i, g in enumerate(literal) if path in g]
        if len(parts) == 1 and head_gradients == "task":
            expected = parts[0][0]
        else:
            expected = sum(weights[i] * g for g, i in parts)
        found = (before[path] - after[path]) / 0.1
        np.testing.assert_allclose(found, expected, atol=1e-12, err_msg=path)


@pytest.mark.parametrize(
    ("scale", "total"), [("paper", 5.0), ("sum", 3.0), ("mean", 1.0)]
)
def test_scale(scale, total):
    model = problems.model()
    options = mtl.BalancingOptions(scale=scale)
    model.compile(sgd(), balancer=Fixed123(), balancing=options)
    model.train_on_batch(*problems.data())
    weights = model.balancing_state["task_weights"]
    np.testing.assert_allclose(weights, total / 5 * np.array([0, 2, 3]), rtol=1e-6)


def test_an_inactive_task_keeps_its_weight_for_the_reuse_steps():
    model = problems.model()
    model.compile(sgd(), balancer=Counting())
    x, y = problems.data()
    model.train_on_batch(x, y)
    y["sold"] = np.full_like(y["sold"], np.nan)
    model.train_on_batch(x, y)
    np.testing.assert_array_equal(model.balancing_state["task_weights"], [2, 2, 1])


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"balancer": "cagrad"},
        {"balancer": "pcgrad", "balancing": mtl.BalancingOptions(every=2)},
    ],
)
def test_one_trace(arguments, monkeypatch):
    """Full batches and the last, smaller one: the step is traced twice at most."""
    from keras_mtl.training.step import TrainingStep

    traces = []
    original = TrainingStep._update
    monkeypatch.setattr(
        TrainingStep,
        "_update",
        lambda self, *rest: (traces.append(1), original(self, *rest))[1],
    )
    model = problems.model()
    model.compile("adam", **arguments)
    x, y = problems.data(40)
    model.fit(x, y, batch_size=16, epochs=4, verbose=0)
    branches = 2 if "balancing" in arguments else 1
    assert len(traces) <= 2 * branches


def test_dwa_follows_the_epochs_of_fit(float64):
    x, y = problems.data()
    model = problems.model()
    model.compile(keras.optimizers.Adam(0.02), loss_weighting="dwa")
    logs = model.fit(x, y, batch_size=48, epochs=3, shuffle=False, verbose=0).history
    losses = np.array([logs[f"{t}_loss"] for t in problems.TASKS])
    ratio = losses[:, 1] / losses[:, 0]
    expected = 3 * np.exp(ratio / 2) / np.exp(ratio / 2).sum()
    fixed = np.array([1.0, 2.0, 1.0])
    np.testing.assert_allclose(
        model.balancing_state["loss_weights"], expected * fixed, rtol=1e-10
    )


def test_uncertainty_moves_its_variables_by_the_optimizer(float64):
    """One step of SGD from 0: s = -rate * (1/2 - factor * loss), loss weights aside."""
    x, y = problems.data()
    model = problems.model()
    model.compile(sgd(0.1), loss_weighting="uncertainty")
    logs = model.evaluate(x, y, batch_size=48, verbose=0, return_dict=True)
    losses = np.array([logs[f"{t}_loss"] for t in problems.TASKS])
    model.train_on_batch(x, y)
    found = model._step.state.weighting_variables["log_variances"]
    factors = np.array([1.0, 0.5, 1.0])
    expected = -0.1 * (0.5 - factors * losses)
    np.testing.assert_allclose(np.asarray(found), expected, atol=1e-12)
    model.train_on_batch(x, y)
    # The weights of the second step are those of the moved variables.
    np.testing.assert_allclose(
        model.balancing_state["loss_weights"],
        factors * np.exp(-expected) * np.array([1.0, 2.0, 1.0]),
        rtol=1e-10,
    )
