"""Hard sharing: one call per backbone, whose features go to all of its tasks."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl

TASKS = tuple(mtl.Task(name, mtl.heads.Regression()) for name in ("a", "b", "c"))


def backbone(name):
    inputs = keras.Input((2,), name="x")
    return keras.Model(inputs, {"pooled": keras.layers.Dense(3)(inputs)}, name=name)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [([["a", "b", "c"]], 1), ([["a", "b"], ["c"]], 2), ([["a"], ["b"], ["c"]], 3)],
    ids=["one for all", "two share", "one each"],
)
def test_tasks_of_one_backbone_share_its_features(groups, expected):
    per_task = {}
    for index, group in enumerate(groups):
        per_task |= dict.fromkeys(group, backbone(f"backbone_{index}"))
    inputs = keras.Input((2,), name="x")
    features = mtl.architectures.HardSharing().connect(
        dict.fromkeys("abc", inputs), per_task, TASKS
    )
    assert list(features) == ["a", "b", "c"]
    for group in groups:
        first = features[group[0]]
        assert all(features[name]["pooled"] is first["pooled"] for name in group)
    assert len({id(f["pooled"]) for f in features.values()}) == expected


def test_no_penalty():
    assert mtl.architectures.HardSharing().penalty({"a": []}) is None


@pytest.mark.parametrize(
    "identifier",
    ["hard", {"class_name": "hard", "config": {}}, mtl.architectures.HardSharing()],
)
def test_kept_by_the_model(identifier):
    net = mtl.backbones.MLP(input_shape=(2,), units=(3,))
    model = mtl.build_model(net, TASKS, architecture=identifier)
    copy = mtl.MultiTaskModel.from_config(model.get_config())
    for built in (model, copy):
        assert isinstance(built.architecture, mtl.architectures.HardSharing)
        assert built.task_names == ("a", "b", "c")
    copy.set_weights(model.get_weights())
    x = np.ones((1, 2), "float32")
    for name, value in model.predict(x, verbose=0).items():
        np.testing.assert_allclose(copy.predict(x, verbose=0)[name], value, atol=1e-6)


def test_unknown_architecture():
    net = mtl.backbones.MLP(input_shape=(2,), units=(3,))
    with pytest.raises(ValueError, match="Did you mean 'hard'"):
        mtl.build_model(net, TASKS, architecture="hart")
