"""Hierarchical sharing: which task runs which layer."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
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

HierarchicalSharing = mtl.architectures.HierarchicalSharing
THREE = ("a", "b", "c")
EACH = [["a"], ["b"], ["c"]]
TWO = [["c", "a"], ["b"]]
TREES = {
    "default": (None, {t: f"0 1 2_{t}" for t in THREE}),
    "nested": (
        {"dense_1": EACH, "dense_0": TWO},
        {"a": "0 1_c-a 2_a", "b": "0 1_b 2_b", "c": "0 1_c-a 2_c"},
    ),
    "at the input": (
        {"input": TWO},
        {"a": "0_c-a 1_c-a 2_c-a", "b": "0_b 1_b 2_b", "c": "0_c-a 1_c-a 2_c-a"},
    ),
    "each alone": (
        {"input": EACH},
        {t: f"0_{t} 1_{t} 2_{t}" for t in THREE},
    ),
    "never": ({"dense_2": EACH}, dict.fromkeys(THREE, "0 1 2")),
    "one group": ({"dense_0": [list(THREE)]}, dict.fromkeys(THREE, "0 1 2")),
}


@pytest.mark.parametrize(("tree", "paths"), TREES.values(), ids=TREES)
def test_equals_numpy(tree, paths):
    architecture = HierarchicalSharing(branches=tree)
    model = shaken(connected(architecture, mlp((4, 4, 4)), THREE))
    expected = {}
    for task, path in paths.items():
        x = rows()
        for layer in path.split():
            x = dense(model, f"dense_{layer}", x)
        expected[task] = {"pooled": x}
    assert_features(predicted(model, rows()), expected)
    used = {f"dense_{layer}" for path in paths.values() for layer in path.split()}
    assert used == {layer.name for layer in model.layers if "dense" in layer.name}


def test_branches_start_as_the_backbone():
    net = mlp((4, 4, 4))
    model = connected(HierarchicalSharing(branches={"dense_0": TWO}), net, THREE)
    expected = {task: {"pooled": np.asarray(net(rows())["pooled"])} for task in THREE}
    assert_features(predicted(model, rows()), expected)


def test_every_feature_is_that_of_the_branch():
    net = mtl.backbones.ConvNet(input_shape=(8, 8, 1), filters=(2, 3), units=4)
    tree = {"stage_0_relu": [["a"], ["b"]]}
    model = mtl.build_model(
        net, list(tasks()), architecture=HierarchicalSharing(branches=tree)
    )
    by_task = {t: model.task_model(t).trainable_variables for t in "ab"}
    shared = {id(v) for v in by_task["a"]} & {id(v) for v in by_task["b"]}
    trunk = {
        id(v)
        for name in ("stage_0_conv", "stage_0_norm")
        for v in net.get_layer(name).trainable_variables
    }
    assert shared == trunk
    features = connected(HierarchicalSharing(branches=tree), net).output
    assert features["a"]["map"] is not features["b"]["map"]


@pytest.mark.parametrize(
    ("branches", "parts"),
    [
        ({"dense_0": [["a"], ["a", "b", "c"]]}, ["`branches`", "in one list"]),
        ({"dense_0": "abc"}, ["`branches`", "lists of task names"]),
        ({"dense_0": []}, ["`branches`", "'dense_0'"]),
        ({"dense_0": [["a"], ["b"]]}, ["every task", "['c'] are missing"]),
        ({"dense_0": [["a", "x"], ["b", "c"]]}, ["['x'] are unknown"]),
        ({"no": EACH}, ["['no'] do not exist", "dense_0"]),
        (
            {"dense_0": TWO, "dense_1": [["a", "b"], ["c"]]},
            ["[['c', 'a'], ['b']]", "['a', 'b'] after 'dense_1'", "parted already"],
        ),
    ],
)
def test_errors_of_trees(branches, parts):
    with pytest.raises(ValueError) as error:
        connected(HierarchicalSharing(branches=branches), mlp((4, 4)), THREE)
    for part in parts:
        assert part in str(error.value)


def test_errors_of_tasks_and_backbones():
    with pytest.raises(ValueError, match="several tasks with HierarchicalSharing"):
        connected(HierarchicalSharing(), mlp(), ("a",))
    with pytest.raises(ValueError, match="one backbone for all tasks"):
        connected(HierarchicalSharing(), {"a": mlp(), "b": mlp()})
    net = mlp()
    plain = keras.Model(net.input, net.output)
    with pytest.raises(ValueError, match="Expected `branches` to name the layers"):
        connected(HierarchicalSharing(), plain)
