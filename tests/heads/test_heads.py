"""What every head keeps, one row per head (or per form of a head)."""

import inspect
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_mtl as mtl
from tests.asserts import error_with
from tests.heads.samples import IDS, ROWS, TABLE

EACH = pytest.mark.parametrize("row", TABLE, ids=IDS)


def test_every_head_has_a_row():
    # They need another task and a further input: they have files of their own.
    known = set(mtl.heads.registry.names()) - {"conversion", "sequence_to_sequence"}
    assert {row.name for row in TABLE} == known


def built(row, **task):
    """A model of one task whose raw outputs differ from example to example."""
    model = mtl.build_model(row.backbone(), [mtl.Task("t", row.head(), **task)])
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    x = rng.normal(size=(ROWS, 4)).astype("float32")
    return model, x, model.predict(x, verbose=0)["t"].astype("float64"), row.labels(rng)


@EACH
def test_through_a_model(row):
    """Loss on raw outputs, metrics on activated ones, and what is served."""
    model, x, raw, y = built(row)
    assert raw.shape == (ROWS, *row.shape)
    model.compile("sgd")
    # One batch: a contrastive task compares its examples.
    logs = model.evaluate(x, {"t": y}, batch_size=ROWS, verbose=0, return_dict=True)
    expected = {"loss": row.loss(y, raw), "t_loss": row.loss(y, raw)}
    for name, metric in row.metrics.items():
        expected[f"t_{name}"] = metric(y, row.activated(raw))
    assert logs == pytest.approx(expected, rel=1e-4)
    served = model.predict_tasks(x, verbose=0)["t"]
    wanted = row.serving(raw)
    assert served.keys() == wanted.keys()
    for key, value in wanted.items():
        if value.dtype.kind in "Ui":
            assert served[key].dtype.kind == value.dtype.kind
            assert served[key].tolist() == value.tolist()
        else:
            np.testing.assert_allclose(served[key], value, atol=2e-6, rtol=1e-4)


@pytest.mark.parametrize(
    "row", [row for row in TABLE if row.labels(np.random.default_rng(0)).ndim == 1]
)
def test_labels_as_a_column(row):
    """Shapes `(batch,)` and `(batch, 1)` are the same labels."""
    model, x, raw, y = built(row)
    model.compile("sgd")
    y_column = {"t": y[:, None]}
    logs = model.evaluate(x, y_column, batch_size=ROWS, verbose=0, return_dict=True)
    assert logs["t_loss"] == pytest.approx(row.loss(y, raw), rel=1e-4)
    for name, metric in row.metrics.items():
        wanted = metric(y, row.activated(raw))
        assert logs[f"t_{name}"] == pytest.approx(wanted, rel=1e-4)


@EACH
def test_activation(row):
    raw = np.random.default_rng(0).normal(size=(ROWS, *row.shape))
    if row.name == "ordinal":
        raw = -np.sort(-raw, axis=1)
    found = row.head().activate(ops.array(raw, "float64"))
    np.testing.assert_allclose(found, row.activated(raw), atol=1e-7)
    assert keras.backend.standardize_dtype(found.dtype) == "float64"


@EACH
def test_serving_is_a_graph(row):
    """Named tensors with a row per example, traced once for any batch size."""
    head = row.head()
    served = tf.function(
        head.serving, input_signature=[tf.TensorSpec((None, *row.shape), "float32")]
    )
    for size in (1, 3):
        raw = np.random.default_rng(0).normal(size=(size, *row.shape))
        raw = raw.astype("float32")
        eager = head.serving(ops.array(raw))
        for key, value in served(raw).items():
            assert value.shape[0] == size
            np.testing.assert_array_equal(value, eager[key])
    assert served.experimental_get_tracing_count() == 1


@EACH
def test_wrong_labels(row):
    head = row.head()
    outputs = ops.zeros((ROWS, *row.shape))
    good = row.labels(np.random.default_rng(0))
    head.check_labels(tf.constant(good), outputs)
    assert row.wrong
    for labels, part in row.wrong:
        expected = f"Expected labels of {type(head).__name__}"
        with error_with(ValueError, expected, part, "Received:"):
            head.check_labels(tf.constant(labels), outputs)


COMMON = {"hidden_units": [6, 5], "activation": "tanh", "dropout": 0.25}


@EACH
def test_configuration_round_trip(row):
    head = row.head(**COMMON)
    serialised = json.loads(json.dumps(keras.saving.serialize_keras_object(head)))
    copy = keras.saving.deserialize_keras_object(serialised)
    assert type(copy) is type(head)
    assert copy.get_config() == head.get_config()
    plain = json.loads(json.dumps({**row.config, **COMMON}))
    assert json.loads(json.dumps(copy.get_config())).items() >= plain.items()


@EACH
def test_configuration_holds_every_argument(row):
    names = set()
    for cls in type(row.head()).__mro__[:-1]:
        names |= set(inspect.signature(cls.__init__).parameters)
    assert row.head().get_config().keys() == names - {"self", "kwargs"}


@EACH
def test_hidden_layers(row):
    model = mtl.build_model(row.backbone(), [mtl.Task("t", row.head(**COMMON))])
    names = {layer.name for layer in model.layers}
    assert names >= {"t_hidden_0", "t_hidden_1", "t_dropout_0", "t_dropout_1"}
    hidden = model.get_layer("t_hidden_1")
    assert getattr(hidden, "units", None) == 5 or hidden.filters == 5
    assert model.get_layer("t_hidden_1").activation is keras.activations.tanh
    assert model.get_layer("t_dropout_0").rate == 0.25
    assert all(n.startswith("t_") for n in names - {"mlp", "features"})


@EACH
def test_raw_outputs_are_never_half_precision(row):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = mtl.build_model(row.backbone(), [mtl.Task("t", row.head())])
    finally:
        keras.config.set_dtype_policy(policy)
    assert model.output["t"].dtype == "float32"


# === Metrics see activated outputs ===


@pytest.mark.parametrize(
    ("head", "raw", "label"),
    [
        (mtl.heads.BinaryClassification(), [[0.2]], 1),
        (mtl.heads.MultiLabelClassification(2), [[0.2, -0.2]], [1, 0]),
        (mtl.heads.Ordinal(3), [[0.4, -0.1]], 1),
    ],
    ids=["binary", "multi-label", "ordinal"],
)
@pytest.mark.parametrize("form", ["accuracy", "acc"])
def test_accuracy_of_a_logit_is_that_of_its_probability(head, raw, label, form):
    """A logit of 0.2 means "yes"; Keras' default threshold would say "no".

    Ordinal logits 0.4 and -0.1 are probabilities 0.40, 0.12, 0.48: class 2.
    """
    inputs = keras.Input((len(raw[0]),))
    backbone = keras.Model(inputs, keras.layers.Identity()(inputs))
    model = mtl.build_model(backbone, [mtl.Task("t", Plain(head), metrics=[form])])
    model.compile("sgd")
    x, y = np.array(raw, "float32"), {"t": np.array([label])}
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    assert logs[f"t_{form}"] == (0 if isinstance(head, mtl.heads.Ordinal) else 1)


@keras.saving.register_keras_serializable(package="tests_heads")
class Plain(mtl.heads.Head):
    """Another head whose raw outputs are its feature."""

    def __init__(self, head):
        super().__init__()
        self.head = mtl.heads.get(head)
        for name in ("prepare_labels", "activate", "default_loss", "accuracy"):
            setattr(self, name, getattr(self.head, name))

    def connect(self, feature, extra_inputs, name):
        return keras.layers.Identity(name=f"{name}_output")(feature)

    def get_config(self):
        return {"head": keras.saving.serialize_keras_object(self.head)}


def test_named_metrics_are_named_as_keras_names_them():
    row = TABLE[2]
    model, x, raw, y = built(row, metrics=["mae", "binary_accuracy"])
    model.compile("sgd", metrics={"t": [keras.metrics.MeanSquaredError(name="brier")]})
    logs = model.evaluate(x, {"t": y}, verbose=0, return_dict=True)
    p = row.activated(raw)[:, 0]
    assert logs["t_brier"] == pytest.approx(np.square(p - y).mean(), rel=1e-4)
    assert logs["t_binary_accuracy"] == pytest.approx(((p > 0.5) == y).mean())
    assert logs["t_mae"] == pytest.approx(np.abs(p - y).mean(), rel=1e-4)


@pytest.mark.parametrize(
    "head", [mtl.heads.Regression(), mtl.heads.BoundingBox()], ids=["value", "box"]
)
def test_accuracy_of_a_value_has_no_meaning(head):
    with pytest.raises(ValueError, match=f"no meaning for {type(head).__name__}"):
        head.accuracy()


# === Arguments ===


@pytest.mark.parametrize(
    ("name", "config", "parts"),
    [
        ("classification", {"num_classes": 1}, ["`num_classes`", ">= 2"]),
        ("classification", {"num_classes": 2.5}, ["num_classes=2.5"]),
        (
            "classification",
            {"num_classes": 3, "label_names": ["a"]},
            ["`label_names`", "(3)", "1 names"],
        ),
        ("binary_classification", {"label_names": ["a"]}, ["`label_names`", "(2)"]),
        (
            "multi_label_classification",
            {"num_classes": 2, "label_names": ["a"]},
            ["`label_names`", "(2)"],
        ),
        ("multi_label_classification", {"num_classes": 0}, [">= 1"]),
        ("ordinal", {"num_classes": 2}, ["`num_classes`", ">= 3"]),
        ("ordinal", {"num_classes": 3, "label_names": ["a"]}, ["`label_names`", "(3)"]),
        ("regression", {"units": 0}, ["`units`", ">= 1"]),
        ("regression", {"target_std": 0.0}, ["`target_std`", "positive"]),
        ("regression", {"units": 2, "target_std": [1.0, -1.0]}, ["`target_std`"]),
        ("regression", {"target_mean": [1.0, 2.0]}, ["`target_mean`", "(1)"]),
        ("regression", {"target_mean": float("nan")}, ["`target_mean`", "finite"]),
        ("regression", {"hidden_units": (0,)}, ["`hidden_units`", ">= 1"]),
        (
            "segmentation",
            {"num_classes": 1, "output_size": (3, 3)},
            ["`num_classes`", ">= 2"],
        ),
        (
            "segmentation",
            {"num_classes": 2, "output_size": 3},
            ["`output_size`", "(height, width)", "output_size=3"],
        ),
        (
            "segmentation",
            {"num_classes": 2, "output_size": (3, 3), "label_names": ["a"]},
            ["`label_names`", "(2)"],
        ),
        ("token_tagging", {"num_classes": 1}, ["`num_classes`", ">= 2"]),
        (
            "crf_tagging",
            {"num_classes": 2, "bio": True},
            ["`label_names`", "BIO", "label_names=None"],
        ),
        (
            "crf_tagging",
            {"num_classes": 3, "label_names": ["O", "B-a", "I-b"], "bio": True},
            ["BIO", "['I-b']"],
        ),
        (
            "crf_tagging",
            {"num_classes": 2, "label_names": ["O", "NOUN"], "bio": True},
            ["BIO", "['NOUN']"],
        ),
        ("span_extraction", {"max_length": 0}, ["`max_length`", ">= 1"]),
        ("contrastive_embedding", {"dim": 0}, ["`dim`", ">= 1"]),
        (
            "contrastive_embedding",
            {"dim": 2, "temperature": 0.001},
            ["`temperature`", "at least 0.01"],
        ),
        ("regression_map", {"output_size": (3, 0)}, ["`output_size`", ">= 1"]),
        ("depth", {"output_size": (3, 3), "target_std": -1.0}, ["`target_std`"]),
    ],
)
def test_wrong_arguments(name, config, parts):
    with error_with(ValueError, *parts):
        mtl.heads.get({"class_name": name, "config": config})


# === Regression in standardised units ===


def test_scaling_round_trip():
    head = mtl.heads.Regression(2, target_mean=[5.0, -1.0], target_std=[10.0, 0.1])
    labels = np.random.default_rng(0).normal(size=(ROWS, 2))
    encoded = head.encode_labels(ops.array(labels, "float64"))
    np.testing.assert_allclose(head.activate(encoded), labels, atol=1e-12)


@pytest.mark.parametrize(
    ("labels", "mean", "std"),
    [
        ([10.0, 30.0], 20.0, 10.0),
        ([10.0, np.nan, 30.0], 20.0, 10.0),
        ([7.0, 7.0], 7.0, 1.0),
        ([[1.0, 5.0], [3.0, 5.0], [np.nan, 5.0]], [2.0, 5.0], [1.0, 1.0]),
        ([1, 3], 2.0, 1.0),
    ],
)
def test_scaling_for_labels(labels, mean, std):
    head = mtl.heads.Regression.for_labels(np.array(labels), hidden_units=(3,))
    assert (head.target_mean, head.target_std) == (mean, std)
    assert head.units == np.size(mean)
    assert head.hidden_units == (3,)


def test_a_column_of_labels_is_one_unit():
    head = mtl.heads.Regression.for_labels(np.array([[10.0], [30.0]]))
    assert head.units == 1
    np.testing.assert_allclose(head.activate(ops.array([[1.0]])), [[30.0]])


@pytest.mark.parametrize(
    ("head", "labels", "expected"),
    [
        (mtl.heads.Classification(3), [0, 2, 3, -1], [True, True, False, False]),
        (mtl.heads.Ordinal(3), [0.0, 2.0, 3.0], [True, True, False]),
        (mtl.heads.Segmentation(2, (1, 2)), [[[0, 1]], [[2, 1]]], [[[1, 1]], [[0, 1]]]),
        (mtl.heads.BinaryClassification(), [[0], [1], [2]], [[True], [True], [False]]),
        (mtl.heads.TokenTagging(3), [[0, 2, 3]], [[True, True, False]]),
        (
            mtl.heads.SpanExtraction(),
            [[1, 1], [2, 1], [-1, 3]],
            [[1, 1], [0, 0], [0, 1]],
        ),
        (mtl.heads.Conversion("click"), [[-1.0], [0.3]], [[False], [True]]),
        (mtl.heads.MultiLabelClassification(2), [[1.0005, 1.1]], [[True, False]]),
    ],
)
def test_which_labels_can_be_right(head, labels, expected):
    """Mixed labels (0.3) can, also a rounding error above 1."""
    found = head.labels_in_range(keras.ops.convert_to_tensor(np.array(labels)))
    np.testing.assert_array_equal(found, np.array(expected, bool))


@pytest.mark.parametrize(
    "head", [mtl.heads.Regression(), mtl.heads.Classification(2, one_hot=True)]
)
def test_any_number_can_be_right(head):
    assert head.labels_in_range(keras.ops.ones((3, 2))) is None
