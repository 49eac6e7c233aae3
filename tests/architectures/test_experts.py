"""What every mixture of experts and AITM keep, a row each."""

import inspect
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from keras_mtl.training.graph import task_variables
from tests.architectures.experts import outputs, plain_backbone, tasks
from tests.asserts import error_with

A = mtl.architectures
# Each with the layers that belong to task `a` alone.
ROWS = {
    "mmoe": (A.MMoE(3, units=(4, 3), activation="tanh"), ["a_pooled_gate"]),
    "hidden gate": (
        A.MMoE(3, units=(4,), gate_units=(5,), activation="tanh"),
        ["a_pooled_gate", "a_pooled_gate_hidden_0"],
    ),
    "one gate": (A.MMoE(3, units=(4,), activation="tanh", per_task_gates=False), []),
    "dselect_k": (
        A.DSelectK(3, units=(4,), activation="tanh"),
        ["a_pooled_gate"],
    ),
    "gate told": (
        A.TaskEmbeddingMoE(3, units=(4,), activation="tanh", gate_units=(5,)),
        ["a_pooled_embedding"],
    ),
    "both told": (
        A.TaskEmbeddingMoE(3, units=(4,), activation="tanh", told="both"),
        ["a_pooled_embedding"],
    ),
    "cgc": (
        A.CGC(shared_experts=2, task_experts=1, units=(4,), activation="tanh"),
        ["a_pooled_experts_0", "a_pooled_gate_0"],
    ),
    "ple": (
        A.PLE(2, shared_experts=2, task_experts=1, units=(4,), activation="tanh"),
        # In the first level the shared lane takes the experts of `a` to task `b`.
        ["a_pooled_experts_1", "a_pooled_gate_0", "a_pooled_gate_1"],
    ),
    "aitm": (
        A.AITM(["b", "a"], units=(4, 3), activation="tanh"),
        [
            *("a_pooled_attention", "a_pooled_transfer"),
            *("a_pooled_tower_0", "a_pooled_tower_1"),
        ],
    ),
}
EACH = pytest.mark.parametrize("name", ROWS)


def built(name, backbone=None):
    backbone = backbone or mtl.backbones.MLP(input_shape=(5,), units=(6,))
    return mtl.build_model(backbone, list(tasks("a", "b")), architecture=ROWS[name][0])


def batch(rows=8):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 5)).astype("float32")
    return x, {"a": x[:, :1], "b": x[:, 1:2] - x[:, 2:3]}


@EACH
def test_what_belongs_to_a_task(name):
    model = built(name)
    reach = task_variables(model)
    others = {id(v) for v in reach["b"]}
    own = {v.path.split("/")[-2] for v in reach["a"] if id(v) not in others}
    assert own == {*ROWS[name][1], "a_output"}
    shared = {v.path.split("/")[-2] for v in reach["a"] if id(v) in others}
    assert "dense_0" in shared


@EACH
def test_gradients_reach_every_variable(name):
    model = built(name)
    x, y = batch()
    with tf.GradientTape() as tape:
        found = model(x, training=True)
        loss = sum(tf.reduce_sum((found[task] - y[task]) ** 2) for task in y)
    variables = model.trainable_variables
    for variable, slope in zip(
        variables, tape.gradient(loss, [v.value for v in variables]), strict=True
    ):
        assert np.abs(slope).max() > 0, variable.path


@EACH
def test_saved_and_loaded(name, tmp_path):
    model = built(name)
    x, _ = batch()
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.models.load_model(path)
    assert type(loaded.architecture) is type(model.architecture)
    assert loaded.architecture.get_config() == model.architecture.get_config()
    for task, value in outputs(model, x).items():
        np.testing.assert_array_equal(outputs(loaded, x)[task], value)


def test_training_goes_on_after_loading(tmp_path):
    model = built("dselect_k")
    model.compile("adam", balancer="pcgrad")
    x, y = batch()
    model.fit(x, y, verbose=0)
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.models.load_model(path)
    for one in (model, loaded):
        one.fit(x, y, verbose=0)
    for one, other in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(one, other)


@EACH
def test_configuration(name):
    architecture, _ = ROWS[name]
    text = json.dumps(keras.saving.serialize_keras_object(architecture))
    copy = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(copy) is type(architecture)
    assert copy.get_config() == architecture.get_config()
    arguments = set(inspect.signature(type(architecture).__init__).parameters)
    assert set(copy.get_config()) == arguments - {"self"}


@pytest.mark.parametrize(
    "layer",
    [
        mtl.layers.ExpertBank(3, (4, 2), activation="tanh", dropout=0.5, name="bank"),
        mtl.layers.Gate(3, name="gate"),
        mtl.layers.DSelectKGate(
            5, 3, gamma=0.5, entropy_weight=2.0, per_example=False, name="gate"
        ),
        mtl.layers.Mixture(name="mixture"),
        mtl.layers.TaskEmbedding(3, name="embedding"),
        mtl.layers.InformationTransfer(name="transfer"),
        mtl.layers.ProbabilityProduct(name="product"),
        mtl.layers.MonotonePenalty(0.5, name="penalty"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_configuration_of_layers(layer):
    text = json.dumps(keras.saving.serialize_keras_object(layer))
    copy = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(copy) is type(layer)
    assert copy.get_config() == layer.get_config()


@EACH
def test_half_precision(name):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = built(name, plain_backbone())
    finally:
        keras.config.set_dtype_policy(policy)
    for value in outputs(model, batch()[0]).values():
        assert value.dtype == "float32"
        assert np.isfinite(value).all()
    inner = [
        layer
        for layer in model.layers
        if type(layer).__module__.startswith("keras_mtl.layers")
    ]
    assert inner
    assert {layer.output.dtype for layer in inner} == {"bfloat16"}


@EACH
def test_every_feature_of_a_convnet(name):
    net = mtl.backbones.ConvNet(input_shape=(8, 8, 1), filters=(4, 6), units=5)
    pair = tasks("a", "b")
    image = keras.Input((8, 8, 1))
    features = ROWS[name][0].connect(
        dict.fromkeys("ab", image), dict.fromkeys("ab", net), pair
    )
    width = 3 if name in ("mmoe", "aitm") else 4
    for task in ("a", "b"):
        shapes = {feature: tensor.shape for feature, tensor in features[task].items()}
        assert shapes == {"map": (None, 2, 2, width), "pooled": (None, width)}
    model = keras.Model(image, features)
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype("float32")
    found = outputs(model, x)
    assert all(np.isfinite(v).all() for v in keras.tree.flatten(found))


@EACH
def test_one_task(name):
    net = mtl.backbones.MLP(input_shape=(5,), units=(6,))
    kind = type(ROWS[name][0]).__name__
    with error_with(ValueError, f"at least two tasks for {kind}", "['a']", "'hard'"):
        mtl.build_model(net, [*tasks("a")], architecture=ROWS[name][0])


@pytest.mark.parametrize(
    "name", ["mmoe", "dselect_k", "task_embedding_moe", "cgc", "ple", "aitm"]
)
def test_by_name(name):
    net = mtl.backbones.MLP(input_shape=(5,), units=(6,))
    model = mtl.build_model(net, [*tasks("a", "b")], architecture=name)
    assert model.architecture.get_config() == A.get(name).get_config()


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda: A.MMoE(0), ["`num_experts`", ">= 1", "num_experts=0"]),
        (lambda: A.MMoE(units=()), ["`units`", "at least 1", "units=()"]),
        (lambda: A.MMoE(units=(4, 0)), ["`units`", "units=0"]),
        (lambda: A.MMoE(units=64), ["`units`", "units=64"]),
        (lambda: A.MMoE(dropout=1.0), ["`dropout`", "dropout=1.0"]),
        (lambda: A.MMoE(gate_units=(0,)), ["`gate_units`", "gate_units=0"]),
        (lambda: A.DSelectK(1), ["`num_experts`", ">= 2"]),
        (
            lambda: A.DSelectK(4, num_selected=5),
            ["`num_selected`", "at most", "num_selected=5", "num_experts=4"],
        ),
        (lambda: A.DSelectK(gamma=0.0), ["`gamma`", "gamma=0.0"]),
        (lambda: A.DSelectK(entropy_weight=-1), ["`entropy_weight`"]),
        (lambda: A.TaskEmbeddingMoE(told="head"), ["`told`", "'head'"]),
        (lambda: A.TaskEmbeddingMoE(embedding_dim=0), ["`embedding_dim`"]),
        (lambda: A.PLE(0), ["`num_levels`", "num_levels=0"]),
        (
            lambda: A.PLE(shared_experts=0, task_experts=0),
            ["at least one expert", "shared_experts=0", "task_experts=0"],
        ),
        (lambda: A.CGC(task_experts=-1), ["`task_experts`", ">= 0"]),
        (lambda: A.AITM(["a", "a"]), ["`chain`", "['a', 'a']"]),
        (lambda: mtl.layers.ExpertBank(2, ()), ["`units`", "units=()"]),
        (lambda: mtl.layers.DSelectKGate(2, 3), ["`num_selected`", "num_experts=2"]),
    ],
)
def test_wrong_arguments(make, parts):
    with error_with(ValueError, "Expected", *parts):
        make()
