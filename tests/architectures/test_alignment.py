"""Alignment: a linear layer per task, a shared layer, and a loss on covariances."""

import json

import keras
import numpy as np
import pytest
from keras import ops

import keras_mtl as mtl
from tests.asserts import error_with

ROWS = 12


def tasks(names="ab", **kwargs):
    return [mtl.Task(name, mtl.heads.Regression(), **kwargs) for name in names]


def mlp(units=(4,), name="mlp"):
    return mtl.backbones.MLP(
        input_shape=(3,), units=units, activation="tanh", name=name
    )


def convnet():
    return mtl.backbones.ConvNet(input_shape=(6, 6, 2), filters=(3,), units=4)


def built(net, architecture="alignment", **kwargs):
    """A model with random variables, its inputs and labels."""
    model = mtl.build_model(net, tasks(**kwargs), architecture=architecture)
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    shape = keras.tree.flatten(model.input)[0].shape[1:]
    x = rng.normal(size=(ROWS, *shape)).astype(keras.config.floatx())
    return model, x, {task: rng.normal(size=ROWS) for task in model.task_names}


def covariance(z):
    return np.cov(z.reshape(-1, z.shape[-1]), rowvar=False, bias=True)


def cosine(a, b):
    return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())


@pytest.mark.parametrize("own", [False, True], ids=["one backbone", "one per task"])
def test_equals_a_computation_by_hand(own):
    nets = {"a": mlp((4,), "left"), "b": mlp((6,), "right")} if own else mlp()
    model, x, _ = built(nets, mtl.architectures.Alignment(5, activation="tanh"))
    found = model.predict({"features": x} if own else x, verbose=0)
    shared, shared_bias = model.get_layer("pooled_shared").get_weights()
    for task in "ab":
        net = nets[task] if own else nets
        h = net.predict(x, verbose=0)["pooled"]
        (turn,) = model.get_layer(f"{task}_pooled_alignment").get_weights()
        kernel, bias = model.get_layer(f"{task}_output").get_weights()
        h = np.tanh(h @ turn @ shared + shared_bias)
        np.testing.assert_allclose(found[task], h @ kernel + bias, atol=1e-4)


def test_at_first_nothing_is_turned():
    """Tasks then differ by their heads only, as with hard sharing."""
    net = mlp()
    architecture = mtl.architectures.Alignment()
    x = keras.Input((3,))
    of_task = {"a": x, "b": x}
    features = architecture.connect(of_task, {"a": net, "b": net}, tuple(tasks()))
    values = np.random.default_rng(0).normal(size=(ROWS, 3)).astype("float32")
    one, other = (
        keras.Model(x, features[task]["pooled"])(values) for task in ("a", "b")
    )
    np.testing.assert_array_equal(one, other)
    assert one.shape == (ROWS, 4)


def test_every_feature_is_aligned():
    net = convnet()
    features = mtl.architectures.Alignment(weight=0.1).connect(
        dict.fromkeys("ab", net.input), dict.fromkeys("ab", net), tuple(tasks())
    )
    for given in features.values():
        assert given["map"].shape == (None, 3, 3, 3)
        assert given["pooled"].shape == (None, 4)


def test_who_shares_what():
    model, x, y = built(mlp(), mtl.architectures.Alignment(weight=0.1))
    model.compile("sgd", balancer="pcgrad")
    shared = {v.path for v in model._step.reach.shared}
    assert {path.split("/")[0] for path in shared} == {"dense_0", "pooled_shared"}
    for task, own in zip("ab", model._step.reach.own, strict=True):
        assert {v.path.split("/")[0] for v in own} == {
            f"{task}_pooled_alignment",
            f"{task}_output",
        }
    assert np.isfinite(model.fit(x, y, verbose=0).history["loss"]).all()


# === The loss ===


def expected_losses(batches, momentum=0.9):
    """The loss of every step, from the aligned features of all tasks in it."""
    memory, losses = {}, []
    for features in batches:
        total = 0.0
        for task, z in enumerate(features):
            here = covariance(z)
            others = [c for j, c in memory.items() if j != task]
            if others:
                total += np.mean([1 - cosine(here, c) for c in others])
            old = memory.get(task, here)
            memory[task] = momentum * old + (1 - momentum) * here
        losses.append(total)
    return losses, memory


@pytest.mark.parametrize("shape", [(6, 3), (4, 5, 3), (2, 3, 3, 3)])
def test_loss_by_hand(shape, float64):
    layer = mtl.layers.CovarianceAlignment(3, weight=0.5)
    rng = np.random.default_rng(0)
    batches = [[rng.normal(size=shape) * [1, 2, 3] for _ in range(3)] for _ in "123"]
    expected, memory = expected_losses(batches)
    assert expected[0] > 0
    for features, wanted in zip(batches, expected, strict=True):
        found = 0.0
        for task, z in enumerate(features):
            returned = layer(z, task=task, training=True)
            np.testing.assert_array_equal(returned, z)
            found += float(sum(layer.losses, ops.zeros(())))
        assert found == pytest.approx(0.5 * wanted)
    for task, c in memory.items():
        np.testing.assert_allclose(layer.covariances[task], c)


def test_proportional_covariances_cost_nothing():
    layer = mtl.layers.CovarianceAlignment(2)
    z = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    layer(z, task=0, training=True)
    layer(5 * z + 1, task=1, training=True)
    assert float(layer.losses[0]) == pytest.approx(0, abs=1e-5)


def test_no_loss_outside_of_training():
    layer = mtl.layers.CovarianceAlignment(2)
    z = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    for task in (0, 1):
        layer(z, task=task)
    assert layer.losses == []
    assert not np.any(layer.covariances[0])


def test_constant_features_are_harmless():
    """Features without variance, as after dead units: finite, and no gradient."""
    model, x, y = built(mlp(), mtl.architectures.Alignment(weight=1.0))
    model.get_layer("a_pooled_alignment").kernel.assign(np.zeros((4, 4)))
    model.compile("sgd")
    history = model.fit(x, y, epochs=3, batch_size=ROWS, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert all(np.all(np.isfinite(w)) for w in model.get_weights())


def test_training_aligns():
    """The loss is in the logs, and its gradient turns the task's layers."""
    model, x, y = built(mlp(), mtl.architectures.Alignment(weight=3.0))
    zero = dict.fromkeys("ab", 0.0)
    model.compile(keras.optimizers.Adam(0.05), loss_weights=zero)
    before = {v.path: np.array(v) for v in model.trainable_variables}
    losses = model.fit(x, y, epochs=40, batch_size=ROWS, verbose=0).history["loss"]
    assert losses[1] > 0.1
    assert losses[-1] < 0.2 * losses[1]
    for task in "ab":
        path = f"{task}_pooled_alignment/kernel"
        after = np.asarray(model.get_layer(f"{task}_pooled_alignment").kernel)
        assert np.abs(after - before[path]).max() > 0.01


@pytest.mark.parametrize("make", [mlp, convnet])
def test_saved_and_loaded(make, tmp_path):
    architecture = mtl.architectures.Alignment(weight=0.2)
    model, x, y = built(make(), architecture)
    model.compile("sgd", balancer="pcgrad")
    model.fit(x, y, batch_size=ROWS, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.architecture.get_config() == architecture.get_config()
    logs = [m.fit(x, y, batch_size=ROWS, verbose=0).history for m in (model, loaded)]
    assert logs[0]["loss"] == pytest.approx(logs[1]["loss"], rel=1e-5)
    for task, value in model.predict(x, verbose=0).items():
        found = loaded.predict(x, verbose=0)[task]
        np.testing.assert_allclose(found, value, atol=1e-5)


def test_mixed_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model, x, y = built(convnet(), mtl.architectures.Alignment(weight=0.2))
    finally:
        keras.config.set_dtype_policy(policy)
    model.compile("sgd")
    assert np.isfinite(model.fit(x, y, epochs=2, verbose=0).history["loss"]).all()
    memory = model.get_layer("pooled_covariance").covariances
    assert all(c.dtype == "float32" and np.any(c) for c in memory)


@pytest.mark.parametrize("balancer", [None, "pcgrad"])
def test_two_replicas(two_replicas, balancer, float64):
    """The loss is the mean of the replicas', each with the features that it sees."""
    with two_replicas.scope():
        model, x, y = built(mlp(), mtl.architectures.Alignment(weight=0.2))
        model.compile(keras.optimizers.SGD(0.0), balancer=balancer)
    plain = model.evaluate(x, y, batch_size=ROWS, verbose=0, return_dict=True)["loss"]
    found = model.fit(x, y, batch_size=ROWS, shuffle=False, verbose=0).history["loss"]
    half = ROWS // 2
    losses = []
    for rows in (x[:half], x[half:]):
        aligned = [
            keras.Model(model.input, model.get_layer(f"{t}_pooled_alignment").output)
            for t in "ab"
        ]
        features = [np.asarray(m(rows)) for m in aligned]
        losses.append(expected_losses([features])[0][0])
    assert found[0] - plain == pytest.approx(0.2 * np.mean(losses), rel=1e-6)


def test_configuration_round_trip():
    architecture = mtl.architectures.Alignment(7, weight=0.5, activation="gelu")
    serialised = json.loads(
        json.dumps(keras.saving.serialize_keras_object(architecture))
    )
    copy = keras.saving.deserialize_keras_object(serialised)
    assert copy.get_config() == architecture.get_config()
    layer = mtl.layers.CovarianceAlignment(3, weight=2.0, momentum=0.5)
    assert layer.get_config().items() >= {"num_tasks": 3, "momentum": 0.5}.items()
    copy = mtl.layers.CovarianceAlignment.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()


@pytest.mark.parametrize(
    ("config", "names", "parts"),
    [
        ({"units": 0}, "ab", ["`units`", ">= 1"]),
        ({"weight": -1.0}, "ab", ["`weight`", ">= 0"]),
        ({}, "a", ["at least two tasks", "['a']"]),
        ({}, "bc", ["`units`", "'pooled'", "{'b': 4, 'c': 6}"]),
    ],
)
def test_errors(config, names, parts):
    nets = {"a": mlp(), "b": mlp(), "c": mlp((6,), "wide")}
    given = {name: nets[name] for name in names}
    with error_with(ValueError, *parts):
        mtl.build_model(
            given,
            tasks(names),
            architecture={"class_name": "alignment", "config": config},
        )
