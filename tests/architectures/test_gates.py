"""Gates are read from the graph of a model, as means over examples."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl.architectures import gate_weights, unused_experts
from tests.architectures.experts import gate_by_hand, plain_backbone, scramble, tasks
from tests.asserts import error_with

A = mtl.architectures
X = np.random.default_rng(1).normal(size=(70, 5)).astype("float32")


def built(architecture, **features):
    net = mtl.backbones.MLP(input_shape=(5,), units=(6,))
    model = mtl.build_model(net, list(tasks("a", "b")), architecture=architecture)
    scramble(model)
    return model, net.predict(X, verbose=0)["pooled"]


def test_means_over_all_examples():
    model, features = built(A.MMoE(3, units=(4,)))
    found = gate_weights(model, X, batch_size=32)
    assert list(found) == ["a_pooled", "b_pooled"]
    for gate, experts in found.items():
        assert list(experts) == [f"pooled_experts/{index}" for index in range(3)]
        layer = model.get_layer(f"{gate}_gate")
        expected = gate_by_hand(layer, features).mean(axis=0)
        np.testing.assert_allclose(list(experts.values()), expected, rtol=1e-5)


def test_names_of_a_stack():
    model, _ = built(A.PLE(2, shared_experts=2, task_experts=1, units=(4,)))
    found = {gate: list(experts) for gate, experts in gate_weights(model, X).items()}
    shared = {
        level: [f"pooled_experts_{level}/{i}" for i in (0, 1)] for level in (0, 1)
    }
    own = {
        (t, level): [f"{t}_pooled_experts_{level}/0"] for t in "ab" for level in (0, 1)
    }
    assert found == {
        "a_pooled_0": own["a", 0] + shared[0],
        "b_pooled_0": own["b", 0] + shared[0],
        "pooled_0": own["a", 0] + own["b", 0] + shared[0],
        "a_pooled_1": own["a", 1] + shared[1],
        "b_pooled_1": own["b", 1] + shared[1],
    }


@pytest.mark.parametrize(
    "architecture",
    [
        A.DSelectK(3, units=(4,)),
        A.TaskEmbeddingMoE(3, units=(4,)),
        A.MMoE(3, units=(4,), per_task_gates=False),
        A.CGC(units=(4,)),
    ],
    ids=lambda a: type(a).__name__,
)
def test_of_every_kind(architecture, tmp_path):
    model, _ = built(architecture)
    found = gate_weights(model, X)
    for experts in found.values():
        assert sum(experts.values()) == pytest.approx(1.0, rel=1e-5)
    path = tmp_path / "model.keras"
    model.save(path)
    assert gate_weights(keras.models.load_model(path), X) == found


def test_mean_over_pixels():
    net = mtl.backbones.ConvNet(input_shape=(8, 8, 1), filters=(4,), units=5)
    image = keras.Input((8, 8, 1))
    features = A.MMoE(3, units=(4,)).connect(
        dict.fromkeys("ab", image), dict.fromkeys("ab", net), tasks("a", "b")
    )
    model = keras.Model(image, {task: features[task]["map"] for task in "ab"})
    scramble(model)
    x = np.random.default_rng(0).normal(size=(6, 8, 8, 1)).astype("float32")
    pixels = net.predict(x, verbose=0)["map"].reshape(-1, 4)
    expected = gate_by_hand(model.get_layer("a_map_gate"), pixels).mean(axis=0)
    found = gate_weights(model, x)["a_map"]
    np.testing.assert_allclose(list(found.values()), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[0.5, 0.5], [0.5, 0.5]], []),
        ([[0.96, 0.04], [0.97, 0.03]], ["x/1"]),
        ([[0.96, 0.04], [0.04, 0.96]], []),
        ([[1.0, 0.0, 0.0], [0.9, 0.05, 0.05]], []),
        ([[1.0, 0.0, 0.0], [0.95, 0.02, 0.03]], ["x/1", "x/2"]),
    ],
)
def test_unused_experts(rows, expected):
    weights = {
        f"gate_{index}": {f"x/{i}": weight for i, weight in enumerate(row)}
        for index, row in enumerate(rows)
    }
    assert unused_experts(weights) == expected


def test_model_without_experts():
    model = mtl.build_model(plain_backbone(), list(tasks("a", "b")))
    with error_with(ValueError, "mixture of experts", "'mmoe'", "Received: model="):
        gate_weights(model, X)
