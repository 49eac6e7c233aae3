"""Tasks: validation, defaults and their way through a file."""

import dataclasses
import json

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl.task import check_tasks
from tests.asserts import error_with

HEAD = mtl.heads.Regression()


@keras.saving.register_keras_serializable(package="tests_task")
def absolute_error(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=-1)


def test_defaults():
    task = mtl.Task("price", HEAD)
    assert (task.label, task.mask_key) == ("price", "price_mask")
    assert task.loss_weight == 1.0
    assert mtl.Task("price", HEAD, label="y").mask_key == "y_mask"


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        mtl.Task("price", HEAD).name = "other"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({"name": ""}, ["`name`", "non-empty", "name=''"]),
        ({"name": None}, ["`name`", "name=None"]),
        ({"name": 3}, ["`name`", "name=3"]),
        ({"name": "a/b"}, ["`name`", "without '/'", "name='a/b'"]),
        ({"loss_weight": -1.0}, ["`loss_weight`", ">= 0", "loss_weight=-1.0"]),
        ({"loss_weight": float("nan")}, ["`loss_weight`", "loss_weight=nan"]),
        ({"loss_weight": "1"}, ["`loss_weight`", "loss_weight='1'"]),
        ({"class_weight": {0: -2.0}}, ["`class_weight`", "class_weight=-2.0"]),
    ],
)
def test_wrong_arguments(arguments, parts):
    with error_with(ValueError, *parts):
        mtl.Task(**{"name": "price", "head": HEAD, **arguments})


def named(*names, **kwargs):
    return [mtl.Task(name, HEAD, **kwargs) for name in names]


@pytest.mark.parametrize(
    ("tasks", "error", "parts"),
    [
        ([], ValueError, ["at least one task", "Received: []"]),
        (named("a", "b", "a"), ValueError, ["unique", "['a', 'b', 'a']", "['a']"]),
        (named("a", "loss"), ValueError, ["logs", "['loss']"]),
        (named("a", "a_loss"), ValueError, ["['a_loss']", "Rename"]),
        (named("a", "a_mask"), ValueError, ["mask", "['a_mask']"]),
        (["a"], TypeError, ["`tasks`", "'a'", "str"]),
        ("a", TypeError, ["keras_mtl.Task", "str"]),
    ],
)
def test_wrong_lists(tasks, error, parts):
    with error_with(error, *parts):
        check_tasks(tasks)


def test_one_task_is_a_list_of_one():
    task = mtl.Task("a", HEAD)
    assert check_tasks(task) == check_tasks([task]) == (task,)


FULL = {
    "loss": keras.losses.Huber(delta=2.0),
    "metrics": ["mae", keras.metrics.RootMeanSquaredError(name="rmse")],
    "loss_weight": 0.5,
    "class_weight": {0: 1.0, 2: 3.0},
    "missing": -1,
    "label": "y",
    "feature": "map",
}


def test_table_is_complete():
    fields = {f.name for f in dataclasses.fields(mtl.Task)}
    assert fields - set(FULL) == {"name", "head"}


@pytest.mark.parametrize("through_json", [False, True])
def test_configuration_round_trip(through_json):
    task = mtl.Task("price", mtl.heads.Regression(2, hidden_units=(3,)), **FULL)
    config = keras.saving.serialize_keras_object(task)
    if through_json:
        config = json.loads(json.dumps(config))
    copy = keras.saving.deserialize_keras_object(config)
    for name in ("name", "loss_weight", "class_weight", "missing", "label", "feature"):
        assert getattr(copy, name) == getattr(task, name)
    assert copy.head is not task.head
    assert copy.head.get_config() == task.head.get_config()
    assert copy.loss.get_config() == task.loss.get_config()
    assert copy.metrics[0] == "mae"
    assert copy.metrics[1].name == "rmse"


def test_a_head_may_be_a_name_or_a_configuration():
    config = {"class_name": "classification", "config": {"num_classes": 4}}
    tasks = [mtl.Task("price", "regression"), mtl.Task("kind", config)]
    model = mtl.build_model(mtl.backbones.MLP(input_shape=(2,), units=(2,)), tasks)
    assert model.output["price"].shape == (None, 1)
    assert model.output["kind"].shape == (None, 4)
    assert tasks[0].head == "regression"


def local_error(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=-1)


@pytest.mark.parametrize(
    "function", [absolute_error, local_error], ids=["registered", "plain"]
)
@pytest.mark.parametrize("argument", ["loss", "metrics"])
def test_a_function_as_loss_or_metric(function, argument):
    """Training needs no name to find a function by; only a file does."""
    value = function if argument == "loss" else [function]
    task = mtl.Task("price", mtl.heads.Regression(), **{argument: value})
    backbone = mtl.backbones.MLP(input_shape=(2,), units=(2,))
    model = mtl.build_model(backbone, [task])
    model.compile("sgd")
    x, y = np.ones((4, 2), "float32"), {"price": np.arange(4.0)}
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    error = np.abs(model.predict(x, verbose=0)["price"][:, 0] - y["price"]).mean()
    key = "price_loss" if argument == "loss" else f"price_{function.__name__}"
    assert logs[key] == pytest.approx(error, rel=1e-5)
