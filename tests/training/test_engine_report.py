"""What `engine_report` says is what the step does."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl.analysis import engine_report
from keras_mtl.training import gradients

NUM_TASKS = 5
INPUTS, UNITS = 12, 16
# 5 kernels of 12 × 16 cost as much as their factors at 8.35 rows.
BREAK_EVEN = 9


def model_of(rows=None, layer=keras.layers.Dense, **compile_arguments):
    x = keras.Input(batch_shape=(rows, INPUTS), name="x")
    h = layer(UNITS, activation="relu", name="shared")(x)
    net = keras.Model(x, {"pooled": h}, name="net")
    tasks = [mtl.Task(f"t{i}", mtl.heads.Regression()) for i in range(NUM_TASKS)]
    model = mtl.build_model(net, tasks)
    model.compile("sgd", **compile_arguments)
    return model


def formed_in_step(model, rows, monkeypatch):
    """Whether the step forms the kernel's gradient of every task."""
    used = []
    original = gradients.gram_of_products

    def spy(inputs, slopes):
        used.append(inputs.shape)
        return original(inputs, slopes)

    monkeypatch.setattr(gradients, "gram_of_products", spy)
    x = np.zeros((rows, INPUTS), "float32")
    y = {f"t{i}": np.zeros((rows, 1), "float32") for i in range(NUM_TASKS)}
    model.train_on_batch(x, y)
    return not used


@pytest.mark.parametrize("rows", [BREAK_EVEN - 1, BREAK_EVEN])
def test_the_bound_is_the_one_of_the_step(rows, monkeypatch):
    model = model_of(rows, balancer="mgda")
    row = ("shared", NUM_TASKS, "together", f"never formed below {BREAK_EVEN} rows")
    assert engine_report(model).rows == (row,)
    assert formed_in_step(model, rows, monkeypatch) == (rows >= BREAK_EVEN)


class NotQuiteDense(keras.layers.Dense):
    """No layer that the engine knows."""


@pytest.mark.parametrize(
    ("reason", "layer", "arguments"),
    [
        ("no balancer", keras.layers.Dense, {}),
        (
            "engine='unrolled'",
            keras.layers.Dense,
            {
                "balancer": "mgda",
                "balancing": mtl.BalancingOptions(engine="unrolled"),
            },
        ),
        (
            "scope='features'",
            keras.layers.Dense,
            {"balancer": "mgda", "balancing": mtl.BalancingOptions(scope="features")},
        ),
        ("plain Dense layer", NotQuiteDense, {"balancer": "mgda"}),
    ],
)
def test_it_says_why_not(reason, layer, arguments):
    report = engine_report(model_of(layer=layer, **arguments))
    assert report.rows == (("shared", NUM_TASKS, "one by one", "formed"),)
    assert reason in report.reason
    assert reason in str(report)


def test_a_method_of_all_gradients_has_them_formed():
    report = engine_report(model_of(balancer="graddrop"))
    assert report.rows == (("shared", NUM_TASKS, "together", "formed"),)
    assert report.reason == ""


def test_a_model_that_is_not_compiled():
    model = mtl.MultiTaskModel.from_config(model_of().get_config())
    with pytest.raises(ValueError, match="Expected a compiled model"):
        engine_report(model)
