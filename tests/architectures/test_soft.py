"""Soft sharing: independent towers, and three penalties on their distance."""

import keras
import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf

import keras_mtl as mtl
from keras_mtl.architectures.soft import corresponding
from tests.architectures.connected import (
    assert_features,
    connected,
    dense,
    mlp,
    predicted,
    rows,
    shaken,
    tasks,
)

SoftSharing = mtl.architectures.SoftSharing
THREE = ("a", "b", "c")
DISTANCES = ("l2", "trace_norm", "relation")


def built(distance="l2", names=THREE, **kwargs):
    return mtl.build_model(
        mlp((4, 2)), list(tasks(names)), architecture=SoftSharing(distance, **kwargs)
    )


def variables(model):
    return {t: model.task_model(t).trainable_variables for t in model.task_names}


def matrices(model):
    """One column per task, for every variable of the towers; no variable of a head."""
    return [
        np.stack(
            [
                np.asarray(model.get_layer(f"{layer}_{t}").weights[i], float).ravel()
                for t in model.task_names
            ],
            axis=1,
        )
        for layer in ("dense_0", "dense_1")
        for i in range(2)
    ]


def l2(ws):
    return sum(
        np.sum((w[:, s] - w[:, t]) ** 2)
        for w in ws
        for t in range(w.shape[1])
        for s in range(t)
    )


def trace_norm(ws):
    return sum(np.linalg.svd(w, compute_uv=False).sum() for w in ws)


def best_relation(ws):
    w = np.concatenate(ws)
    root = scipy.linalg.sqrtm(w.T @ w).real
    return root / np.trace(root)


def relation(ws):
    w = np.concatenate(ws)
    return np.trace(w @ np.linalg.inv(best_relation(ws)) @ w.T)


def test_towers_are_independent():
    model = shaken(connected(SoftSharing(), mlp(), THREE))
    expected = {}
    for task in THREE:
        h = dense(model, f"dense_0_{task}", rows())
        expected[task] = {"pooled": dense(model, f"dense_1_{task}", h)}
    assert_features(predicted(model, rows()), expected)


@pytest.mark.parametrize("distance", DISTANCES)
def test_penalty_equals_numpy(distance):
    model = shaken(built(distance, weight=0.3))
    found = model.architecture.penalty(variables(model))
    expected = 0.3 * globals()[distance](matrices(model))
    assert float(found) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("start", ["shaken", "alike"])
def test_gradient_equals_finite_differences(distance, start):
    """Of the relation too, whose matrix is the best one for the moved variables."""
    model = built(distance, weight=1.0)
    if start == "shaken":
        shaken(model)
    by_task = variables(model)
    with tf.GradientTape() as tape:
        penalty = model.architecture.penalty(by_task)
    variable = model.get_layer("dense_0_b").kernel
    gradient = np.asarray(tape.gradient(penalty, variable.value))
    assert np.isfinite(gradient).all()
    direction = np.random.default_rng(0).normal(size=gradient.shape)
    if start == "alike":
        # Elsewhere than along the variable these norms have a kink.
        direction = np.asarray(variable)
    value, step, ends = np.asarray(variable), 1e-3, []
    for sign in (1, -1):
        variable.assign(value + sign * step * direction)
        ws = matrices(model)
        ends.append(ends_of(distance, ws))
    slope = (ends[0] - ends[1]) / (2 * step)
    assert np.sum(gradient * direction) == pytest.approx(slope, rel=2e-2, abs=2e-2)


def ends_of(distance, ws):
    """The penalties, of towers that are alike too."""
    if distance == "relation":
        return np.linalg.svd(np.concatenate(ws), compute_uv=False).sum() ** 2
    return globals()[distance](ws)


def test_relation_is_the_square_of_the_trace_norm():
    """Zhang & Yeung's matrix is the minimiser; at it the penalty is the square."""
    ws = matrices(shaken(built()))
    assert relation(ws) == pytest.approx(trace_norm([np.concatenate(ws)]) ** 2)
    w, best = np.concatenate(ws), best_relation(ws)
    rng = np.random.default_rng(0)
    for _ in range(20):
        other = rng.normal(size=(3, 3))
        other = best + 0.05 * other @ other.T
        other /= np.trace(other)
        assert np.trace(w @ np.linalg.inv(other) @ w.T) >= relation(ws)


def test_relations():
    model = shaken(built("relation"))
    found = np.asarray(model.architecture.relations(variables(model)))
    np.testing.assert_allclose(found, best_relation(matrices(model)), atol=1e-5)
    assert np.trace(found) == pytest.approx(1.0, rel=1e-5)


def test_which_variables_correspond():
    model = built()
    pairs = corresponding(variables(model))
    assert [[v.path for v in group] for group in pairs] == [
        [f"{layer}_{task}/{part}" for task in THREE]
        for layer in ("dense_0", "dense_1")
        for part in ("kernel", "bias")
    ]


def test_variables_of_nested_models_correspond_after_loading(tmp_path):
    inner = mlp((4,), name="inner")
    x = keras.Input((3,), name="x")
    y = keras.layers.Dense(2, name="top")(inner(x)["pooled"])
    net = keras.Model(x, {"pooled": y})
    model = mtl.build_model(net, list(tasks()), architecture="soft")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for each in (model, loaded):
        paths = [group[0].path for group in corresponding(variables(each))]
        layers = ("dense_0_a", "top_a")
        assert paths == [f"{a}/{b}" for a in layers for b in ("kernel", "bias")]


def test_layers_of_one_name_and_other_shapes_are_left_out():
    nets = {}
    for task, width in (("a", 3), ("b", 5)):
        x = inputs = keras.Input((width,), name=f"x_{task}")
        for layer in ("low", "high"):
            x = keras.layers.Dense(4, name=layer)(x)
        nets[task] = keras.Model(inputs, {"pooled": x}, name=f"net_{task}")
    model = mtl.build_model(nets, list(tasks()), architecture="soft")
    paths = [group[1].path for group in corresponding(variables(model))]
    assert paths == ["high_b/kernel", "high_b/bias"]


def test_trained_with_it_towers_come_together():
    spread = {}
    for weight in (0.0, 0.3):
        keras.utils.set_random_seed(3)
        model = built("relation", ("a", "b"), weight=weight)
        x = rows(size=32)
        model.compile(keras.optimizers.Adam(0.03))
        model.fit(x, {"a": x[:, 0], "b": -x[:, 1]}, epochs=20, verbose=0)
        ws = np.concatenate(matrices(model))
        values = np.linalg.svd(ws, compute_uv=False)
        spread[weight] = values[1] / values[0]
    assert spread[0.3] < 0.7 * spread[0.0]


def test_weight_zero_is_no_penalty():
    model = built(weight=0.0)
    assert model.architecture.penalty(variables(model)) is None


def test_a_balancer_has_nothing_to_balance():
    model = built()
    with pytest.raises(ValueError) as error:
        model.compile("adam", balancer="pcgrad")
    for part in ("share trainable variables", "architecture=SoftSharing", "Leave"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("build", "parts"),
    [
        (lambda: SoftSharing("far"), ["`distance`", "'l2'", "'far'"]),
        (lambda: SoftSharing(weight=-1), ["`weight`", "-1"]),
        (
            lambda: connected(SoftSharing(), mlp(), ("a",)),
            ["several tasks with SoftSharing"],
        ),
        (
            lambda: connected(SoftSharing(), {"a": mlp((4,)), "b": mlp((5,))}),
            ["layers of one name", "(3, 4)", "(3, 5)", "'a'", "'b'"],
        ),
    ],
)
def test_errors(build, parts):
    with pytest.raises(ValueError) as error:
        build()
    for part in parts:
        assert part in str(error.value)
