"""Frozen parts of a backbone, and learning rates per part."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_mtl as mtl
from tests.asserts import error_with

ROWS = 16


def tasks():
    return [
        mtl.Task("kind", mtl.heads.Classification(3, hidden_units=(4,))),
        mtl.Task("size", mtl.heads.Regression()),
    ]


def mlp():
    return mtl.backbones.MLP(input_shape=(4,), units=(5, 5, 5), activation="tanh")


def convnet():
    return mtl.backbones.ConvNet(input_shape=(4, 4, 1), filters=(2, 3), units=5)


def plain():
    """A model that names no stages."""
    x = keras.Input((4,), name="x")
    h = layers.Dense(5, name="first")(x)
    h = layers.BatchNormalization(name="norm")(h)
    h = layers.ReLU(name="relu")(h)
    h = layers.Dense(5, name="second")(h)
    return keras.Model(x, layers.Dense(5, name="third")(h), name="plain")


def data(model, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(ROWS, *model.input.shape[1:]))
    x = x.astype(keras.config.floatx())
    first = x.reshape(ROWS, -1)
    return x, {"kind": (first[:, 0] > 0).astype(int), "size": first.sum(axis=1)}


def trained(net):
    """Names of the layers of a backbone whose variables are trained."""
    return {layer.name for layer in net.layers if layer.trainable_variables}


CASES = [
    (mlp, True, {"dense_0", "dense_1", "dense_2"}),
    (mlp, False, set()),
    (mlp, 1, {"dense_2"}),
    (mlp, 2, {"dense_1", "dense_2"}),
    (mlp, 3, {"dense_0", "dense_1", "dense_2"}),
    (mlp, 9, {"dense_0", "dense_1", "dense_2"}),
    (mlp, ["dense_1"], {"dense_1"}),
    (mlp, [], set()),
    (convnet, 1, {"stage_1_conv", "stage_1_norm", "pooled"}),
    (convnet, ("stage_0_norm", "pooled"), {"stage_0_norm", "pooled"}),
    (plain, 1, {"third"}),
    (plain, 3, {"norm", "second", "third"}),
    (plain, 4, {"first", "norm", "second", "third"}),
    (plain, False, set()),
]


@pytest.mark.parametrize(("make", "trainable", "expected"), CASES)
def test_what_is_trained(make, trainable, expected):
    net = make()
    model = mtl.build_model(net, tasks(), backbone_trainable=trainable)
    assert trained(net) == expected
    wanted = {id(v) for name in expected for v in net.get_layer(name).variables}
    heads = [v for v in model.trainable_variables if id(v) not in wanted]
    assert len(heads) == 6
    assert len(model.trainable_variables) == 6 + sum(
        len(net.get_layer(name).trainable_variables) for name in expected
    )


def test_true_changes_nothing():
    net = mlp()
    net.get_layer("dense_0").trainable = False
    model = mtl.build_model(net, tasks())
    assert trained(net) == {"dense_1", "dense_2"}
    assert len(model.trainable_variables) == 6 + 4


@pytest.mark.parametrize("architecture", ["hard", "adapters", "film", "lora"])
@pytest.mark.parametrize(
    ("make", "trainable"), [(mlp, 1), (convnet, 1), (plain, ["third"]), (mlp, False)]
)
def test_kept_by_the_file(architecture, make, trainable, tmp_path):
    """What is frozen stays so in a loaded model, and neither of them moves it."""
    if make is plain and architecture in ("adapters", "film"):
        stages = {"class_name": architecture, "config": {"stages": ["first"]}}
        architecture = stages
    net = make()
    model = mtl.build_model(
        net, tasks(), architecture=architecture, backbone_trainable=trainable
    )
    model.compile(keras.optimizers.SGD(0.1))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    shapes = [v.shape for v in model.trainable_variables]
    assert [v.shape for v in loaded.trainable_variables] == shapes
    x, y = data(model)
    may_move = {v.path for v in model.trainable_variables}
    for name in ("moving_mean", "moving_variance"):  # of normalisation that is trained
        may_move |= {path.replace("gamma", name) for path in may_move}
    for built in (model, loaded):
        built.run_eagerly = True  # Two steps, sooner done than traced.
        before = {v.path: np.array(v) for v in built.weights}
        built.fit(x, y, epochs=2, shuffle=False, verbose=0)
        moved = {v.path for v in built.weights if np.any(before[v.path] != np.array(v))}
        assert moved
        assert moved <= may_move
    for one, other in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_backbone_per_task():
    nets = {
        "kind": mlp(),
        "size": mtl.backbones.MLP(input_shape=(4,), units=(3, 2), name="other"),
    }
    mtl.build_model(nets, tasks(), backbone_trainable=1)
    assert trained(nets["kind"]) == {"dense_2"}
    assert trained(nets["size"]) == {"dense_1"}


@pytest.mark.parametrize(
    ("value", "error", "parts"),
    [
        (0, ValueError, ["`backbone_trainable`", ">= 1"]),
        (["dense_7"], ValueError, ["'dense_0'", "['dense_7'] do not exist"]),
        ("dense_0", TypeError, ["`backbone_trainable`", "'dense_0'"]),
        ([1], TypeError, ["list with names", "[1]"]),
        (1.5, TypeError, ["backbone_trainable=1.5"]),
    ],
)
def test_wrong_values(value, error, parts):
    net = mlp()
    with error_with(error, *parts):
        mtl.build_model(net, tasks(), backbone_trainable=value)
    assert trained(net) == {"dense_0", "dense_1", "dense_2"}


def test_everything_frozen():
    model = mtl.build_model(mlp(), tasks(), backbone_trainable=False)
    model.compile("sgd")  # The heads are trained.
    model.trainable = False
    with error_with(ValueError, "all of them frozen", "`backbone_trainable`"):
        model.compile("sgd")


def test_a_balancer_of_a_frozen_backbone():
    model = mtl.build_model(mlp(), tasks(), backbone_trainable=False)
    with error_with(ValueError, "unfreeze the backbone"):
        model.compile("sgd", balancer="pcgrad")


# === Learning rates per part ===

OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(0.1),
    "adamw": lambda: keras.optimizers.AdamW(0.1, weight_decay=0.5),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.1),
    "lion": lambda: keras.optimizers.Lion(0.1),
    "clipped": lambda: keras.optimizers.Adam(0.1, global_clipnorm=0.01),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.1)),
}
PARTS = {"backbone": 0.25, "kind": 3.0, "dense_1": 0.5, "size": 0.0}


def factor_of(path):
    """What `PARTS` means, by the names of layers in the paths of variables."""
    layer = path.split("/")[0]
    if layer in PARTS:
        return PARTS[layer]
    return PARTS.get(layer.split("_")[0], PARTS["backbone"])


def model_of(make=mlp, **kwargs):
    keras.utils.set_random_seed(3)
    return mtl.build_model(make(), tasks(), **kwargs)


def steps_of(model, count=1):
    """Changes of the variables by `count` steps."""
    before = {v.path: np.array(v) for v in model.trainable_variables}
    x, y = data(model)
    model.fit(x, y, batch_size=ROWS, epochs=count, shuffle=False, verbose=0)
    return {v.path: np.array(v) - before[v.path] for v in model.trainable_variables}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("balancer", [None, "pcgrad"])
def test_the_update_is_scaled(name, balancer, float64):
    """Not the gradient, which Adam would not notice; weight decay with it."""
    changes = []
    for multipliers in (None, PARTS):
        model = model_of()
        model.compile(
            OPTIMIZERS[name](),
            balancer=balancer,
            learning_rate_multipliers=multipliers,
            run_eagerly=True,
        )
        changes.append(steps_of(model))
    factors = {factor_of(path) for path in changes[0]}
    assert factors == {0.0, 0.25, 0.5, 3.0}
    for path, change in changes[0].items():
        assert np.abs(change).max() > 0
        np.testing.assert_allclose(
            changes[1][path], factor_of(path) * change, rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("balancer", [None, "pcgrad"])
def test_the_weight_decay_of_parts(balancer, float64):
    """Beside a learning rate of its own; the rest of the update stays."""
    model = model_of()
    start = model.get_weights()
    changes = []
    for decays in (None, {"backbone": 0.0, "kind": 3.0, "size": 1.0}):
        model.set_weights(start)
        model.compile(
            keras.optimizers.AdamW(0.1, weight_decay=0.5),
            balancer=balancer,
            learning_rate_multipliers={"kind": 0.5},
            weight_decay_multipliers=decays,
        )
        changes.append(steps_of(model))
    before = dict(zip([v.path for v in model.weights], start, strict=True))
    for path, change in changes[0].items():
        factor, rate = 0.0, 0.1
        if path.startswith("kind_"):
            factor, rate = 3.0, 0.05
        elif path.startswith("size_"):
            factor = 1.0
        more = -rate * 0.5 * (factor - 1.0) * before[path]
        np.testing.assert_allclose(changes[1][path], change + more, atol=1e-12)


def test_a_weight_decay_of_parts_needs_one():
    model = model_of()
    with error_with(ValueError, "`weight_decay_multipliers`", "SGD", "None"):
        model.compile("sgd", weight_decay_multipliers={"kind": 0.0})
    with error_with(ValueError, "`weight_decay_multipliers`", "['body']"):
        model.compile("adamw", weight_decay_multipliers={"body": 0.0})


def test_equals_an_optimizer_per_part(float64):
    """Several steps of Adam, against Keras' own with one learning rate each."""
    model, other = model_of(), model_of()
    parts = {"backbone": 0.1, "kind": 2.0}
    model.compile(keras.optimizers.Adam(0.02), learning_rate_multipliers=parts)
    steps_of(model, 5)
    other.compile("sgd")
    x, y = data(other)
    groups: dict[float, list] = {}
    for v in other.trainable_variables:
        factor = 2.0 if v.path.startswith("kind_") else 0.1
        factor = 1.0 if v.path.startswith("size_") else factor
        groups.setdefault(factor, []).append(v)
    assert len(groups) == 3
    optimizers = {f: keras.optimizers.Adam(0.02 * f) for f in groups}
    losses = [task.head.default_loss() for task in other.tasks]
    for _ in range(5):
        with tf.GradientTape() as tape:
            outputs = other(x, training=True)
            loss = sum(
                fn(y[name] if name == "kind" else y[name][:, None], outputs[name])
                for fn, name in zip(losses, other.task_names, strict=True)
            )
        found = tape.gradient(loss, [v.value for g in groups.values() for v in g])
        for factor, group in groups.items():
            optimizers[factor].apply(found[: len(group)], group)
            found = found[len(group) :]
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-10)


@pytest.mark.parametrize("multipliers", [None, {}, {"backbone": 1.0, "kind": 1}])
def test_ones_are_no_multipliers(multipliers):
    model = model_of()
    model.compile("adam", learning_rate_multipliers=multipliers)
    assert model._step.multipliers is None


@pytest.mark.parametrize("architecture", ["adapters", "lora"])
def test_layers_of_a_task_are_not_the_backbone(architecture):
    model = model_of(architecture=architecture)
    model.compile("sgd", learning_rate_multipliers={"backbone": 0.0, "size": 0.0})
    moved = {path for path, change in steps_of(model, 2).items() if np.any(change)}
    assert moved == {
        v.path for v in model.trainable_variables if v.path.startswith("kind_")
    }


def test_two_replicas_equal_one(two_replicas, float64):
    weights = []
    for scope in (contextlib.nullcontext(), two_replicas.scope()):
        with scope:
            model = model_of()
            model.compile(
                keras.optimizers.AdamW(0.1, weight_decay=0.5),
                balancer="cagrad",
                learning_rate_multipliers=PARTS,
            )
        steps_of(model, 3)
        weights.append(model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)


def test_training_goes_on_from_a_file(tmp_path):
    """Multipliers are in the file; a resumed run equals an uninterrupted one."""
    models = [model_of(), model_of()]
    for model in models:
        model.compile("adamw", learning_rate_multipliers=PARTS)
        steps_of(model, 2)
    models[1].save(tmp_path / "model.keras")
    models[1] = keras.models.load_model(tmp_path / "model.keras")
    assert models[1].get_compile_config()["learning_rate_multipliers"] == PARTS
    for model in models:
        steps_of(model, 2)
    for one, other in zip(*(m.get_weights() for m in models), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-7)


@pytest.mark.parametrize(
    ("multipliers", "parts"),
    [
        ({"body": 0.1}, ["`learning_rate_multipliers`", "'backbone'", "['body']"]),
        ({"kind": -1.0}, ["`learning_rate_multipliers`", ">= 0", "-1.0"]),
        ({"kind": float("nan")}, ["`learning_rate_multipliers`", "nan"]),
    ],
)
def test_wrong_multipliers(multipliers, parts):
    model = model_of()
    with error_with(ValueError, *parts):
        model.compile("sgd", learning_rate_multipliers=multipliers)


def test_stages_of_a_backbone_that_was_called_before():
    """Its layers then have several outputs, of which one is its own."""
    net = mlp()
    net.get_layer("dense_0")(keras.Input((4,)))
    mtl.build_model(net, tasks(), backbone_trainable=2)
    assert trained(net) == {"dense_1", "dense_2"}
