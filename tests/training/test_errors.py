"""Bad input: a clear error before the first step, and nothing is lost."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from tests.asserts import error_with
from tests.training import problems

NAMES = "['kind', 'price', 'sold']"


# === Build ===


@pytest.mark.parametrize(
    ("tasks", "error", "parts"),
    [
        ([], ValueError, ["`tasks`", "at least one task"]),
        (["kind", "kind"], ValueError, ["unique", "['kind']"]),
        (["kind", "kind_loss"], ValueError, ["logs", "['kind_loss']"]),
        (["kind", "loss"], ValueError, ["['loss']"]),
        ([None], TypeError, ["`tasks`", "NoneType"]),
    ],
)
def test_task_lists(tasks, error, parts):
    made = [t if t is None else mtl.Task(t, mtl.heads.Regression()) for t in tasks]
    with error_with(error, *parts):
        mtl.build_model(problems.backbone(), made)


@pytest.mark.parametrize(
    ("task", "parts"),
    [
        ({"name": ""}, ["`name`", "non-empty string", "name=''"]),
        ({"loss_weight": -0.5}, ["`loss_weight`", ">= 0", "loss_weight=-0.5"]),
        ({"class_weight": {1: -1.0}}, ["`class_weight`", "class_weight=-1.0"]),
    ],
)
def test_tasks(task, parts):
    task = {"name": "kind", "head": mtl.heads.Regression(), **task}
    with error_with(ValueError, *parts):
        mtl.Task(**task)


def test_a_feature_that_the_backbone_lacks():
    tasks = problems.tasks(kind={"feature": "map"})
    with error_with(ValueError, "'kind'", "'map'", "['pooled']", "`Task.feature`"):
        mtl.build_model(problems.backbone(), tasks)


# === Compile ===

LOSSES = {"kind": {"loss": keras.losses.SparseCategoricalCrossentropy(True)}}

# case, arguments of compile, error, parts of the message
COMPILE = [
    (
        "unknown balancer",
        {"balancer": "pcgard"},
        ValueError,
        ["balancer", "'cagrad', ", "'pcgard'", "mean 'pcgrad'"],
    ),
    (
        "unknown weighting",
        {"loss_weighting": "uncertain"},
        ValueError,
        ["loss weighting", "'dwa'", "'fixed'", "mean 'uncertainty'"],
    ),
    (
        "unknown argument of a balancer",
        {"balancer": {"class_name": "cagrad", "config": {"alpha": 1}}},
        ValueError,
        ["`cagrad`", "alpha", "config={'alpha': 1}"],
    ),
    (
        "balancer of another kind",
        {"balancer": mtl.weightings.Fixed()},
        TypeError,
        ["`balancer`", "Balancer", "of type Fixed"],
    ),
    (
        "weighting of another kind",
        {"loss_weighting": mtl.balancers.PCGrad()},
        TypeError,
        ["`loss_weighting`", "LossWeighting", "of type PCGrad"],
    ),
    (
        "class for an instance",
        {"balancer": mtl.balancers.PCGrad},
        TypeError,
        ["`balancer`", "of type type"],
    ),
    (
        "balancing as a dict",
        {"balancing": {"every": 2}},
        TypeError,
        ["`balancing`", "BalancingOptions", "{'every': 2}", "of type dict"],
    ),
    (
        "negative loss weight",
        {"loss_weights": {"kind": -1.0}},
        ValueError,
        ["`loss_weights`", ">= 0", NAMES, "{'kind': -1.0}"],
    ),
    (
        "infinite loss weight",
        {"loss_weights": {"kind": float("inf")}},
        ValueError,
        ["`loss_weights`", "finite"],
    ),
    (
        "loss weight of an unknown task",
        {"loss_weights": {"kinds": 1.0}},
        ValueError,
        ["`loss_weights`", NAMES, "kinds"],
    ),
    (
        "two loss weights for three tasks",
        {"loss_weights": [1.0, 2.0]},
        ValueError,
        ["`loss_weights`", "one weight per task", NAMES, "[1.0, 2.0]"],
    ),
    (
        "one loss weight",
        {"loss_weights": 2.0},
        ValueError,
        ["`loss_weights`", NAMES, "2.0"],
    ),
    (
        "loss weight that is no number",
        {"loss_weights": {"kind": "x"}},
        ValueError,
        ["`loss_weights`", "{'kind': 'x'}"],
    ),
    (
        "loss weight None",
        {"loss_weights": {"kind": None}},
        ValueError,
        ["`loss_weights`", "{'kind': None}"],
    ),
    (
        "metric of an unknown task",
        {"metrics": {"kinds": ["mae"]}},
        ValueError,
        ["`metrics`", NAMES, "['kinds']"],
    ),
    (
        "weighted metric of an unknown task",
        {"weighted_metrics": {"kinds": ["mae"]}},
        ValueError,
        ["`weighted_metrics`", NAMES, "['kinds']"],
    ),
    (
        "metrics without a task",
        {"metrics": ["accuracy"]},
        ValueError,
        ["`metrics`", "dict by task name", NAMES, "['accuracy']"],
    ),
    (
        "unknown metric",
        {"metrics": {"price": ["no_such_metric"]}},
        ValueError,
        ["no_such_metric"],
    ),
    (
        "metric twice",
        {"metrics": {"kind": ["accuracy"]}},
        ValueError,
        ["'kind'", "different names", "['kind_accuracy']"],
    ),
    (
        "accuracy of a value",
        {"metrics": {"price": ["accuracy"]}},
        ValueError,
        ["'accuracy'", "no meaning for Regression", "'mae'"],
    ),
    (
        "loss twice",
        {"loss": {"kind": "sparse_categorical_crossentropy"}},
        ValueError,
        ["one loss for task 'kind'", "`Task`", "`compile`"],
    ),
    (
        "loss of an unknown task",
        {"loss": {"kinds": "mse"}},
        ValueError,
        ["`loss`", NAMES, "['kinds']"],
    ),
    (
        "loss without a task",
        {"loss": "mse"},
        ValueError,
        ["`loss`", "dict by task name", NAMES, "'mse'"],
    ),
    (
        "unknown loss",
        {"loss": {"price": "no_such_loss"}},
        ValueError,
        ["no_such_loss"],
    ),
    (
        "loss without a reduction",
        {"loss": {"price": keras.losses.MeanSquaredError(reduction=None)}},
        ValueError,
        ["'price'", "reduction", "sum_over_batch_size", "reduction=None"],
    ),
]


@pytest.mark.parametrize(
    ("arguments", "error", "parts"),
    [row[1:] for row in COMPILE],
    ids=[row[0] for row in COMPILE],
)
def test_compile(arguments, error, parts):
    model = problems.model(**LOSSES)
    with error_with(error, *parts):
        model.compile("sgd", **arguments)


def test_a_failed_compile_keeps_the_last_one():
    model = problems.model()
    model.compile("sgd", balancer="mgda")
    with pytest.raises(ValueError, match="Unknown balancer"):
        model.compile("sgd", balancer="mdga")
    x, y = problems.data(8)
    model.fit(x, y, verbose=0)
    assert model.balancing_state["task_weights"].sum() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"every": 0}, ["`every`", ">= 1", "every=0"]),
        ({"every": 1.5}, ["`every`", "every=1.5"]),
        ({"start_after": -1}, ["`start_after`", ">= 0"]),
        ({"head_gradients": "none"}, ["`head_gradients`", "'task'", "'none'"]),
        ({"scale": "max"}, ["`scale`", "'paper'", "'max'"]),
        ({"on_nonfinite": "stop"}, ["`on_nonfinite`", "'skip'", "'stop'"]),
    ],
)
def test_balancing_options(options, parts):
    with error_with(ValueError, *parts):
        mtl.BalancingOptions(**options)


def frozen():
    backbone = problems.backbone(trainable=False)
    return mtl.build_model(backbone, problems.tasks())


def frozen_later():
    model = problems.model()
    model.get_layer("mlp").trainable = False
    return model


def one_task():
    return problems.model(names=("kind",))


def one_backbone_each():
    names = problems.TASKS
    backbones = {name: problems.backbone(name=f"of_{name}") for name in names}
    return mtl.build_model(backbones, problems.tasks())


@pytest.mark.parametrize(
    "build",
    [frozen, frozen_later, one_task, one_backbone_each],
    ids=lambda b: b.__name__,
)
def test_a_balancer_where_nothing_is_shared(build):
    model = build()
    parts = ["share trainable", "balancer=PCGrad", "'kind'", "Leave `balancer` out"]
    with error_with(ValueError, *parts):
        model.compile("sgd", balancer="pcgrad")
    model.compile("sgd")


# === Fit ===


def fit(changes=None, x=None, y=None, compile_arguments=None, **kwargs):
    """Fits on changed data; checks that a failure changes no variable."""
    model = problems.model(**(changes or {}))
    model.compile("adam", balancer="cagrad", **(compile_arguments or {}))
    inputs, labels = problems.data(16)
    labels = {**labels, **(y or {})}
    labels = {k: v for k, v in labels.items() if v is not None}
    before = problems.weights(model)
    try:
        model.fit(inputs if x is None else x, labels, verbose=0, batch_size=8, **kwargs)
    finally:
        assert problems.largest_difference(before, problems.weights(model)) == 0
        assert model.optimizer.iterations == 0
        assert model.balancing_state["step"] == 0


# case, changed labels, parts of the message
LABELS = [
    (
        "too many classes",
        {"kind": np.zeros((16, 3), int)},
        ["'kind'", "Classification", "('batch',) or ('batch', 1)", "3)"],
    ),
    (
        "one unit too few",
        {"price": np.zeros(16)},
        ["'price'", "Regression", "('batch', 2)"],
    ),
    (
        "one unit too many",
        {"price": np.zeros((16, 3))},
        ["'price'", "Regression", "('batch', 2)"],
    ),
    (
        "two columns",
        {"sold": np.zeros((16, 2))},
        ["'sold'", "BinaryClassification", "('batch',) or ('batch', 1)"],
    ),
    (
        "strings",
        {"kind": np.array(["cat"] * 16)},
        ["'kind'", "Classification", "numbers", "dtype=string", "StringLookup"],
    ),
    (
        "strings for a value",
        {"price": np.array([["1", "2"]] * 16)},
        ["'price'", "Regression", "numbers", "dtype=string"],
    ),
]


@pytest.mark.parametrize(
    ("y", "parts"), [row[1:] for row in LABELS], ids=[row[0] for row in LABELS]
)
def test_labels_that_do_not_fit(y, parts):
    if any(np.asarray(v).dtype.kind == "U" for v in y.values()):
        y = {k: keras.ops.convert_to_tensor(v) for k, v in y.items()}
    with error_with(ValueError, *parts):
        fit(y=y)


def test_no_label_of_any_task():
    """Known before the first step: no key of `y` is a task's."""
    y = {"kind": None, "price": None, "sold": None, "color": np.zeros(16)}
    with error_with(ValueError, "`y`", "at least one task", "['color']", NAMES):
        fit(y=y)


@pytest.mark.parametrize("balancer", [None, "pcgrad"])
def test_no_label_in_the_first_epoch(balancer):
    """Known at its end only, when every label has turned out to be missing."""
    model = problems.model(kind={"missing": -1})
    model.compile("sgd", balancer=balancer)
    x, _ = problems.data(16)
    nothing = np.full(16, np.nan, "float32")
    y = {"kind": np.full(16, -1), "price": np.stack([nothing] * 2, 1), "sold": nothing}
    before = problems.weights(model)
    parts = ["label for at least one task", NAMES, "`Task.missing`", "masks"]
    with error_with(ValueError, *parts):
        model.fit(x, y, verbose=0, epochs=3)
    assert problems.largest_difference(before, problems.weights(model)) == 0
    assert model.balancing_state["step"] == 1


def test_labels_as_a_list_of_another_length():
    model = problems.model()
    model.compile("sgd")
    x, y = problems.data(16)
    with error_with(ValueError, "`y`", NAMES, "2 entries"):
        model.fit(x, [y["kind"], y["price"]], verbose=0)


def test_no_labels_at_all():
    model = problems.model()
    model.compile("sgd")
    x, _ = problems.data(16)
    with error_with(ValueError, "`y`", NAMES):
        model.fit(x, verbose=0)


@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch"])
def test_sample_weights_of_an_unknown_task(method):
    model = problems.model()
    model.compile("sgd")
    x, y = problems.data(16)
    weights = {"kinds": np.ones(16)}
    keywords = {} if method == "train_on_batch" else {"verbose": 0}
    with error_with(ValueError, "`sample_weight`", NAMES, "['kinds']"):
        getattr(model, method)(x, y, sample_weight=weights, **keywords)


@keras.saving.register_keras_serializable(package="tests_errors")
def scalar_loss(y_true, y_pred):
    return keras.ops.mean(keras.ops.square(y_true - y_pred))


@pytest.mark.parametrize("where", ["task", "compile"])
def test_a_loss_that_returns_a_scalar(where):
    if where == "task":
        arguments = {"changes": {"price": {"loss": scalar_loss}}}
    else:
        arguments = {"compile_arguments": {"loss": {"price": scalar_loss}}}
    parts = ["'price'", "one value per example", "scalar", "mean over the batch"]
    with error_with(ValueError, *parts):
        fit(**arguments)


def test_use_before_compile():
    model = problems.model()
    x, y = problems.data(8)
    with pytest.raises(ValueError, match="compile"):
        model.fit(x, y, verbose=0)
    with pytest.raises(ValueError, match="compile"):
        _ = model.balancing_state


def test_validation_labels_are_checked_too():
    model = problems.model()
    model.compile("sgd")
    x, y = problems.data(8)
    wrong = {**y, "kind": np.zeros((8, 3), int)}
    with pytest.raises(ValueError, match="'kind'"):
        model.evaluate(x, wrong, verbose=0)
