"""What an encoder makes of the examples that have its input, and of them alone."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl.layers import PresentRows
from tests.asserts import error_with

MOMENTUM = 0.9
ROWS = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
SOME = np.array([False, True, True, False, False, True])
NONE = np.zeros(6, bool)


def encoder(width=4, **options):
    return keras.Sequential(
        [
            keras.Input((width,)),
            keras.layers.BatchNormalization(momentum=MOMENTUM, name="norm", **options),
            keras.layers.Dense(3, name="dense"),
        ]
    )


def statistics(model):
    norm = model.get_layer("norm")
    return np.array(norm.moving_mean), np.array(norm.moving_variance)


@pytest.mark.parametrize("present", [SOME, NONE, ~NONE], ids=["some", "none", "all"])
def test_statistics_and_features_are_those_of_the_present_rows(present):
    inner = encoder()
    alone = keras.models.clone_model(inner)
    alone.set_weights(inner.get_weights())
    x = np.where(present[:, None], ROWS, 0.0)
    features = np.array(PresentRows(inner)(x, present, training=True))
    expected = np.zeros((6, 3))
    mean, variance = np.zeros(4), np.ones(4)
    if present.any():
        expected[present] = np.array(alone(ROWS[present], training=True))
        rows = ROWS[present]
        mean = (1 - MOMENTUM) * rows.mean(axis=0)
        variance = MOMENTUM + (1 - MOMENTUM) * rows.var(axis=0)
    np.testing.assert_allclose(features, expected, atol=1e-6)
    found = statistics(inner)
    np.testing.assert_allclose(found[0], mean, atol=1e-6)
    np.testing.assert_allclose(found[1], variance, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda: keras.layers.Dense(3), ["built", "Dense"]),
        (lambda: "encoder", ["built", "'encoder'"]),
        (lambda: encoder(synchronized=True), ["synchronized=True", "'norm'"]),
    ],
)
def test_wrong_encoders(make, parts):
    with error_with(ValueError, *parts):
        PresentRows(make())


# === In a model, on a mixture ===

KEYS = ("left", "right")


def backbone():
    """An encoder for each of two inputs, and a shared upper layer."""
    inputs = {}
    ends = []
    for key, width in zip(KEYS, (4, 5), strict=True):
        inputs[key] = keras.Input((width,), name=key)
        there = keras.Input((), dtype="bool", name=f"{key}_present")
        inputs[f"{key}_present"] = there
        rows = PresentRows(encoder(width), name=f"{key}_encoder")
        ends.append(rows(inputs[key], there))
    joined = keras.layers.Add()(ends)
    pooled = keras.layers.Dense(3, activation="tanh", name="upper")(joined)
    return keras.Model(inputs, {"pooled": pooled})


def mixture(batch):
    rng = np.random.default_rng(1)
    data = {}
    for key, width in zip(KEYS, (4, 5), strict=True):
        x = rng.normal(2.0, 3.0, (40, width)).astype("float32")
        data[f"{key}_sum"] = ({key: x}, x.sum(axis=1, keepdims=True))
    return mtl.data.mix(data, 8, rates="uniform", batch=batch, stop=6)


@pytest.mark.parametrize("batch", ["mixed", "one_task"])
def test_zeros_of_a_mixture_stay_out_of_the_statistics(batch, tmp_path):
    keras.utils.set_random_seed(1)
    tasks = [mtl.Task(f"{key}_sum", mtl.heads.Regression()) for key in KEYS]
    model = mtl.build_model(backbone(), tasks)
    balancer = "pcgrad" if batch == "mixed" else None
    model.compile(keras.optimizers.SGD(0.01), balancer=balancer)
    mixed = mixture(batch)
    model.fit(mixed.dataset, epochs=2, callbacks=[mixed], verbose=0)
    for key, width in zip(KEYS, (4, 5), strict=True):
        mean, variance = np.zeros(width), np.ones(width)
        for epoch in range(2):
            for x, _ in mixture(batch).epoch_batches(epoch):
                there = np.array(x[f"{key}_present"])
                rows = np.array(x[key])[there]
                if len(rows):
                    mean += (1 - MOMENTUM) * (rows.mean(axis=0) - mean)
                    variance += (1 - MOMENTUM) * (rows.var(axis=0) - variance)
        found = statistics(layer(model, f"{key}_encoder").encoder)
        np.testing.assert_allclose(found[0], mean, rtol=1e-4)
        np.testing.assert_allclose(found[1], variance, rtol=1e-4)
    if batch == "mixed":
        path = tmp_path / "model.keras"
        model.save(path)
        x, _ = next(iter(mixed.dataset))
        again = keras.models.load_model(path).predict(x, verbose=0)
        for name, values in model.predict(x, verbose=0).items():
            np.testing.assert_allclose(again[name], values, atol=1e-6)


def layer(model, name):
    return next(found for found in model._flatten_layers() if found.name == name)
