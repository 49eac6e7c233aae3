"""Heads of a funnel: probabilities that multiply, and a calibrator."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_mtl as mtl
from keras_mtl.export import export_saved_model
from keras_mtl.layers import MonotonePenalty, ProbabilityProduct
from keras_mtl.training.graph import task_variables
from tests.asserts import error_with
from tests.heads.samples import binary_crossentropy, sigmoid

X = np.random.default_rng(1).normal(size=(40, 4)).astype("float32")
STEPS = ("view", "click", "purchase")


def conversion(after, **kwargs):
    return mtl.heads.Conversion(after, **kwargs)


def funnel(coupling="product", order=STEPS, **kwargs):
    """A model of three steps, the tasks in some order, with random weights."""
    heads = {
        "view": mtl.heads.BinaryClassification(),
        "click": conversion("view", coupling=coupling, **kwargs),
        "purchase": conversion("click", coupling=coupling, **kwargs),
    }
    net = mtl.backbones.MLP(input_shape=(4,), units=(5,), activation="tanh")
    model = mtl.build_model(net, [mtl.Task(name, heads[name]) for name in order])
    rng = np.random.default_rng(0)
    for layer in (net.get_layer("dense_0"), *map(model.get_layer, outputs(STEPS))):
        layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    return model


def outputs(names):
    return [f"{name}_output" for name in names]


def own_logits(model):
    """What the output layers of the heads give, before any coupling."""
    layers = {name: model.get_layer(f"{name}_output").output for name in STEPS}
    found = keras.Model(model.input, layers).predict(X, verbose=0)
    return {name: value.astype("float64") for name, value in found.items()}


def labels():
    rng = np.random.default_rng(2)
    view = rng.integers(0, 2, len(X))
    click = view * rng.integers(0, 2, len(X))
    return {
        "view": view,
        "click": click,
        "purchase": click * rng.integers(0, 2, len(X)),
    }


@pytest.mark.parametrize("order", [STEPS, STEPS[::-1], ("click", "view", "purchase")])
def test_probabilities_multiply(order):
    model = funnel(order=order)
    assert model.task_names == order == tuple(model.output)
    p = {name: sigmoid(logit) for name, logit in own_logits(model).items()}
    expected = {
        "view": p["view"],
        "click": p["view"] * p["click"],
        "purchase": p["view"] * p["click"] * p["purchase"],
    }
    raw = model.predict(X, verbose=0)
    served = model.predict_tasks(X, verbose=0)
    for name, probability in expected.items():
        logit = np.log(probability) - np.log1p(-probability)
        np.testing.assert_allclose(raw[name], logit, rtol=1e-4, atol=1e-5)
        found = served[name]["probability"]
        np.testing.assert_allclose(found, probability[:, 0], rtol=1e-5)


def test_losses_and_metrics_are_those_of_the_product():
    model = funnel()
    model.compile("sgd")
    y = labels()
    logs = model.evaluate(X, y, verbose=0, return_dict=True)
    raw = model.predict(X, verbose=0)
    for name in STEPS:
        expected = binary_crossentropy(y[name], raw[name][:, 0])
        assert logs[f"{name}_loss"] == pytest.approx(expected, rel=1e-4)
        right = (sigmoid(raw[name][:, 0]) > 0.5) == y[name]
        assert logs[f"{name}_accuracy"] == pytest.approx(right.mean())
    total = sum(logs[f"{name}_loss"] for name in STEPS)
    assert logs["loss"] == pytest.approx(total, rel=1e-6)


def test_calibrator_is_added_to_the_loss():
    model = funnel("calibrator", calibrator_weight=0.7)
    model.compile(keras.optimizers.SGD(0.0))
    p = {name: sigmoid(logit) for name, logit in own_logits(model).items()}
    raw = model.predict(X, verbose=0)
    for name in STEPS:
        np.testing.assert_allclose(sigmoid(raw[name]), p[name], rtol=1e-5)
    expected = 0.7 * sum(
        np.maximum(0, p[name] - p[before]).mean()
        for before, name in [("view", "click"), ("click", "purchase")]
    )
    assert expected > 0.01
    for logs in (
        model.evaluate(X, labels(), verbose=0, return_dict=True),
        {k: v[0] for k, v in model.fit(X, labels(), verbose=0).history.items()},
    ):
        total = sum(logs[f"{name}_loss"] for name in STEPS)
        assert logs["loss"] - total == pytest.approx(expected, rel=1e-3)


def test_calibrator_makes_steps_monotone():
    earlier, own = tf.Variable([[0.0], [1.0]]), tf.Variable([[2.0], [-1.0]])
    layer = MonotonePenalty(1.0)
    for _ in range(200):
        with tf.GradientTape() as tape:
            layer([earlier, own])
            (loss,) = layer.losses
        layer._clear_losses()
        for variable, slope in zip(
            (earlier, own), tape.gradient(loss, [earlier, own]), strict=True
        ):
            variable.assign_sub(slope)
    assert float(loss) == 0
    # The second row was monotone from the start.
    assert earlier.numpy()[1] == 1.0 and own.numpy()[1] == -1.0


@pytest.mark.parametrize("first", [-200.0, -30.0, -1.0, 0.0, 2.0, 30.0, 200.0])
def test_product_of_extreme_probabilities(first):
    """Finite, never above either logit, with the limits that they should have."""
    second = np.array([-200.0, -30.0, -1.0, 0.0, 2.0, 30.0, 200.0], "float32")[:, None]
    given = tf.constant(np.full_like(second, first)), tf.constant(second)
    with tf.GradientTape() as tape:
        tape.watch(given)
        found = ProbabilityProduct()(list(given))
    slopes = np.stack(tape.gradient(found, given))
    a, b = np.float64(first), second.astype("float64")
    expected = -np.logaddexp(np.logaddexp(-a, -b), -(a + b))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert (found.numpy() <= np.minimum(first, second)).all()
    assert np.isfinite(slopes).all()
    assert (slopes >= 0).all() and (slopes <= 1).all()


def test_who_reaches_what():
    """A step's loss trains the heads of the steps before it, as in ESMM."""
    reach = {
        task: {v.path.split("/")[-2] for v in variables} - {"dense_0"}
        for task, variables in task_variables(funnel()).items()
    }
    assert reach == {
        "view": set(outputs(STEPS[:1])),
        "click": set(outputs(STEPS[:2])),
        "purchase": set(outputs(STEPS)),
    }


@pytest.mark.parametrize("coupling", ["product", "calibrator"])
def test_task_models_hold_what_their_step_needs(coupling):
    model = funnel(coupling)
    raw = model.predict(X, verbose=0)
    for index, name in enumerate(STEPS):
        part = model.task_model(name)
        np.testing.assert_allclose(part.predict(X, verbose=0), raw[name], atol=1e-6)
        kept = {layer.name for layer in part.layers}
        assert kept.isdisjoint(outputs(STEPS[index + 1 :]))


@pytest.mark.parametrize("coupling", ["product", "calibrator"])
def test_export(coupling, tmp_path):
    model = funnel(coupling)
    loaded = tf.saved_model.load(export_saved_model(model, tmp_path, sample=X))
    served = model.predict_tasks(X, verbose=0)
    for name in STEPS:
        found = loaded.signatures[name](features=tf.constant(X))
        assert set(found) == {"probability", "label"}
        for key, value in served[name].items():
            np.testing.assert_allclose(found[key], value, atol=1e-6)


@pytest.mark.parametrize("coupling", ["product", "calibrator"])
def test_saved_and_loaded(coupling, tmp_path):
    model = funnel(coupling)
    model.compile("adam", balancer="pcgrad", loss_weighting="uncertainty")
    logs = model.fit(X, labels(), epochs=2, verbose=0).history
    assert np.isfinite(logs["loss"]).all()
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.models.load_model(path)
    for name, value in model.predict(X, verbose=0).items():
        np.testing.assert_array_equal(loaded.predict(X, verbose=0)[name], value)
    again = loaded.evaluate(X, labels(), verbose=0)
    assert again == pytest.approx(model.evaluate(X, labels(), verbose=0), rel=1e-6)


def test_configuration():
    head = conversion(
        "click", coupling="calibrator", calibrator_weight=0.2, hidden_units=(3,)
    )
    text = json.dumps(keras.saving.serialize_keras_object(head))
    copy = keras.saving.deserialize_keras_object(json.loads(text))
    assert copy.get_config() == head.get_config()
    assert copy.after == "click" and copy.hidden_units == (3,)


def test_half_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = funnel()
    finally:
        keras.config.set_dtype_policy(policy)
    assert {output.dtype for output in model.output.values()} == {"float32"}


def test_learns_the_conditional_probability_from_all_examples():
    """Clicks depend on one column, purchases after a click on another."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (4000, 2)).astype("float32")
    click = rng.random(4000) < np.where(x[:, 0], 0.6, 0.2)
    bought = click & (rng.random(4000) < np.where(x[:, 1], 0.8, 0.3))
    tasks = [
        mtl.Task("click", mtl.heads.BinaryClassification()),
        mtl.Task("purchase", conversion("click")),
    ]
    model = mtl.build_model(mtl.backbones.MLP(input_shape=(2,), units=()), tasks)
    model.compile(keras.optimizers.Adam(0.1))
    y = {"click": click.astype("int32"), "purchase": bought.astype("int32")}
    model.fit(x, y, batch_size=500, epochs=25, verbose=0)
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32")
    served = model.predict_tasks(corners, verbose=0)
    p = {name: served[name]["probability"] for name in served}
    np.testing.assert_allclose(p["click"], [0.2, 0.2, 0.6, 0.6], atol=0.05)
    np.testing.assert_allclose(
        p["purchase"] / p["click"], [0.3, 0.8, 0.3, 0.8], atol=0.1
    )


# === Errors ===


def build(**heads):
    tasks = [mtl.Task(name, head) for name, head in heads.items()]
    return mtl.build_model(mtl.backbones.MLP(input_shape=(4,), units=(3,)), tasks)


@pytest.mark.parametrize(
    ("heads", "parts"),
    [
        (
            {"a": conversion("z"), "b": mtl.heads.BinaryClassification()},
            ["Task 'a'", "['a', 'b']", "after='z'"],
        ),
        ({"a": conversion("a")}, ["Task 'a'", "after='a'"]),
        (
            {"a": conversion("b"), "b": conversion("c"), "c": conversion("a")},
            ["Task 'c'", "come after it in turn", "after='a'"],
        ),
        (
            {"a": mtl.heads.Regression(), "b": conversion("a")},
            ["task 'a'", "`BinaryClassification`", "Received: Regression"],
        ),
    ],
    ids=["unknown", "itself", "circle", "no logit"],
)
def test_wrong_order(heads, parts):
    with error_with(ValueError, "xpected", *parts):
        build(**heads)


def test_wrong_arguments():
    with error_with(ValueError, "`coupling`", "'sum'"):
        conversion("a", coupling="sum")
    with error_with(ValueError, "`calibrator_weight`", "-1"):
        conversion("a", calibrator_weight=-1)
    with error_with(ValueError, "`weight`", "-1"):
        MonotonePenalty(-1)


def test_product_by_hand():
    """Half of a third is a sixth."""
    logits = ops.log(ops.array([[1.0], [0.5]]))
    found = ProbabilityProduct()([logits[:1], logits[1:]])
    assert float(found[0, 0]) == pytest.approx(np.log(1 / 5), rel=1e-6)
