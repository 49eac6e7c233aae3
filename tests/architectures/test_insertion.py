"""Adapters, LoRA and FiLM: small layers per task in a backbone that tasks share."""

import json

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_mtl as mtl
from keras_mtl.architectures.tower import Tower
from keras_mtl.layers.low_rank import dense_layers, input_axes
from tests.asserts import error_with

NAMES = ("adapters", "film", "lora")
EACH = pytest.mark.parametrize("name", NAMES)


def tasks(**kwargs):
    return [mtl.Task(name, mtl.heads.Regression(), **kwargs) for name in ("a", "b")]


def mlp():
    return mtl.backbones.MLP(input_shape=(3,), units=(5, 4), activation="tanh")


def convnet():
    return mtl.backbones.ConvNet(input_shape=(6, 6, 2), filters=(3, 4), units=5)


def recurrent():
    return mtl.backbones.Recurrent(input_shape=(4, 3), units=(5,), mask_value=0.0)


def bert():
    import keras_hub

    return keras_hub.models.BertBackbone(
        vocabulary_size=11,
        num_layers=2,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=6,
        max_sequence_length=5,
        dropout=0.0,
    )


def inputs_of(net, rows=4):
    if isinstance(net.input, dict):
        tokens = np.random.default_rng(0).integers(1, 11, (rows, 5))
        ones = np.ones((rows, 5), "int32")
        ones[:, 3:] = 0
        return {"token_ids": tokens, "segment_ids": 0 * ones, "padding_mask": ones}
    shape = (rows, *net.input.shape[1:])
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def identifier(name, net):
    """The architecture, with stages where the backbone brings none."""
    if name != "lora" and not hasattr(net, "stages"):
        stages = ["transformer_layer_0", "transformer_layer_1"]
        return {"class_name": name, "config": {"stages": stages}}
    return name


def randomised(model):
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(0.5 * rng.normal(size=variable.shape))
    return model


def weights_of(model, layer):
    return [np.asarray(w, "float64") for w in model.get_layer(layer).get_weights()]


CASES = [(name, make) for name in NAMES for make in (mlp, convnet, bert, recurrent)]
CASES.remove(("lora", recurrent))


@pytest.mark.parametrize(("name", "make"), CASES)
def test_at_first_all_tasks_see_the_plain_backbone(name, make):
    net = make()
    x = inputs_of(net)
    plain = net(x)
    features = mtl.architectures.get(identifier(name, net)).connect(
        dict.fromkeys("ab", net.input), dict.fromkeys("ab", net), tuple(tasks())
    )
    assert list(features) == ["a", "b"]
    found = keras.Model(net.input, features)(x)
    for task in "ab":
        assert found[task].keys() == plain.keys()
        for key, value in plain.items():
            np.testing.assert_allclose(found[task][key], value, atol=1e-6)
    own = {v.path for v in keras.Model(net.input, features["a"]).variables}
    other = {v.path for v in keras.Model(net.input, features["b"]).variables}
    assert {v.path for v in net.variables} <= own & other
    assert own - other
    assert all(path.startswith("a_") for path in own - other)


@EACH
def test_who_shares_what(name):
    """The backbone is everybody's, the small layers are a task's, and both train."""
    net = mlp()
    model = randomised(mtl.build_model(net, tasks(), architecture=name))
    model.compile(keras.optimizers.SGD(0.1), balancer="pcgrad")
    reach = model._step.reach
    assert {id(v) for v in reach.shared} == {id(v) for v in net.trainable_variables}
    assert all(v.path.startswith("a_") for v in reach.own[0])
    before = [np.array(v) for v in model.trainable_variables]
    rng = np.random.default_rng(0)
    y = {name: rng.normal(size=8) for name in "ab"}
    model.fit(inputs_of(net, 8), y, batch_size=8, verbose=0)
    for variable, value in zip(model.trainable_variables, before, strict=True):
        assert np.abs(np.asarray(variable) - value).max() > 0, variable.path


@EACH
def test_equals_a_computation_by_hand(name):
    net = mlp()
    model = randomised(mtl.build_model(net, tasks(), architecture=name))
    x = inputs_of(net)
    found = model.predict(x, verbose=0)
    for task in "ab":
        h = x.astype("float64")
        for index in (0, 1):
            kernel, bias = net.get_layer(f"dense_{index}").get_weights()
            small = f"{task}_dense_{index}"
            if name == "lora":
                a, b = weights_of(model, f"{small}_lora")
                h = np.tanh(h @ kernel + h @ a @ b + bias)
                continue
            h = np.tanh(h @ kernel + bias)
            if name == "film":
                scale, shift = weights_of(model, f"{small}_film")
                h = (1 + scale) * h + shift
            else:
                down, down_bias, up, up_bias = weights_of(model, f"{small}_adapter")
                h = h + np.maximum(h @ down + down_bias, 0) @ up + up_bias
        kernel, bias = weights_of(model, f"{task}_output")
        np.testing.assert_allclose(found[task], h @ kernel + bias, atol=1e-4)


@EACH
@pytest.mark.parametrize("make", [mlp, convnet])
def test_saved_and_loaded(name, make, tmp_path):
    net = make()
    model = randomised(mtl.build_model(net, tasks(), architecture=name))
    model.compile("adam", balancer="pcgrad")
    x = inputs_of(net, 8)
    y = {task: np.arange(8.0) for task in "ab"}
    model.fit(x, y, batch_size=8, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.architecture) is type(model.architecture)
    assert loaded.architecture.get_config() == model.architecture.get_config()
    for built in (model, loaded):
        built.run_eagerly = True  # One step, sooner done than traced.
        built.fit(x, y, batch_size=8, verbose=0)
    assert len(loaded.trainable_variables) == len(model.trainable_variables)
    found = loaded.predict(x, verbose=0)
    for task, value in model.predict(x, verbose=0).items():
        np.testing.assert_allclose(found[task], value, atol=1e-5)


@EACH
@pytest.mark.parametrize("make", [mlp, convnet])
def test_mixed_precision(name, make):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        net = make()
        model = mtl.build_model(net, tasks(), architecture=name)
    finally:
        keras.config.set_dtype_policy(policy)
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    model.compile("sgd", run_eagerly=True)
    y = {task: np.zeros(4) for task in "ab"}
    logs = model.fit(inputs_of(net), y, verbose=0).history
    assert np.isfinite(logs["loss"]).all()
    assert model.output["a"].dtype == "float32"


@pytest.mark.parametrize(
    "architecture",
    [
        mtl.architectures.Adapters(3, activation="tanh", stages=["dense_1"]),
        mtl.architectures.FiLM(stages=("dense_0",)),
        mtl.architectures.LoRA(2, alpha=8.0, targets=["dense_1"]),
    ],
    ids=NAMES,
)
def test_configuration_round_trip(architecture):
    serialised = json.loads(
        json.dumps(keras.saving.serialize_keras_object(architecture))
    )
    copy = keras.saving.deserialize_keras_object(serialised)
    assert type(copy) is type(architecture)
    assert copy.get_config() == architecture.get_config()


@pytest.mark.parametrize(
    ("name", "config", "parts"),
    [
        ("adapters", {"bottleneck_dim": 0}, ["`bottleneck_dim`", ">= 1"]),
        ("adapters", {"stages": ["dense_9"]}, ["`stages`", "['dense_9']"]),
        ("film", {"stages": []}, ["`stages`", "stages=()"]),
        ("lora", {"rank": 0}, ["`rank`", ">= 1"]),
        ("lora", {"alpha": 0}, ["`alpha`", "> 0"]),
        ("lora", {"targets": ["query"]}, ["`targets`", "'dense_0'", "['query']"]),
    ],
)
def test_wrong_arguments(name, config, parts):
    with error_with(ValueError, *parts):
        mtl.build_model(
            mlp(), tasks(), architecture={"class_name": name, "config": config}
        )


def test_no_kernel_to_change():
    with error_with(ValueError, "'recurrent'", "some of []", "targets=None"):
        mtl.build_model(recurrent(), tasks(), architecture="lora")


# === One pass in common, one per task ===


def calls(model, layer):
    """How often a layer is called in a model."""
    nodes = {id(node) for level in model._nodes_by_depth.values() for node in level}
    return sum(id(node) in nodes for node in model.get_layer(layer)._inbound_nodes)


@pytest.mark.parametrize(
    ("name", "config", "expected"),
    [
        ("adapters", {}, {"dense_0": 1, "dense_1": 2}),
        ("adapters", {"stages": ["dense_1"]}, {"dense_0": 1, "dense_1": 1}),
        ("film", {"stages": ["dense_0"]}, {"dense_0": 1, "dense_1": 2}),
        ("lora", {}, {"dense_0": 2, "dense_1": 2}),
        ("lora", {"targets": ["dense_1"]}, {"dense_0": 1, "dense_1": 2}),
    ],
)
def test_what_no_task_has_changed_runs_once(name, config, expected):
    architecture = {"class_name": name, "config": config}
    model = mtl.build_model(mlp(), tasks(), architecture=architecture)
    assert {layer: calls(model, layer) for layer in expected} == expected


def test_a_fork_runs_only_what_differs():
    """A branch beside the changed one is made once, whenever it is asked for."""
    x = keras.Input((2,))
    left = layers.Dense(2, name="left")(x)
    right = layers.Dense(2, name="right")(x)
    both = layers.Add(name="both")([left, right])
    net = keras.Model(x, {"pooled": both, "beside": right})
    given = keras.Input((2,))
    trunk = Tower(net, given, None)
    found = []
    for factor in (2.0, 3.0):
        fork = trunk.fork()
        fork.put("left", factor * fork.advance("left"))
        found.append(fork.features())
    assert found[0]["beside"] is found[1]["beside"]
    model = keras.Model(given, found)
    values = np.array([[1.0, -2.0]], "float32")
    one_side, other = (np.asarray(net.get_layer(n)(values)) for n in ("left", "right"))
    for factor, one in zip((2.0, 3.0), model(values), strict=True):
        np.testing.assert_allclose(one["pooled"], factor * one_side + other, rtol=1e-5)
    assert calls(model, "left") == calls(model, "right") == 1
    assert calls(model, "both") == 2


# === Kernels inside of layers ===


def test_query_and_value_of_a_transformer():
    """Only these kernels change, and each by its two matrices."""
    net = bert()
    architecture = mtl.architectures.LoRA(2, alpha=6.0, targets=["query", "value"])
    model = mtl.build_model(net, tasks(), architecture=architecture)
    small = model.get_layer("a_transformer_layer_1_lora")
    assert small.shapes == [(8, 2, 4)] * 2
    rng = np.random.default_rng(0)
    for task in "ab":
        for index in (0, 1):
            layer = model.get_layer(f"{task}_transformer_layer_{index}_lora")
            layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    x = inputs_of(net)
    found = model.predict(x, verbose=0)
    plain = {}
    for task in "ab":
        changed = net.get_weights()
        paths = [v.path for v in net.weights]
        for index in (0, 1):
            a, b, c, d = weights_of(model, f"{task}_transformer_layer_{index}_lora")
            for part, update in (("query", a @ b), ("value", c @ d)):
                end = f"transformer_layer_{index}/self_attention_layer/{part}/kernel"
                (at,) = [i for i, path in enumerate(paths) if path.endswith(end)]
                changed[at] = changed[at] + 3.0 * update.reshape(changed[at].shape)
        before = net.get_weights()
        net.set_weights(changed)
        plain[task] = net.predict(x, verbose=0)["pooled_output"]
        net.set_weights(before)
        kernel, bias = weights_of(model, f"{task}_output")
        np.testing.assert_allclose(found[task], plain[task] @ kernel + bias, atol=1e-4)
    assert np.abs(plain["a"] - plain["b"]).max() > 0.01


@pytest.mark.parametrize(
    ("layer", "shape", "axes"),
    [
        (layers.Dense(3), (None, 2), (0,)),
        (layers.EinsumDense("abc,cde->abde", (None, 2, 3)), (None, 4, 5), (0,)),
        (layers.EinsumDense("abcd,cde->abe", (None, 6)), (None, 4, 2, 3), (0, 1)),
        (layers.EinsumDense("...x,xy->...y", 4), (None, 2, 3), (0,)),
        (layers.Conv2D(3, 2), (None, 4, 4, 2), (0, 1, 2)),
    ],
)
def test_axes_of_kernels(layer, shape, axes):
    """The update has the effect of two small products on what the layer is given."""
    layer.build(shape)
    assert input_axes(layer) == axes
    assert dense_layers(layer) == [layer]
    kernel = layer.kernel
    update = mtl.layers.LowRankUpdate([tuple(kernel.shape)], [axes], rank=2, alpha=3.0)
    x = np.random.default_rng(0).normal(size=[3 if s is None else s for s in shape])
    (value,) = update(x)
    a, b = update.factors[0]
    assert np.abs(ops.convert_to_numpy(value)).max() == 0
    b.assign(np.random.default_rng(1).normal(size=b.shape))
    (value,) = update(x)
    assert value.shape == kernel.shape
    inputs = int(np.prod([kernel.shape[i] for i in axes]))
    assert a.shape == (inputs, 2)
    # All kernels here have their input axes first.
    flat = ops.convert_to_numpy(value).reshape(inputs, -1)
    np.testing.assert_allclose(flat, 1.5 * np.asarray(a) @ np.asarray(b), rtol=1e-5)
    changed = mtl.layers.WithUpdates(layer, [0])(x, updates=[value])
    plain = layer(x)
    layer.kernel.assign(value)
    bias = layer.bias if layer.bias is not None else 0.0
    np.testing.assert_allclose(changed, plain + layer(x) - bias, atol=1e-5)


def test_an_update_leaves_other_state_alone():
    """Batch statistics move once per call, random numbers differ, losses count."""
    inner = keras.Sequential(
        [
            layers.Dense(3, activity_regularizer="l2", name="inner"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.5, name="dropout"),
        ],
        name="block",
    )
    inner.build((None, 2))
    x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    kernel = np.array(inner.get_layer("inner").kernel)
    wrapper = mtl.layers.WithUpdates(inner, [0])
    update = np.ones((2, 3), "float32")
    first = np.asarray(wrapper(x, updates=[update], options={"training": True}))
    norm = inner.get_layer("norm")
    mean = (x @ (kernel + update)).mean(axis=0)
    np.testing.assert_allclose(norm.moving_mean, 0.01 * mean, atol=1e-6)
    assert len(wrapper.losses) == 1
    second = np.asarray(wrapper(x, updates=[update], options={"training": True}))
    assert np.any((first == 0) != (second == 0))
    np.testing.assert_array_equal(inner.get_layer("inner").kernel, kernel)


def test_layers_that_have_lora_of_their_own_are_left_out():
    layer = layers.Dense(3)
    layer.build((None, 2))
    layer.enable_lora(1)
    assert dense_layers(layer) == []
