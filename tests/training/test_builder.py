"""`build_model`: outputs, inputs, sharing, and what reaches what."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_mtl as mtl
from keras_mtl.training.graph import task_variables
from tests.asserts import error_with


@keras.saving.register_keras_serializable(package="tests_builder")
class MapMean(mtl.heads.Regression):
    """A head that takes a map: one value per example, the mean over its pixels."""

    feature = "map"
    feature_rank = 4

    def connect(self, feature, extra_inputs, name):
        x = layers.Conv2D(1, 1, name=f"{name}_conv")(feature)
        return layers.GlobalAveragePooling2D(name=f"{name}_output")(x)


@keras.saving.register_keras_serializable(package="tests_builder")
class Shifted(mtl.heads.Regression):
    """A head with an input of its own, which is added to its output."""

    def extra_inputs(self, name):
        return {f"{name}_shift": keras.Input((1,), name=f"{name}_shift")}

    def connect(self, feature, extra_inputs, name):
        x = super().connect(feature, extra_inputs, name)
        return layers.Add(name=f"{name}_sum")([x, extra_inputs[f"{name}_shift"]])


class Unregistered(mtl.heads.Regression):
    """A head that Keras cannot find by name."""


def mlp(name="mlp", width=4, **kwargs):
    return mtl.backbones.MLP(input_shape=(width,), units=(3, 2), name=name, **kwargs)


def convnet(**kwargs):
    return mtl.backbones.ConvNet(
        input_shape=(8, 8, 1), filters=(2, 3), units=4, **kwargs
    )


def values(*names, **kwargs):
    return [mtl.Task(name, mtl.heads.Regression(), **kwargs) for name in names]


def arrays(model, rows=3):
    """Inputs of a model, by name."""
    rng = np.random.default_rng(0)
    return {
        tensor.name: rng.normal(size=(rows, *tensor.shape[1:])).astype("float32")
        for tensor in keras.tree.flatten(model.input)
    }


# === Outputs ===


@pytest.mark.parametrize("names", [("b", "a", "c"), ("z", "a"), ("only",)])
def test_outputs_are_a_dict_in_the_order_of_the_tasks(names):
    model = mtl.build_model(mlp(), values(*names), name="net")
    assert model.name == "net"
    assert model.task_names == tuple(task.name for task in model.tasks) == names
    assert tuple(model.output) == names
    found = model.predict(np.ones((2, 4), "float32"), verbose=0)
    assert set(found) == set(names)
    assert isinstance(model, keras.Model)
    assert all(model.get_layer(f"{name}_output") for name in names)


def test_no_layer_name_is_used_twice():
    model = mtl.build_model(convnet(), [*values("a", "b"), mtl.Task("m", MapMean())])
    names = [layer.name for layer in model.layers]
    assert len(set(names)) == len(names)


# === Copies ===


def test_one_list_of_tasks_makes_independent_models():
    tasks = values("a", "b", loss=keras.losses.Huber(), metrics=["mae"])
    one, other = (mtl.build_model(mlp(), tasks) for _ in range(2))
    for mine, theirs, given in zip(one.tasks, other.tasks, tasks, strict=True):
        assert mine.head is not theirs.head
        assert mine.head is not given.head
    assert not {id(v) for v in one.variables} & {id(v) for v in other.variables}
    before = other.get_weights()
    x, y = np.ones((4, 4), "float32"), {"a": np.ones(4), "b": np.ones(4)}
    for model in (one, other):
        model.compile("sgd")
    one.fit(x, y, verbose=0)
    for value, unchanged in zip(other.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, unchanged)


def test_one_backbone_in_two_models_is_shared():
    backbone = mlp()
    one, other = (mtl.build_model(backbone, values("a")) for _ in range(2))
    shared = {id(v) for v in one.variables} & {id(v) for v in other.variables}
    assert shared == {id(v) for v in backbone.variables}


def test_a_head_that_keras_cannot_find_by_name():
    """Copies are made without a file in between."""
    model = mtl.build_model(mlp(), [mtl.Task("a", Unregistered(hidden_units=(3,)))])
    assert isinstance(model.tasks[0].head, Unregistered)
    assert model.tasks[0].head.hidden_units == (3,)


# === Inputs ===


def test_backbones_per_task_with_one_input_between_them():
    model = mtl.build_model({"a": mlp("first"), "b": mlp("second")}, values("a", "b"))
    assert list(model.input) == ["features"]
    found = model.predict(arrays(model), verbose=0)
    assert {k: v.shape for k, v in found.items()} == {"a": (3, 1), "b": (3, 1)}
    names = [layer.name for layer in model.layers]
    assert {"first", "second"} <= set(names)


def test_backbones_per_task_with_inputs_of_their_own():
    model = mtl.build_model({"a": mlp(), "b": convnet()}, values("a", "b"))
    assert set(model.input) == {"features", "image"}
    assert model.predict(arrays(model), verbose=0)["b"].shape == (3, 1)


def test_inputs_of_one_name_have_to_agree():
    pair = {"a": mlp("first"), "b": mlp("second", width=5)}
    with pytest.raises(ValueError, match="'features'") as error:
        mtl.build_model(pair, values("a", "b"))
    assert "(None, 4) and (None, 5)" in str(error.value)


@pytest.mark.parametrize("form", ["tensor", "list", "dict"])
def test_inputs_keep_the_structure_of_the_backbone(form):
    one, two = keras.Input((2,), name="one"), keras.Input((3,), name="two")
    joint = layers.Concatenate()([one, two])
    if form == "tensor":
        backbone = keras.Model(one, layers.Dense(2)(one))
    else:
        inputs = [one, two] if form == "list" else {"one": one, "two": two}
        backbone = keras.Model(inputs, layers.Dense(2)(joint))
    model = mtl.build_model(backbone, values("a"))
    assert keras.tree.map_structure(lambda t: t.shape, model.input) == (
        keras.tree.map_structure(lambda t: t.shape, backbone.input)
    )


def test_an_input_that_only_a_head_needs():
    model = mtl.build_model(mlp(), [*values("a"), mtl.Task("b", Shifted())])
    assert set(model.input) == {"features", "b_shift"}
    x = arrays(model)
    more = {**x, "b_shift": x["b_shift"] + 1}
    one, other = (model.predict(data, verbose=0) for data in (x, more))
    np.testing.assert_allclose(other["a"], one["a"])
    np.testing.assert_allclose(other["b"], one["b"] + 1, atol=1e-6)


# === Features ===


def test_a_task_chooses_its_feature():
    inputs = keras.Input((4,))
    outputs = {"pooled": layers.Dense(3)(inputs), "fine": layers.Dense(5)(inputs)}
    tasks = [*values("a"), *values("b", feature="fine")]
    model = mtl.build_model(keras.Model(inputs, outputs), tasks)
    assert model.get_layer("a_output").kernel.shape == (3, 1)
    assert model.get_layer("b_output").kernel.shape == (5, 1)


@pytest.mark.parametrize(
    ("backbone", "task", "parts"),
    [
        (mlp, {"head": MapMean()}, ["'t'", "feature 'map'", "['pooled']", "feature`"]),
        (
            convnet,
            {"head": mtl.heads.Regression(), "feature": "map"},
            ["'t'", "rank 2 for Regression", "'map'", "(None, 2, 2, 3)"],
        ),
        (
            convnet,
            {"head": mtl.heads.Regression(), "feature": "sequence"},
            ["'t'", "'sequence'", "['map', 'pooled']"],
        ),
    ],
)
def test_a_head_and_a_feature_that_do_not_fit(backbone, task, parts):
    with error_with(ValueError, *parts):
        mtl.build_model(backbone(), [mtl.Task("t", **task)])


# === Reach ===


def two_branches():
    """A model whose features need different layers and different inputs."""
    one, two = keras.Input((2,), name="one"), keras.Input((3,), name="two")
    shared = layers.Dense(3, name="of_one")(one)
    outputs = {
        "pooled": layers.Dense(2, name="more_of_one")(shared),
        "both": layers.Add(name="sum")([shared, layers.Dense(3, name="of_two")(two)]),
        "plain": shared,
    }
    return keras.Model({"one": one, "two": two}, outputs, name="branches")


def hard_sharing():
    return mtl.build_model(mlp(), values("a", "b"))


def map_and_pooled():
    return mtl.build_model(convnet(), [*values("a"), mtl.Task("m", MapMean())])


def one_backbone_each():
    return mtl.build_model({"a": mlp("first"), "b": mlp("second")}, values("a", "b"))


def two_of_three_share():
    both = mlp("both")
    per_task = {"a": both, "b": both, "c": convnet()}
    return mtl.build_model(per_task, values("a", "b", "c"))


def branches():
    tasks = [
        *values("a"),
        *values("b", feature="both"),
        *values("c", feature="plain"),
    ]
    return mtl.build_model(two_branches(), tasks)


def frozen():
    return mtl.build_model(mlp(trainable=False), values("a", "b"))


def nested():
    """A backbone within a model within the model."""
    inner = two_branches()
    inputs = {k: keras.Input(v.shape[1:], name=k) for k, v in inner.input.items()}
    outer = keras.Model(inputs, inner(inputs), name="outer")
    tasks = [*values("a"), *values("b", feature="both")]
    return mtl.build_model(outer, tasks)


MODELS = [
    hard_sharing,
    map_and_pooled,
    one_backbone_each,
    two_of_three_share,
    branches,
    frozen,
    nested,
]


@pytest.mark.parametrize("build", MODELS, ids=lambda build: build.__name__)
def test_reach_equals_the_pattern_of_the_gradients(build):
    """A variable reaches a task exactly where its gradient is not `None`."""
    model = build()
    x = arrays(model)
    x = x if isinstance(model.input, dict) else next(iter(x.values()))
    with tf.GradientTape(persistent=True) as tape:
        outputs = model(x, training=True)
    variables = model.trainable_variables
    reach = task_variables(model)
    assert list(reach) == list(model.task_names)
    for name, output in outputs.items():
        gradients = tape.gradient(output, [v.value for v in variables])
        pairs = zip(variables, gradients, strict=True)
        expected = [v.path for v, gradient in pairs if gradient is not None]
        assert [v.path for v in reach[name]] == expected
        assert expected


# === Parts of the model ===


@pytest.mark.parametrize("build", MODELS, ids=lambda build: build.__name__)
def test_the_model_of_one_task(build):
    model = build()
    x = arrays(model)
    everything = model.predict(
        x if isinstance(model.input, dict) else next(iter(x.values())), verbose=0
    )
    for name in model.task_names:
        part = model.task_model(name)
        mine = {tensor.name for tensor in keras.tree.flatten(part.input)}
        heads = {layer.name for layer in part.layers}
        assert not any(
            f"{other}_output" in heads for other in set(model.output) - {name}
        )
        assert mine <= set(x)
        mine_only = {k: v for k, v in x.items() if k in mine}
        data = mine_only if isinstance(part.input, dict) else next(iter(x.values()))
        found = part.predict(data, verbose=0)
        np.testing.assert_allclose(found, everything[name], atol=1e-6)
        reached = {id(v) for v in task_variables(model)[name]}
        assert {id(v) for v in part.trainable_variables} >= reached


@pytest.mark.parametrize(
    ("build", "inputs"),
    [
        (one_backbone_each, {"a": ["features"], "b": ["features"]}),
        (two_of_three_share, {"a": ["features"], "c": ["image"]}),
        (branches, {"a": ["one"], "b": ["one", "two"], "c": ["one"]}),
        (nested, {"a": ["one"], "b": ["one", "two"]}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_model_of_one_task_has_the_inputs_that_it_needs(build, inputs):
    model = build()
    for name, expected in inputs.items():
        assert sorted(model.task_model(name).input) == expected


def test_the_input_of_a_head_belongs_to_its_task():
    model = mtl.build_model(mlp(), [*values("a"), mtl.Task("b", Shifted())])
    assert list(model.task_model("a").input) == ["features"]
    assert sorted(model.task_model("b").input) == ["b_shift", "features"]


def test_the_model_of_an_unknown_task():
    with pytest.raises(ValueError, match=r"one of \['a', 'b'\]. Received: name='d'"):
        hard_sharing().task_model("d")


def test_a_clone_by_keras_says_what_to_do():
    model = hard_sharing()
    clone = keras.models.clone_model(model)
    with pytest.raises(ValueError, match="clone_model"):
        clone.compile("sgd")
    copy = mtl.MultiTaskModel.from_config(model.get_config())
    copy.compile("sgd", balancer="mgda")
    assert copy.task_names == ("a", "b")


# === What is no backbone, no head, no task ===


class Subclassed(keras.Model):
    def call(self, x):
        return x


@pytest.mark.parametrize(
    ("backbone", "error", "parts"),
    [
        (Subclassed(), TypeError, ["`backbone`", "functional", "Subclassed"]),
        (3, TypeError, ["`backbone`", "backbone=3", "int"]),
        (None, TypeError, ["`backbone`", "NoneType"]),
        ("resnet", ValueError, ["Unknown backbone", "'convnet'", "'resnet'"]),
        ({"a": mlp()}, ValueError, ["per task ['a', 'b']", "Received: ['a']"]),
        (
            {"a": mlp(), "b": mlp("m"), "c": mlp("n")},
            ValueError,
            ["per task ['a', 'b']", "['a', 'b', 'c']"],
        ),
        ({"class_name": "mpl", "config": {}}, ValueError, ["Did you mean 'mlp'"]),
    ],
    ids=["subclassed", "number", "none", "name", "missing", "unknown", "config"],
)
def test_wrong_backbones(backbone, error, parts):
    with error_with(error, *parts):
        mtl.build_model(backbone, values("a", "b"))


@pytest.mark.parametrize(
    ("head", "error", "parts"),
    [
        (3, TypeError, ["`head`", "'a'", "head=3"]),
        (None, TypeError, ["`head`", "'a'", "head=None"]),
        ("regresion", ValueError, ["Unknown head", "Did you mean 'regression'"]),
    ],
)
def test_wrong_heads(head, error, parts):
    with error_with(error, *parts):
        mtl.build_model(mlp(), [mtl.Task("a", head)])


def test_an_input_of_a_head_that_is_there_already():
    inputs = keras.Input((4,), name="t_shift")
    backbone = keras.Model({"t_shift": inputs}, layers.Dense(2)(inputs))
    with pytest.raises(ValueError, match="expected the input 't_shift', which"):
        mtl.build_model(backbone, [mtl.Task("t", Shifted())])


def test_a_sequential_model_is_a_backbone():
    """It has no `output` before its first call."""
    layers = [keras.Input((5,)), keras.layers.Dense(4)]
    model = mtl.build_model(
        keras.Sequential(layers), [mtl.Task("t", mtl.heads.Regression())]
    )
    assert model.output["t"].shape == (None, 1)
