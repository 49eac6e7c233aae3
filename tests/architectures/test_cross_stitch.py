"""Cross-stitch: towers whose features are mixed after every stage."""

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
    weights,
)

CrossStitch = mtl.architectures.CrossStitch
THREE = ("a", "b", "c")


def mixture(alpha, index, features):
    """Term by term, as in the paper."""
    channels = features[0].shape[-1]
    mixed = np.zeros_like(features[index])
    for j, h in enumerate(features):
        for c in range(channels):
            if alpha.shape == (len(features), channels):
                mixed[..., c] += alpha[j, c] * h[..., c]
            else:
                for d in range(channels):
                    mixed[..., c] += alpha[j * channels + d, c] * h[..., d]
    return mixed


@pytest.mark.parametrize("mixing", ["channel", "full"])
def test_equals_numpy(mixing):
    model = shaken(connected(CrossStitch(mixing=mixing), mlp(), THREE))
    x = rows()
    h = dict.fromkeys(THREE, x.astype("float64"))
    for layer in ("dense_0", "dense_1"):
        h = {t: dense(model, f"{layer}_{t}", h[t]) for t in THREE}
        h = {
            t: mixture(
                weights(model, f"{t}_{layer}_cross_stitch")[0], i, list(h.values())
            )
            for i, t in enumerate(THREE)
        }
    assert_features(predicted(model, x), {t: {"pooled": h[t]} for t in THREE})


@pytest.mark.parametrize(
    ("names", "others"), [(("a", "b"), 0.1), (THREE, 0.05)], ids=["two", "three"]
)
@pytest.mark.parametrize("mixing", ["channel", "full"])
def test_starts_near_the_identity(mixing, names, others):
    model = connected(CrossStitch(mixing=mixing), mlp(), names)
    alpha = weights(model, "b_dense_1_cross_stitch")[0]
    if mixing == "full":
        assert alpha.shape == (4 * len(names), 4)
        blocks = alpha.reshape(len(names), 4, 4)
        alpha = np.stack([np.diag(block) for block in blocks])
        assert np.abs(blocks).sum() == pytest.approx(np.abs(alpha).sum())
    expected = np.full((len(names), 4), others)
    expected[1] = 0.9
    np.testing.assert_allclose(alpha, expected, rtol=1e-6)


@pytest.mark.parametrize("mixing", ["channel", "full"])
def test_identity_is_independent_towers(mixing):
    architecture = CrossStitch(mixing=mixing, own_weight=1.0)
    nets = {"a": mlp(name="one"), "b": mlp(name="two")}
    model = connected(architecture, nets)
    found = predicted(model, rows())
    for task, net in nets.items():
        np.testing.assert_allclose(found[task]["pooled"], net(rows())["pooled"], 1e-5)
    other = connected(architecture, nets["a"])
    found = predicted(other, rows())
    np.testing.assert_array_equal(found["a"]["pooled"], found["b"]["pooled"])


@pytest.mark.parametrize(
    ("shape", "net"),
    [
        ((6, 3), lambda x: keras.layers.Conv1D(4, 3, name="stage")(x)),
        ((6, 5, 3), lambda x: keras.layers.Conv2D(4, 3, name="stage")(x)),
    ],
    ids=["tokens", "map"],
)
def test_tokens_and_maps(shape, net):
    inputs = keras.Input(shape, name="x")
    name = "sequence" if len(shape) == 2 else "map"
    backbone = keras.Model(inputs, {name: net(inputs)})
    x = rows(shape)
    for mixing in ("channel", "full"):
        model = shaken(
            connected(CrossStitch(stages=["stage"], mixing=mixing), backbone)
        )
        h = [np.asarray(model.get_layer(f"stage_{t}")(x)) for t in "ab"]
        expected = {
            t: {name: mixture(weights(model, f"{t}_stage_cross_stitch")[0], i, h)}
            for i, t in enumerate("ab")
        }
        assert_features(predicted(model, x), expected)


def test_masked_tokens_stay_masked():
    tokens = keras.Input((4,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(9, 3, mask_zero=True, name="stage")(tokens)
    pooled = keras.layers.GlobalAveragePooling1D(name="pool")(x)
    net = keras.Model(tokens, {"sequence": x, "pooled": pooled})
    model = connected(CrossStitch(stages=["stage"]), net)
    found = predicted(model, np.array([[3, 5, 0, 0], [1, 2, 3, 4]]))
    for task in "ab":
        expected = found[task]["sequence"]
        np.testing.assert_allclose(
            found[task]["pooled"],
            [expected[0, :2].mean(axis=0), expected[1].mean(axis=0)],
            rtol=1e-5,
        )


def test_what_is_shared():
    """All but the last unit and what follows it."""
    model = mtl.build_model(mlp(), list(tasks()), architecture="cross_stitch")
    reached = {}
    for task in "ab":
        for variable in model.task_model(task).trainable_variables:
            reached.setdefault(variable.path, set()).add(task)
    own = {path for path, by in reached.items() if len(by) == 1}
    assert own == {
        f"{task}_{part}"
        for task in "ab"
        for part in ("dense_1_cross_stitch/alpha", "output/kernel", "output/bias")
    }


def test_one_backbone_per_task_with_stages_of_its_own():
    nets = {}
    for task, names in (("a", ("one", "two")), ("b", ("uno", "due"))):
        x = inputs = keras.Input((3,), name="x")
        for name in names:
            x = keras.layers.Dense(2, name=name)(x)
        nets[task] = keras.Model(inputs, {"pooled": x}, name=f"net_{task}")
    stages = {"a": ["one", "two"], "b": ["uno", "due"]}
    model = connected(CrossStitch(stages=stages), nets)
    assert {layer.name for layer in model.layers} >= {
        "a_one_cross_stitch",
        "b_uno_cross_stitch",
        "a_two_cross_stitch",
        "b_due_cross_stitch",
    }


@pytest.mark.parametrize(
    ("build", "parts"),
    [
        (lambda: CrossStitch(mixing="some"), ["`mixing`", "'channel', 'full'"]),
        (lambda: CrossStitch(own_weight=1.5), ["`own_weight`", "1.5"]),
        (lambda: CrossStitch(stages="dense_0"), ["`stages`", "list of layer names"]),
        (
            lambda: connected(CrossStitch(), mlp(), ("a",)),
            ["several tasks with CrossStitch", "['a']"],
        ),
        (
            lambda: connected(CrossStitch(stages=["dense_9"]), mlp()),
            ["['dense_9'] do not exist", "dense_0"],
        ),
        (
            lambda: connected(CrossStitch(), {"a": mlp((4, 5)), "b": mlp((4, 6))}),
            ["(None, 5)", "task 'a'", "(None, 6)", "task 'b'", "'dense_1'"],
        ),
        (
            lambda: connected(CrossStitch(), {"a": mlp((4, 5)), "b": mlp((4,))}),
            ["same number of stages", "task 'a'", "('dense_0',) for task 'b'"],
        ),
        (
            lambda: connected(CrossStitch(stages={"z": ["dense_0"]}), mlp()),
            ["keys of `stages`", "['z']"],
        ),
    ],
)
def test_errors(build, parts):
    with pytest.raises(ValueError) as error:
        build()
    for part in parts:
        assert part in str(error.value)
