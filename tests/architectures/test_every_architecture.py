"""Every registered architecture: on every kind of backbone, with balancers, replicas.

What an architecture computes is tested in a file of its own.
"""

import inspect

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from keras_mtl.export.c_loader import SavedModel
from tests.training import problems

REGISTRY = mtl.architectures.registry
NAMES = REGISTRY.names()
BALANCERS = mtl.balancers.registry.names()
# Small; what is not here has defaults that are.
CONFIGS = {
    "adapters": {"bottleneck_dim": 2},
    "aitm": {"units": (4,)},
    "cgc": {"shared_experts": 2, "task_experts": 1, "units": (4,)},
    "dselect_k": {"num_experts": 3, "units": (4,)},
    "lora": {"rank": 2},
    "mmoe": {"num_experts": 2, "units": (4,)},
    "ple": {"shared_experts": 2, "task_experts": 1, "units": (4,)},
    "task_embedding_moe": {"num_experts": 2, "units": (4,), "embedding_dim": 2},
}
SEPARATE = {"soft"}  # Nothing is shared, so a balancer is an error.
# Batch normalisation, and losses of layers that are functions of the batch, see the
# rows of their replica otherwise.
ON_REPLICAS = {
    "dselect_k": {"entropy_weight": 0.0},
    "mtan": {"synchronized": True},
    "nddr": {"synchronized": True},
    "sluice": {"orthogonality": 0.0},
}


def mlp():
    return mtl.backbones.MLP(input_shape=(6,), units=(8, 8), activation="tanh")


def convnet():
    return mtl.backbones.ConvNet(input_shape=(8, 8, 1), filters=(4, 4), units=4)


def text():
    return keras_hub.models.BertBackbone(
        vocabulary_size=20,
        num_layers=2,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=8,
        max_sequence_length=6,
    )


def application():
    """The first quarter of it has all kinds of layers that it has."""
    whole = keras.applications.MobileNet(
        input_shape=(32, 32, 3), alpha=0.25, weights=None, include_top=False
    )
    return keras.Model(whole.input, whole.get_layer("conv_pw_3_relu").output)


STAGES = {
    mlp: ("dense_0", "dense_1"),
    convnet: ("stage_0_relu", "stage_1_relu"),
    text: ("transformer_layer_0", "transformer_layer_1"),
    application: ("conv_pw_1_relu", "conv_pw_3_relu"),
}


def architecture(name, backbone, tasks, **changes):
    config = CONFIGS.get(name, {}) | changes
    if "stages" in inspect.signature(dict(REGISTRY.items())[name]).parameters:
        config["stages"] = STAGES[backbone]
    if name == "hierarchical":
        first, *others = [task.name for task in tasks]
        config["branches"] = {STAGES[backbone][0]: [[first], others]}
    return REGISTRY.get({"class_name": name, "config": config})


def built(name, backbone, tasks, **changes):
    chosen = architecture(name, backbone, tasks, **changes)
    return mtl.build_model(backbone(), tasks, architecture=chosen)


def inputs_of(model, rows=3):
    rng = np.random.default_rng(0)

    def values(tensor):
        shape = (rows, *tensor.shape[1:])
        if "int" in tensor.dtype:
            return np.ones(shape, tensor.dtype)
        return rng.normal(size=shape).astype(tensor.dtype)

    return keras.tree.map_structure(
        values, keras.tree.map_structure(lambda t: _with_length(t), model.input)
    )


def _with_length(tensor):
    shape = [6 if size is None else size for size in tensor.shape[1:]]
    return keras.KerasTensor((None, *shape), tensor.dtype)


@pytest.mark.parametrize("backbone", STAGES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_works_on_any_backbone(name, backbone):
    tasks = [mtl.Task(task, mtl.heads.Regression()) for task in ("a", "b")]
    model = built(name, backbone, tasks)
    x = inputs_of(model)
    with tf.GradientTape() as tape:
        outputs = model(x, training=True)
        loss = sum(tf.reduce_sum(output**2) for output in outputs.values())
        loss += sum(model.losses)
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    variables = zip(model.trainable_variables, gradients, strict=True)
    assert [v.path for v, g in variables if g is None] == []
    assert set(outputs) == {"a", "b"}
    for output in outputs.values():
        assert output.shape == (3, 1)
        assert np.all(np.isfinite(output))


def pairs():
    """Every architecture with two balancers, every balancer with one architecture."""
    shared = [name for name in NAMES if name not in SEPARATE]
    found = {(shared[i % len(shared)], b): None for i, b in enumerate(BALANCERS)}
    for i, name in enumerate(shared):
        found[name, BALANCERS[(7 * i + 3) % len(BALANCERS)]] = None
    return list(found)


@pytest.mark.parametrize(("name", "balancer"), pairs())
def test_trains_with_a_balancer(name, balancer):
    """Eagerly; in a graph are all on two replicas, here and with all methods."""
    model = built(name, mlp, problems.tasks())
    before = problems.weights(model)
    model.compile("adam", balancer=balancer, run_eagerly=True)
    x, y = problems.data(rows=16)
    logs = model.fit(x, y, batch_size=8, epochs=1, verbose=0).history
    assert np.all(np.isfinite(logs["loss"]))
    after = problems.weights(model)
    shared = [path for path in before if np.any(before[path] != after[path])]
    assert any("dense" in path for path in shared)
    assert all(np.all(np.isfinite(value)) for value in after.values())


@pytest.mark.parametrize("name", SEPARATE)
def test_says_that_nothing_is_shared(name):
    model = built(name, mlp, problems.tasks())
    with pytest.raises(ValueError, match="shared"):
        model.compile("adam", balancer="pcgrad")


def trained(strategy, name, **how):
    x, y = problems.data(rows=27, missing=["kind", "price"])
    with strategy.scope():
        keras.utils.set_random_seed(3)
        tasks = problems.tasks(kind={"missing": -1})
        model = built(name, mlp, tasks, **ON_REPLICAS.get(name, {}))
        balancer = None if name in SEPARATE else "cagrad"
        model.compile(keras.optimizers.SGD(0.05), balancer=balancer, **how)
    model.fit(x, y, batch_size=16, epochs=1, shuffle=False, verbose=0)
    return problems.weights(model)


@pytest.mark.parametrize("name", NAMES)
def test_two_replicas_equal_one(name, float64, two_replicas):
    # Two steps, sooner done than traced.
    one = trained(tf.distribute.get_strategy(), name, run_eagerly=True)
    two = trained(two_replicas, name)
    assert problems.largest_difference(one, two) < 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_the_export_serves_what_the_model_predicts(name, tmp_path):
    """All tasks by the default signature, each by its own, in TensorFlow's C++."""
    model = built(name, mlp, problems.tasks())
    x, _ = problems.data(rows=4)
    folder = mtl.export.export_saved_model(model, tmp_path)
    expected = model.predict_tasks(x, verbose=0)
    with SavedModel(folder) as saved:
        (key,) = saved.signatures["kind"].inputs
        together = saved.run("serving_default", {key: x})
        for task, outputs in expected.items():
            alone = saved.run(task, {key: x})
            for output, values in outputs.items():
                if values.dtype.kind == "f":
                    np.testing.assert_allclose(alone[output], values, atol=1e-5)
                    whole = together[f"{task}_{output}"]
                    np.testing.assert_allclose(whole, values, atol=1e-5)
