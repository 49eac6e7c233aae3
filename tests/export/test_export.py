"""The exported numbers are the live model's, in a process of their own."""

import json
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_mtl as mtl
from keras_mtl.export import (
    export_saved_model,
    predict_saved_model,
    verify_saved_model,
)
from keras_mtl.export.c_loader import SavedModel
from keras_mtl.export.records import read_expected
from tests.export.samples import (
    LABELS,
    assert_served,
    inputs_of,
    live,
    make_plain_model,
)

INPUTS_OF = {
    "shape": ["image"],
    "order": ["image", "word"],
    "sign": ["code", "image"],
    "serving_default": ["code", "image", "word"],
}


@keras.saving.register_keras_serializable(package="tests")
class Half(mtl.heads.Regression):
    """Serves half precision, which no client could read."""

    def serving(self, outputs):
        return {"value": keras.ops.cast(outputs, "bfloat16")}


@keras.saving.register_keras_serializable(package="tests")
class Renamed(mtl.heads.Regression):
    def serving(self, outputs):
        return {"b_value": outputs}


def function_ops(signature):
    """Types of the ops of a signature, those of the functions it calls included."""
    graph = signature.graph.as_graph_def()
    nodes = list(graph.node)
    for function in graph.library.function:
        nodes += function.node_def
    return [node.op for node in nodes]


def test_verifies(exported):
    report = verify_saved_model(exported)
    assert report.ok
    assert report.folder == exported
    places = {(check.signature, check.output) for check in report.checks}
    assert {name for name, _ in places} == set(INPUTS_OF)
    assert ("shape", "label") in places
    assert ("serving_default", "sign_pixels") in places
    assert max(check.difference for check in report.checks) <= 1e-6


@pytest.mark.parametrize("signature", INPUTS_OF)
def test_every_signature_equals_the_live_model(model, exported, signature):
    inputs = inputs_of(5)
    answers = live(model, inputs)
    inputs = {name: inputs[name] for name in INPUTS_OF[signature]}
    with SavedModel(exported) as saved:
        assert list(saved.signatures[signature].inputs) == INPUTS_OF[signature]
        served = saved.run(signature, inputs)
    if signature == "serving_default":
        expected = {
            f"{task}_{name}": array
            for task, outputs in answers.items()
            for name, array in outputs.items()
        }
    else:
        expected = answers[signature]
    assert_served(served, expected)


def test_prediction_in_another_process(model, exported):
    inputs = {"image": inputs_of(3)["image"].astype("float64")}
    served = predict_saved_model(os.path.dirname(exported), inputs, signature="shape")
    assert_served(served, live(model, inputs_of(3))["shape"])


def test_pseudo_signatures_are_not_listed(exported):
    loaded = tf.saved_model.load(exported)
    with SavedModel(exported) as saved:
        assert set(saved.signatures) == set(loaded.signatures) == set(INPUTS_OF)
    with open(os.path.join(exported, "saved_model.pb"), "rb") as file:
        assert b"__saved_model_init_op" in file.read()


def test_a_task_runs_only_its_part(exported):
    signatures = tf.saved_model.load(exported).signatures
    ops = {name: function_ops(signatures[name]) for name in INPUTS_OF}
    matmuls = {name: ops[name].count("MatMul") for name in INPUTS_OF}
    assert matmuls == {"shape": 2, "order": 2, "sign": 2, "serving_default": 6}
    assert [n for n in INPUTS_OF if any("LookupTable" in o for o in ops[n])] == [
        "order",
        "serving_default",
    ]


def test_label_names_are_kept(exported):
    with open(os.path.join(exported, "assets.extra", "labels.json")) as file:
        names = json.load(file)
    assert names["shape"] == LABELS
    assert set(names) == {"shape", "order"}


def test_records_the_given_sample(model, tmp_path):
    sample = inputs_of(20)
    path = export_saved_model(model, tmp_path, sample=sample)
    inputs, outputs = read_expected(path)["order"]
    assert inputs["word"].tolist() == [[w[0].encode()] for w in sample["word"][:8]]
    np.testing.assert_array_equal(inputs["image"], sample["image"][:8])
    expected = live(model, {k: v[:8] for k, v in sample.items()})["order"]
    assert_served(outputs, expected)


def test_random_sample_is_reproducible(model, exported, tmp_path):
    first, second = (
        read_expected(path) for path in (exported, export_saved_model(model, tmp_path))
    )
    for name in INPUTS_OF:
        for part in (0, 1):
            for key, array in first[name][part].items():
                np.testing.assert_array_equal(array, second[name][part][key])


@pytest.mark.parametrize("dtype", ["float32", "int32", "bool", "uint8", "float64"])
def test_an_unnamed_input_of_any_dtype(tmp_path, dtype):
    model = make_plain_model(
        lambda x: layers.Dense(3)(
            layers.Lambda(lambda v: keras.ops.cast(v, "float32"))(x)
        ),
        dtype=dtype,
    )
    values = np.arange(10).reshape(2, 5).astype(dtype)
    with SavedModel(export_saved_model(model, tmp_path)) as saved:
        served = saved.run("size", {"inputs": values})
    expected = np.asarray(model(values)["size"])
    np.testing.assert_allclose(served["value"], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_mixed_precision(tmp_path, policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = make_plain_model(layers.Dense(64, activation="relu"))
        path = export_saved_model(model, tmp_path)
    finally:
        keras.config.set_dtype_policy(before)
    assert verify_saved_model(path).ok
    _, outputs = read_expected(path)["size"]
    assert outputs["value"].dtype == ("float64" if policy == "float64" else "float32")


def test_half_precision_outputs_are_served_as_float32(tmp_path):
    model = make_plain_model(layers.Dense(3), Half())
    _, outputs = read_expected(export_saved_model(model, tmp_path))["size"]
    assert outputs["value"].dtype == "float32"


def test_compiled_and_fitted(tmp_path):
    model = make_plain_model(layers.Dense(3))
    model.compile("adam", loss_weighting="uncertainty")
    model.fit(np.ones((8, 5)), {"size": np.ones((8, 2))}, verbose=0)
    path = export_saved_model(model, tmp_path)
    with SavedModel(path) as saved:
        served = saved.run("size", {"inputs": np.ones((2, 5))})
    expected = np.asarray(model(np.ones((2, 5)))["size"])
    np.testing.assert_allclose(served["value"], expected, rtol=1e-5, atol=1e-5)
    variables = tf.train.list_variables(os.path.join(path, "variables", "variables"))
    assert (
        sum(np.prod(shape) for _, shape in variables if shape) == 5 * 3 + 3 + 3 * 2 + 2
    )


def test_mirrored_variables(tmp_path, two_replicas):
    with two_replicas.scope():
        model = make_plain_model(layers.BatchNormalization())
    path = export_saved_model(model, tmp_path)
    with SavedModel(path) as saved:
        served = saved.run("size", {"inputs": np.ones((2, 5))})
    assert_served(served, model.predict_tasks(np.ones((2, 5)), verbose=0)["size"])


def test_a_table_that_was_saved_and_loaded(tmp_path):
    table = {
        "age": np.array([20.0, 40.0, 30.0]),
        "job": np.array(["cook", "nurse", "cook"]),
        "code": np.array([7, 9, 7]),
    }
    backbone = mtl.backbones.Tabular.for_table(table, units=(4,))
    tasks = [
        mtl.Task("income", mtl.heads.Regression(target_mean=5.0, target_std=2.0)),
        mtl.Task("home", mtl.heads.BinaryClassification(label_names=["no", "yes"])),
    ]
    model = mtl.build_model(backbone, tasks)
    inputs = {name: column[:, None] for name, column in table.items()}
    answers = live(model, inputs)
    model.save(tmp_path / "table.keras")
    loaded = keras.saving.load_model(tmp_path / "table.keras", compile=False)
    with SavedModel(export_saved_model(loaded, tmp_path / "table")) as saved:
        for task in ("income", "home"):
            assert_served(saved.run(task, inputs), answers[task])


def test_python_functions_export_but_do_not_verify(tmp_path):
    class Python(layers.Layer):
        def call(self, x):
            y = tf.numpy_function(lambda v: v, [x], tf.float32)
            return tf.ensure_shape(y, x.shape)

        def compute_output_shape(self, shape):
            return shape

    path = export_saved_model(make_plain_model(Python()), tmp_path)
    report = verify_saved_model(path)
    assert not report.ok
    assert all("PyFunc" in check.message for check in report.checks)


@pytest.mark.parametrize("name", ["serving_default", "variables", "signatures", "_a"])
def test_names_that_cannot_be_served(tmp_path, name):
    model = make_plain_model(layers.Dense(3), name=name)
    with pytest.raises(ValueError, match=f"signature. Received: '{name}'"):
        export_saved_model(model, tmp_path)
    assert os.listdir(tmp_path) == []


def test_outputs_of_one_name(tmp_path):
    """The output `b_value` of task `a`, and `value` of task `a_b`."""

    tasks = [mtl.Task("a", Renamed()), mtl.Task("a_b", mtl.heads.Regression())]
    model = mtl.build_model(mtl.backbones.MLP((5,), units=(3,)), tasks)
    with pytest.raises(ValueError, match="'a_b_value' of the tasks 'a' and 'a_b'"):
        export_saved_model(model, tmp_path)
