"""Gradual unfreezing: what moves in which epoch, and nothing else starts afresh."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl.training.recompile import recompile
from tests.asserts import error_with

GradualUnfreezing = mtl.callbacks.GradualUnfreezing
X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
Y = {"a": X @ np.ones((4, 1)), "b": X[:, :1]}
TASKS = [mtl.Task(name, mtl.heads.Regression()) for name in Y]


def made(optimizer="adam", **options):
    keras.utils.set_random_seed(3)
    backbone = mtl.backbones.MLP(input_shape=(4,), units=(6, 5, 3))
    model = mtl.build_model(backbone, TASKS)
    model.compile(keras.optimizers.get(optimizer), **options)
    return backbone, model


def fit(model, epochs, callbacks=(), initial_epoch=0):
    options = {"batch_size": 4, "shuffle": False, "verbose": 0}
    return model.fit(
        X, Y, epochs=epochs, callbacks=[*callbacks], initial_epoch=initial_epoch,
        **options,
    ).history  # fmt: skip


class Moved(keras.callbacks.Callback):
    """Which layers of the backbone moved in each epoch."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone, self.layers = backbone, []

    def on_epoch_begin(self, epoch, logs=None):
        self.before = {w.path: np.array(w) for w in self.backbone.weights}

    def on_epoch_end(self, epoch, logs=None):
        moved = [w.path for w in self.backbone.weights]
        moved = [p for p, w in zip(moved, self.backbone.weights, strict=True)
                 if (np.array(w) != self.before[p]).any()]  # fmt: skip
        self.layers.append(sorted({path.split("/")[0] for path in moved}))


def test_layers_join_from_the_end():
    backbone, model = made(balancer="pcgrad")
    moved = Moved(backbone)
    schedule = {0: ["dense_2"], 1: 2, 2: True}
    fit(model, 3, [GradualUnfreezing(backbone, schedule), moved])
    last = [f"dense_{index}" for index in range(3)]
    assert moved.layers == [last[2:], last[1:], last]


def test_stages_equal_fits_one_after_the_other():
    """With an optimizer that remembers nothing."""
    backbone, model = made("sgd")
    history = fit(model, 2, [GradualUnfreezing(backbone, {0: False, 1: True})])
    other, expected = made("sgd")
    losses = []
    for trained in ((), ("dense_0", "dense_1", "dense_2")):
        for layer in other.layers:
            layer.trainable = layer.name in trained
        expected.compile("sgd")
        losses += fit(expected, 1)["loss"]
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-6)
    for one, two in zip(model.weights, expected.weights, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


def test_to_compile_anew_is_to_go_on():
    """Compiling in every epoch with the same variables changes nothing."""
    options = {"loss_weighting": "uncertainty", "balancer": "db_mtl"}
    _, model = made(**options)
    plain = fit(model, 2)["loss"]
    _, model = made(**options)

    class Anew(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            recompile(self.model, self.model.trainable_variables)

    again = fit(model, 2, [Anew()])["loss"]
    np.testing.assert_allclose(again, plain, rtol=1e-6)
    assert int(model.optimizer.iterations) == 6


def momentums(model):
    pairs = zip(model.trainable_variables, model.optimizer._momentums, strict=True)
    return {variable.path: np.array(momentum) for variable, momentum in pairs}


def test_optimizer_keeps_what_it_remembers():
    backbone, model = made("adam")
    fit(model, 1, [GradualUnfreezing(backbone, {0: 1})])
    old = momentums(model)
    callback = GradualUnfreezing(backbone, {0: 1, 1: True})
    callback.set_model(model)
    callback.on_epoch_begin(1)
    new = momentums(model)
    assert len(new) == len(old) + 4
    for path, momentum in new.items():
        np.testing.assert_array_equal(momentum, old.get(path, 0.0 * momentum))
    assert int(model.optimizer.iterations) == 3


def test_saved_model_is_continued(tmp_path):
    schedule = {0: 1, 1: 2}
    backbone, model = made()
    whole = fit(model, 3, [GradualUnfreezing(backbone, schedule)])["loss"]
    backbone, model = made()
    fit(model, 2, [GradualUnfreezing(backbone, schedule)])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    backbone = loaded.get_layer("mlp")
    rest = fit(loaded, 3, [GradualUnfreezing(backbone, schedule)], initial_epoch=2)
    np.testing.assert_allclose(rest["loss"], whole[2:], rtol=1e-5)


def test_errors():
    backbone, model = made()
    with error_with(ValueError, "epoch 0", "{1: True}"):
        GradualUnfreezing(backbone, {1: True})
    with error_with(ValueError, "`schedule`", "-1"):
        GradualUnfreezing(backbone, {0: True, -1: 2})
    other = mtl.backbones.MLP(input_shape=(4,), units=(2,))
    with error_with(ValueError, "without copying it"):
        fit(model, 1, [GradualUnfreezing(other, {0: 1})])


def test_rates_fall_from_the_end():
    backbone = mtl.backbones.MLP(input_shape=(4,), units=(6, 5, 3))
    rates = mtl.layerwise_rates(backbone, 0.5, top=0.8)
    assert rates == pytest.approx({"dense_0": 0.2, "dense_1": 0.4, "dense_2": 0.8})
    with error_with(ValueError, "`decay`", "0"):
        mtl.layerwise_rates(backbone, 0.0)
    with error_with(ValueError, "`stages`"):
        mtl.layerwise_rates(keras.Sequential([keras.layers.Input((3,))]))


def test_rates_are_taken_by_compile():
    backbone, model = made("sgd")
    kernels = [backbone.get_layer(f"dense_{i}").kernel for i in range(3)]
    before = [np.array(kernel) for kernel in kernels]
    model.compile("sgd")
    fit(model, 1)
    plain = [np.array(k) - b for k, b in zip(kernels, before, strict=True)]
    backbone, model = made("sgd")
    kernels = [backbone.get_layer(f"dense_{i}").kernel for i in range(3)]
    rates = mtl.layerwise_rates(backbone, 0.1)
    model.compile("sgd", learning_rate_multipliers=rates)
    fit(model, 1)
    moved = [np.array(k) - b for k, b in zip(kernels, before, strict=True)]
    ratios = [
        np.abs(m).sum() / np.abs(p).sum() for m, p in zip(moved, plain, strict=True)
    ]
    np.testing.assert_allclose(ratios, [0.01, 0.1, 1.0], rtol=0.2)
