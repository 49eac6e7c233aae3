"""Learning to branch: nodes that choose their parents."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from keras_mtl.layers import BranchChoice
from keras_mtl.utils.random import uniform
from tests.architectures.connected import (
    assert_features,
    connected,
    dense,
    mlp,
    predicted,
    rows,
    shaken,
    softmax,
    tasks,
)

LearningToBranch = mtl.architectures.LearningToBranch
HierarchicalSharing = mtl.architectures.HierarchicalSharing
THREE = ("a", "b", "c")


def choose(model, **parents):
    for layer, parent in parents.items():
        logits = model.get_layer(f"{layer}_parent").logits
        logits.assign(np.eye(logits.shape[0])[parent])


def built(units=(4, 4, 4)):
    """A tree: a and b have node 2 of the last stage, all have node 1 of the first."""
    model = mtl.build_model(
        mlp(units), list(tasks(THREE)), architecture="learning_to_branch"
    )
    shaken(model)
    choose(model, a_dense_2=2, b_dense_2=2, c_dense_2=0)
    choose(model, node_2_dense_1=0, node_0_dense_1=2)
    choose(model, node_0_dense_0=1, node_2_dense_0=1)
    return model


def path(model, task):
    """Names of the dense layers that a task runs, from the choices."""
    node = model.get_layer(f"{task}_dense_2_parent").chosen()
    names = [f"dense_2_node_{node}"]
    for stage in (1, 0):
        node = model.get_layer(f"node_{node}_dense_{stage}_parent").chosen()
        names.append(f"dense_{stage}_node_{node}")
    return names[::-1]


def test_inference_equals_numpy():
    model = shaken(connected(LearningToBranch(), mlp((4, 4, 4)), THREE))
    expected = {}
    for task in THREE:
        x = rows()
        for layer in path(model, task):
            x = dense(model, layer, x)
        expected[task] = {"pooled": x}
    assert_features(predicted(model, rows()), expected)


def test_training_equals_numpy():
    """Shares of the parents, from the noise that the layer's own seed gives."""
    choice = BranchChoice(temperature=0.7, seed=3)
    x = [rows((4,), seed=seed) for seed in range(3)]
    choice(x)
    choice.logits.assign([0.3, -1.0, 0.5])
    twin = BranchChoice(seed=3)
    numbers = uniform(tf.range(3), twin.seed_generator)
    noise = -np.log(-np.log(np.asarray(numbers, "float64") + 2.0**-25))
    shares = softmax((np.array([0.3, -1.0, 0.5]) + noise) / 0.7)
    expected = sum(s * h for s, h in zip(shares, x, strict=True))
    np.testing.assert_allclose(choice(x, training=True), expected, rtol=1e-4)


def test_draws_have_the_probabilities_of_the_logits():
    choice = BranchChoice(temperature=1e-3, seed=1)
    x = list(np.eye(3, dtype="float32")[:, None])
    choice(x)
    logits = np.array([0.0, 1.0, -1.0])
    choice.logits.assign(logits)
    draw = tf.function(lambda: choice(x, training=True))
    drawn = np.mean([np.asarray(draw())[0] for _ in range(2000)], axis=0)
    np.testing.assert_allclose(drawn, softmax(logits), atol=0.03)


def test_temperature_falls():
    choice = BranchChoice(temperature=4.0, final_temperature=1.0, steps=4)
    x = [rows((4,)), rows((4,))]
    found = []
    for _ in range(7):
        choice(x, training=True)
        choice(x)
        found.append(float(choice.current_temperature()))
    np.testing.assert_allclose(found, [2**1.5, 2, 2**0.5, 1, 1, 1, 1], rtol=1e-5)
    fixed = BranchChoice(temperature=4.0)
    fixed(x, training=True)
    assert float(fixed.current_temperature()) == 4.0


def test_the_tree_that_was_learned():
    """As hierarchical sharing, with the same weights, it is the same function."""
    model = built()
    tree = model.architecture.branches(model)
    assert tree == {"dense_0": [["a", "b"], ["c"]], "dense_2": [["a"], ["b"], ["c"]]}
    again = mtl.build_model(
        mlp((4, 4, 4)),
        list(tasks(THREE)),
        architecture=HierarchicalSharing(branches=tree),
    )
    names = {
        "dense_0": "dense_0_node_1",
        "dense_1_a-b": "dense_1_node_0",
        "dense_2_a-b": "dense_2_node_2",
        "dense_1_c": "dense_1_node_2",
        "dense_2_c": "dense_2_node_0",
    }
    names |= {f"{task}_output": f"{task}_output" for task in THREE}
    for name, source in names.items():
        again.get_layer(name).set_weights(model.get_layer(source).get_weights())
    expected = model.predict(rows(), verbose=0)
    for task, value in again.predict(rows(), verbose=0).items():
        np.testing.assert_allclose(value, expected[task], rtol=1e-5)


def test_trees_at_the_ends():
    model = built()
    choose(model, node_2_dense_0=0)
    assert model.architecture.branches(model) == {
        "input": [["a", "b"], ["c"]],
        "dense_2": [["a"], ["b"], ["c"]],
    }
    choose(model, a_dense_2=0, b_dense_2=0)
    everyone = {"dense_2": [["a"], ["b"], ["c"]]}
    assert model.architecture.branches(model) == everyone
    one_stage = mtl.build_model(
        mlp((4,)), list(tasks()), architecture="learning_to_branch"
    )
    choose(one_stage, a_dense_0=0, b_dense_0=1)
    found = one_stage.architecture.branches(one_stage)
    assert found == {"input": [["a"], ["b"]]}


def test_training_learns_to_part():
    """Two tasks that one narrow network cannot serve choose different ones."""
    net = mlp((1,))
    architecture = LearningToBranch(temperature=1.0, final_temperature=0.3, steps=200)
    model = mtl.build_model(net, list(tasks()), architecture=architecture)
    x = rows(size=256)
    y = {"a": x[:, 0], "b": x[:, 1]}
    model.compile(keras.optimizers.Adam(0.03))
    model.fit(x, y, epochs=40, verbose=0)
    assert architecture.branches(model) == {"input": [["a"], ["b"]]}
    assert model.evaluate(x, y, verbose=0, return_dict=True)["loss"] < 0.5


def test_replicas_draw_alike(two_replicas):
    with two_replicas.scope():
        choice = BranchChoice(temperature=0.5, seed=2)
        choice.build([(None, 4), (None, 4)])
    x = [rows((4,)), rows((4,), seed=1)]

    @tf.function
    def step():
        return two_replicas.run(lambda: choice(x, training=True))

    drawn = []
    for _ in range(3):
        one, other = two_replicas.experimental_local_results(step())
        np.testing.assert_array_equal(one, other)
        drawn.append(np.asarray(one))
    assert np.abs(drawn[0] - drawn[1]).max() > 1e-3
    assert int(np.asarray(choice.step)) == 3


@pytest.mark.parametrize(
    ("build", "parts"),
    [
        (lambda: LearningToBranch(num_nodes=0), ["`num_nodes`"]),
        (lambda: LearningToBranch(temperature=0), ["`temperature`"]),
        (lambda: LearningToBranch(final_temperature=0), ["`final_temperature`"]),
        (lambda: LearningToBranch(steps=0), ["`steps`"]),
        (
            lambda: connected(LearningToBranch(), mlp(), ("a",)),
            ["several tasks with LearningToBranch"],
        ),
        (
            lambda: connected(LearningToBranch(), {"a": mlp(), "b": mlp()}),
            ["one backbone for all tasks with LearningToBranch"],
        ),
    ],
)
def test_errors(build, parts):
    with pytest.raises(ValueError) as error:
        build()
    for part in parts:
        assert part in str(error.value)
