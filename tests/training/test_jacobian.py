"""Balancers that need the task gradients themselves, in the step."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_mtl as mtl
from keras_mtl.utils.random import uniform
from tests.asserts import error_with
from tests.balancers import jacobian_oracles as oracles
from tests.balancers import samplers
from tests.training import problems
from tests.training.test_partial_labels import RootLoss
from tests.training.test_replicas import assert_same, both
from tests.training.test_step import one_step, task_gradients

METHODS = {
    "graddrop": {"leak": 0.2},
    "trimmed_mean": {"trim_number": 0},
    "moco": {"rho": 0.1},
    "db_mtl_averaged": {},
    "excess_mtl": {"eta": 0.5},
    "latest_gradients": {},
}
EACH = pytest.mark.parametrize("name", METHODS)


def make(name):
    return mtl.balancers.get({"class_name": name, "config": METHODS[name]})


def sgd():
    return keras.optimizers.SGD(0.1)


def task_losses(model, x, y):
    outputs = model(x)
    return np.array(
        [
            task.head.default_loss()(
                task.head.prepare_labels(tf.convert_to_tensor(y[task.name])),
                outputs[task.name],
            )
            for task in model.tasks
        ]
    )


def drawn(model):
    """The uniform numbers of the coming step, block after block."""
    seed = model._step.state.step_seed()
    sizes = [int(np.prod(v.shape)) for v in model._step.reach.shared]
    return np.concatenate([uniform(ops.arange(size), seed) for size in sizes])


def literal(name, steps, losses, numbers):
    """The last of the oracle's updates."""
    if name == "graddrop":
        return oracles.graddrop(steps[-1], numbers, np.full(3, 0.2))
    if name == "trimmed_mean":
        return oracles.trimmed_mean(steps[-1], 1)
    if name == "moco":
        return oracles.moco(steps, 0.5, 0.1, 0.1, "simplex")[-1]
    if name == "db_mtl_averaged":
        of_logs = [J / values[:, None] for J, values in zip(steps, losses, strict=True)]
        return oracles.db_mtl(of_logs, np.ones(3), 0.9)[-1]
    if name == "latest_gradients":
        weights, _ = samplers.step(mtl.balancers.CAGrad(), steps[-1])
        return weights @ steps[-1]
    return oracles.excess_mtl(steps, 0.5)[-1]


@EACH
def test_steps_are_the_literal_algorithm_on_full_vectors(name, float64):
    """Three steps of SGD, each from the gradients where the last one ended."""
    x, y = problems.data()
    model = problems.model()
    balancer = mtl.balancers.TrimmedMean(1) if name == "trimmed_mean" else make(name)
    model.compile(sgd(), balancer=balancer)
    paths = [v.path for v in model._step.reach.shared]
    steps, losses = [], []
    for _ in range(3):
        found = task_gradients(model, x, y)
        rows = [np.concatenate([g[p].ravel() for p in paths]) for g in found]
        steps.append(np.stack(rows))
        losses.append(task_losses(model, x, y) + 1e-8)
        numbers, before = drawn(model), problems.weights(model)
        model.train_on_batch(x, y)
        after = problems.weights(model)
        moved = {path: (before[path] - after[path]) / 0.1 for path in before}
        update = np.concatenate([moved[path].ravel() for path in paths])
        expected = literal(name, steps, losses, numbers)
        np.testing.assert_allclose(update, expected, atol=1e-12)
        assert np.abs(update).max() > 1e-3
        for gradients in found:
            for path in set(gradients) - set(paths):
                np.testing.assert_allclose(moved[path], gradients[path], atol=1e-12)


@EACH
def test_records_are_those_of_the_task_gradients(name, float64):
    x, y = problems.data()
    model = problems.model()
    found = task_gradients(model, x, y)
    model.compile(sgd(), balancer=make(name))
    model.train_on_batch(x, y)
    paths = [v.path for v in model._step.reach.shared]
    J = np.stack([np.concatenate([g[p].ravel() for p in paths]) for g in found])
    lengths = np.linalg.norm(J, axis=1)
    cosine = J @ J.T / np.outer(lengths, lengths)
    state = model.balancing_state
    assert "task_weights" not in state
    np.testing.assert_allclose(state["gradient_norms"], lengths, rtol=1e-10)
    np.testing.assert_allclose(state["cosine"], cosine, atol=1e-10)
    assert state["conflict_rate"] == (cosine[np.triu_indices(3, 1)] < 0).mean()


@EACH
def test_two_replicas_are_one(name, float64, two_replicas):
    """Uneven last batch, partial labels, sample weights, a learned weighting."""
    arguments = {"balancer": make(name), "loss_weighting": "uncertainty"}
    one, two = both(two_replicas, sgd, epochs=1, **arguments)
    assert_same(one, two)
    for key, value in one[0]._step.state.balancer_state.items():
        other = two[0]._step.state.balancer_state[key]
        np.testing.assert_allclose(np.asarray(value), np.asarray(other), atol=1e-11)


def fit(model, name, optimizer=None, epochs=2, data=None, **arguments):
    x, y = problems.data() if data is None else data
    keras.utils.set_random_seed(5)
    optimizer = keras.optimizers.Adam(0.02) if optimizer is None else optimizer
    model.compile(optimizer, balancer=make(name), **arguments)
    model.fit(x, y, batch_size=16, epochs=epochs, shuffle=False, verbose=0)
    return problems.weights(model)


@EACH
def test_a_task_without_labels_is_as_if_it_were_not_there(name, float64):
    x, y = problems.data()
    without = fit(problems.model(("kind", "price")), name, data=(x, y))
    y["sold"] = np.full_like(y["sold"], np.nan)
    found = fit(problems.model(), name, data=(x, y))
    for path, value in without.items():
        np.testing.assert_allclose(found[path], value, atol=1e-11, err_msg=path)


@pytest.mark.parametrize("name", ["graddrop", "moco"])
def test_xla_gives_the_numbers_of_the_graph(name, float64):
    graph = fit(problems.model(), name)
    compiled = fit(problems.model(), name, jit_compile=True)
    assert problems.largest_difference(graph, compiled) < 1e-11


@pytest.mark.parametrize(
    ("name", "scaling"),
    [(name, "dynamic") for name in METHODS] + [("moco", "static")],
)
def test_loss_scaling_changes_nothing(name, scaling, float64):
    """The methods see unscaled gradients, what they remember is the same."""
    model, scaled_model = problems.model(), problems.model()
    plain = fit(model, name, keras.optimizers.Adam(0.01))
    if scaling == "dynamic":
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01))
    else:
        optimizer = keras.optimizers.Adam(0.01, loss_scale_factor=512.0)
    scaled = fit(scaled_model, name, optimizer)
    assert problems.largest_difference(plain, scaled) < 1e-11
    for key, value in model._step.state.balancer_state.items():
        other = scaled_model._step.state.balancer_state[key]
        np.testing.assert_allclose(np.asarray(value), np.asarray(other), atol=1e-11)


@pytest.mark.parametrize("name", ["moco", "graddrop"])
def test_an_overflow_skips_the_step_for_the_method_too(name):
    """Float16 overflows at first: only applied steps count, everything is finite."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = problems.model()
        optimizer = keras.optimizers.LossScaleOptimizer(sgd(), initial_scale=2.0**22)
        fit(model, name, optimizer, epochs=4)
    finally:
        keras.config.set_dtype_policy("float32")
    applied = int(model.optimizer.iterations.numpy())
    assert 0 < applied < 12
    assert model.balancing_state["step"] == applied
    assert float(model.optimizer.dynamic_scale.numpy()) < 2.0**22
    assert all(np.isfinite(v).all() for v in problems.weights(model).values())
    for value in model._step.state.balancer_state.values():
        assert np.isfinite(np.asarray(value)).all()


@pytest.mark.parametrize(
    ("name", "bad"),
    [*((name, "loss") for name in METHODS), ("moco", "gradient")],
)
def test_a_task_that_is_not_finite_is_left_out(name, bad, float64):
    x, y = problems.data()
    changes = {}
    if bad == "loss":
        y["price"][20, 0] = np.inf  # in the second of three batches
    else:
        changes = {"price": {"loss": RootLoss()}}
    model = problems.model(**changes)
    found = fit(model, name, epochs=1, data=(x, y))
    assert all(np.isfinite(value).all() for value in found.values())
    for value in model._step.state.balancer_state.values():
        assert np.isfinite(np.asarray(value)).all()
    expected = [0, 1, 0] if bad == "loss" else [0, 3, 0]
    np.testing.assert_array_equal(model.balancing_state["nonfinite"], expected)


def test_start_after(float64):
    """Keras' own step at first, then the method's first one."""
    x, y = problems.data()
    model, plain = problems.model(), problems.model()
    options = mtl.BalancingOptions(start_after=2)
    model.compile(sgd(), balancer=make("moco"), balancing=options)
    plain.compile(sgd())
    for _ in range(2):
        model.train_on_batch(x, y)
        plain.train_on_batch(x, y)
    before = problems.weights(model)
    assert problems.largest_difference(before, problems.weights(plain)) < 1e-13
    assert not np.asarray(model._step.state.balancer_state["average_0"]).any()
    model.train_on_batch(x, y)
    step = one_step(plain, x, y, balancer=make("moco"))
    for path, value in problems.weights(model).items():
        found = (before[path] - value) / 0.1
        np.testing.assert_allclose(found, step[path], atol=1e-12, err_msg=path)


@pytest.mark.parametrize("name", ["graddrop", "moco", "excess_mtl"])
def test_keras_file_continues_exactly(name, tmp_path):
    x, y = problems.data()

    def go_on(model, first, last):
        model.fit(
            x,
            y,
            batch_size=16,
            shuffle=False,
            verbose=0,
            initial_epoch=first,
            epochs=last,
        )

    model = problems.model()
    model.compile(keras.optimizers.Adam(0.02), balancer=make(name))
    go_on(model, 0, 2)
    model.save(tmp_path / "model.keras")
    go_on(model, 2, 4)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    go_on(loaded, 2, 4)
    difference = problems.largest_difference(
        problems.weights(model), problems.weights(loaded)
    )
    assert difference == 0.0
    for key, value in model._step.state.balancer_state.items():
        other = loaded._step.state.balancer_state[key]
        np.testing.assert_array_equal(np.asarray(value), np.asarray(other), err_msg=key)


def test_loading_under_another_method_starts_afresh_with_a_warning(tmp_path):
    model = problems.model()
    fit(model, "moco", epochs=1)
    assert len(model.weights) == len(problems.model().weights)
    model.save_weights(tmp_path / "w.weights.h5")
    other = problems.model()
    other.compile(keras.optimizers.Adam(0.02), balancer="excess_mtl")
    with pytest.warns(UserWarning, match=r"balancer\.ExcessMTL.*starts afresh"):
        other.load_weights(tmp_path / "w.weights.h5")
    assert not np.asarray(other._step.state.balancer_state["squares_0"]).any()


def test_the_tensorboard_callback_does_without_task_weights(tmp_path):
    x, y = problems.data()
    model = problems.model()
    model.compile(sgd(), balancer="moco")
    callback = mtl.callbacks.TaskTensorBoard(str(tmp_path), update_freq=1)
    model.fit(x, y, batch_size=16, epochs=2, verbose=0, callbacks=[callback])
    run = mtl.analysis.read_run(str(tmp_path))
    assert "task_weight" not in run.weights
    assert run.weights["gradient_norm"].shape == (2, 3)
    mtl.analysis.run_figure(run)


@pytest.mark.parametrize(
    ("option", "value", "possible"),
    [
        ("every", 2, "1"),
        ("scale", "sum", "'paper'"),
        ("head_gradients", "balanced", "'task'"),
    ],
)
def test_options_that_need_task_weights(option, value, possible):
    model = problems.model()
    options = mtl.BalancingOptions(**{option: value})
    parts = [f"{option}={possible}", f"{option}={value!r}", "balancer=GradDrop"]
    with error_with(ValueError, *parts, "no task weights"):
        model.compile(sgd(), balancer="graddrop", balancing=options)
    model.compile(sgd(), balancer="mgda", balancing=options)


def test_what_does_not_fit_the_number_of_tasks_is_an_error_at_compile():
    with error_with(ValueError, "`leak`", "3 tasks"):
        problems.model().compile(sgd(), balancer=mtl.balancers.GradDrop([0.1]))
    with error_with(ValueError, "more than 4 tasks", "3 tasks"):
        problems.model().compile(sgd(), balancer=mtl.balancers.TrimmedMean(2))
