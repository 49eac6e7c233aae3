"""What every architecture of this kind must do: features, files, precision."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from tests.architectures.connected import connected, mlp, rows, shaken, tasks

TREE = {"input": [["a"], ["b"]]}
TABLE = {
    "cross_residual": {"stages": ["stage_0_relu"]},
    "cross_stitch": {"mixing": "full", "own_weight": 0.7},
    "hierarchical": {"branches": TREE},
    "learning_to_branch": {
        "num_nodes": 3,
        "temperature": 2.0,
        "final_temperature": 1.0,
        "steps": 7,
    },
    "mtan": {"stages": ["stage_1_relu"], "units": 5},
    "nddr": {"own_weight": 0.8, "activation": "tanh"},
    "sluice": {"num_subspaces": 4, "own_weight": 0.8, "orthogonality": 0.5},
    "soft": {"distance": "trace_norm", "weight": 0.5},
    "task_attention": {"stage": "stage_0_relu", "units": 5},
}


def convnet():
    return mtl.backbones.ConvNet(input_shape=(8, 8, 1), filters=(4, 8), units=6)


@pytest.mark.parametrize("name", TABLE)
def test_every_feature_for_every_task(name):
    for net, shape in ((mlp(), (3,)), (convnet(), (8, 8, 1))):
        model = connected(mtl.architectures.get(name), net)
        x = rows(shape)
        expected = {key: t.shape[1:] for key, t in net.output.items()}
        for features in model(x).values():
            assert {key: tuple(t.shape[1:]) for key, t in features.items()} == expected
            for value in features.values():
                assert np.isfinite(np.asarray(value)).all()


@pytest.mark.parametrize(("name", "config"), TABLE.items(), ids=TABLE)
def test_configuration_and_file(name, config, tmp_path):
    identifier = {"class_name": name, "config": config}
    architecture = mtl.architectures.get(identifier)
    found = architecture.get_config()
    assert {key: found[key] for key in config} == config
    assert type(architecture).from_config(found).get_config() == found
    model = shaken(mtl.build_model(convnet(), list(tasks()), architecture=identifier))
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.models.load_model(path)
    assert type(loaded.architecture) is type(architecture)
    assert loaded.architecture.get_config() == found
    x = rows((8, 8, 1))
    expected = model(x)
    for task, value in loaded(x).items():
        np.testing.assert_allclose(value, expected[task], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", TABLE)
def test_half_precision(name):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = connected(mtl.architectures.get(name), convnet())
    finally:
        keras.config.set_dtype_policy("float32")
    for training in (True, False):
        for features in model(rows((8, 8, 1)), training=training).values():
            for value in features.values():
                assert keras.backend.standardize_dtype(value.dtype) == "bfloat16"
                assert np.isfinite(np.asarray(value, "float32")).all()
    for variable in model.trainable_variables:
        assert keras.backend.standardize_dtype(variable.dtype) == "float32"


@pytest.mark.parametrize("name", TABLE)
def test_gradients_reach_every_variable(name):
    """All together; those of one task reach what `task_model` says."""
    model = shaken(mtl.build_model(mlp(), list(tasks()), architecture=name))
    with tf.GradientTape(persistent=True) as tape:
        losses = {
            task: keras.ops.sum(keras.ops.square(value - 1.0))
            for task, value in model(rows(), training=True).items()
        }
        total = losses["a"] + losses["b"]
    found = tape.gradient(total, [v.value for v in model.trainable_variables])
    for variable, gradient in zip(model.trainable_variables, found, strict=True):
        assert np.abs(np.asarray(gradient)).max() > 0, variable.path
    for task, loss in losses.items():
        reached = {id(v) for v in model.task_model(task).trainable_variables}
        found = tape.gradient(loss, [v.value for v in model.trainable_variables])
        for variable, gradient in zip(model.trainable_variables, found, strict=True):
            assert (gradient is not None) == (id(variable) in reached), variable.path


@pytest.mark.parametrize("name", TABLE)
def test_double_precision(name, float64):
    """Nothing on the way is in single precision: a small change is not lost."""
    model = shaken(connected(mtl.architectures.get(name), mlp()))
    x = keras.ops.convert_to_tensor(rows().astype("float64"))
    before, after = model(x), model(x + 1e-12)
    for task in "ab":
        change = np.abs(np.asarray(after[task]["pooled"] - before[task]["pooled"]))
        assert 1e-14 < change.max() < 1e-9
