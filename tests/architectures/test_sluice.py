"""Sluice networks: subspaces of all towers are mixed, and stages at the end."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl.layers import LayerMixture, SluiceUnit
from tests.architectures.connected import (
    assert_features,
    connected,
    dense,
    mlp,
    predicted,
    rows,
    shaken,
    tasks,
    weights,
)

Sluice = mtl.architectures.Sluice
THREE = ("a", "b", "c")


def mixture(alpha, num_subspaces, features):
    """Term by term: every slice of the output from every slice of every tower."""
    slices = [part for h in features for part in np.split(h, num_subspaces, axis=-1)]
    return np.concatenate(
        [sum(a * h for a, h in zip(row, slices, strict=True)) for row in alpha], axis=-1
    )


@pytest.mark.parametrize("num_subspaces", [1, 2, 4])
def test_equals_numpy(num_subspaces):
    architecture = Sluice(num_subspaces=num_subspaces)
    model = shaken(connected(architecture, mlp((4, 4, 4)), THREE))
    h = dict.fromkeys(THREE, rows())
    stages = {task: [] for task in THREE}
    for layer in ("dense_0", "dense_1", "dense_2"):
        towers = {t: dense(model, f"{layer}_{t}", h[t]) for t in THREE}
        for task in THREE:
            (alpha,) = weights(model, f"{task}_{layer}_sluice")
            h[task] = mixture(alpha, num_subspaces, list(towers.values()))
            stages[task].append(h[task])
    expected = {}
    for task in THREE:
        (beta,) = weights(model, f"{task}_stages")
        total = sum(b * x for b, x in zip(beta, stages[task], strict=True))
        expected[task] = {"pooled": total}
    assert_features(predicted(model, rows()), expected)


def test_only_stages_of_the_last_shape_are_mixed():
    model = connected(Sluice(), mlp((6, 4, 4)))
    assert model.get_layer("a_stages").beta.shape == (2,)
    names = [layer.name for layer in connected(Sluice(), mlp((6, 4))).layers]
    assert "a_stages" not in names


def test_starts_near_the_identity():
    unit = SluiceUnit(task=1)
    unit.build([(None, 4), (None, 4)])
    share = 0.1 / 3
    expected = [[share, share, 0.9, share], [share, share, share, 0.9]]
    np.testing.assert_allclose(unit.alpha, expected, rtol=1e-6)
    layers = LayerMixture()
    layers.build([(None, 4)] * 3)
    np.testing.assert_allclose(layers.beta, [0.05, 0.05, 0.9], rtol=1e-6)


def test_identity_is_independent_towers():
    nets = {"a": mlp(name="one"), "b": mlp(name="two")}
    found = predicted(connected(Sluice(own_weight=1.0), nets), rows())
    for task, net in nets.items():
        np.testing.assert_allclose(found[task]["pooled"], net(rows())["pooled"], 1e-5)


@pytest.mark.parametrize("shape", [(6,), (5, 6), (2, 3, 6)])
def test_penalty(shape):
    unit = SluiceUnit(task=1, num_subspaces=3, orthogonality=0.5)
    x = [rows(shape), rows(shape, seed=1)]
    mixed = unit(x, training=True)
    h = x[1].reshape(-1, 6).astype("float64")
    slices = np.split(h, 3, axis=1)
    expected = 0.0
    for r, s in ((0, 1), (0, 2), (1, 2)):
        product = slices[r].T @ slices[s] / len(h)
        expected += 0.5 * np.linalg.norm(product) ** 2 / product.size
    (found,) = unit.losses
    assert float(found) == pytest.approx(expected, rel=1e-4)
    (alpha,) = (np.asarray(v) for v in unit.weights)
    np.testing.assert_allclose(mixed, mixture(alpha, 3, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("training", "kwargs"),
    [(False, {}), (True, {"orthogonality": 0.0}), (True, {"num_subspaces": 1})],
)
def test_no_penalty(training, kwargs):
    unit = SluiceUnit(task=0, **kwargs)
    unit([rows((4,)), rows((4,))], training=training)
    assert unit.losses == []


def test_penalty_is_trained_with():
    """Of features that no task trains, subspaces become orthogonal."""
    sizes = {}
    for orthogonality in (0.0, 100.0):
        model = mtl.build_model(
            mlp((4,)), list(tasks()), architecture=Sluice(orthogonality=orthogonality)
        )
        weights_of_tasks = {"a": 0.0, "b": 0.0}
        model.compile(keras.optimizers.Adam(0.03), loss_weights=weights_of_tasks)
        y = {name: np.zeros(32) for name in "ab"}
        model.fit(rows(size=32), y, epochs=20, verbose=0)
        h = dense(model, "dense_0_a", rows(size=32))
        sizes[orthogonality] = np.abs(h[:, :2].T @ h[:, 2:]).max()
    assert sizes[100.0] < 0.5 * sizes[0.0]


@pytest.mark.parametrize(
    ("build", "parts"),
    [
        (lambda: Sluice(num_subspaces=0), ["`num_subspaces`", "0"]),
        (lambda: Sluice(orthogonality=-1), ["`orthogonality`", "-1"]),
        (lambda: connected(Sluice(), mlp(), ("a",)), ["several tasks with Sluice"]),
        (
            lambda: connected(Sluice(num_subspaces=3), mlp()),
            ["multiple of `num_subspaces`", "4 channels", "'a_dense_0_sluice'"],
        ),
    ],
)
def test_errors(build, parts):
    with pytest.raises(ValueError) as error:
        build()
    for part in parts:
        assert part in str(error.value)
