"""Loss-driven rates, and runs on mixtures that go on in the middle of an epoch."""

import json
import math

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl.callbacks import EpochBackup, LossDrivenRates
from tests.asserts import error_with

SIZES = {"a": 24, "b": 12}
EPOCHS, STEPS = 3, 5


def mixture(**options):
    data = {}
    for seed, (name, size) in enumerate(SIZES.items()):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(size, 4)).astype("float32")
        data[name] = (x, (x @ rng.normal(size=(4, 1))).astype("float32"))
    return mtl.data.mix(data, 4, stop=STEPS, **options)


def model():
    """Dropout, momentum, DWA and metrics: all that a restart could forget."""
    keras.utils.set_random_seed(1)
    backbone = mtl.backbones.MLP(input_shape=(4,), units=(6,), dropout=0.3)
    tasks = [mtl.Task(name, mtl.heads.Regression(), metrics=["mae"]) for name in SIZES]
    built = mtl.build_model(backbone, tasks)
    built.compile(
        keras.optimizers.SGD(0.05, momentum=0.9),
        loss_weighting="dwa",
        balancer="pcgrad",
    )
    return built


class Stop(keras.callbacks.Callback):
    """Ends `fit` as an error does, after so many steps."""

    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def run(folder, every, stop=-1):
    """A run as the docstring of `EpochBackup` has it; weights and logs."""
    built, mixed = model(), mixture(rates="uniform", seed=3)
    backup = EpochBackup(folder / "backup", every=every)
    rates = LossDrivenRates(mixed, path=folder / "losses.json")
    callbacks = [mixed, rates, backup, Stop(stop)]
    first = backup.restore(built)
    place = (first, backup.first_step)
    logs = []
    if backup.first_step:
        rest = mixed.epoch_batches(first, backup.first_step)
        options = {"initial_epoch": first, "epochs": first + 1}
        done = built.fit(rest, callbacks=callbacks, verbose=0, **options)
        logs.append(done.history)
        first += 1
    options = {"initial_epoch": first, "epochs": EPOCHS}
    done = built.fit(mixed.dataset, callbacks=callbacks, verbose=0, **options)
    logs.append(done.history)
    joined = {k: [v for part in logs for v in part[k]] for k in logs[0]}
    return place, built.get_weights(), joined, mixed.rates_at()


def test_a_run_goes_on_in_the_middle_of_an_epoch(tmp_path):
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    _, weights, logs, rates = run(tmp_path / "whole", every=None)
    assert rates["a"] != pytest.approx(0.5, abs=1e-3)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", every=2, stop=STEPS + 4)
    place, resumed, other_logs, other_rates = run(tmp_path / "cut", every=2)
    assert place == (1, 4)
    assert other_rates == rates
    for one, other in zip(weights, resumed, strict=True):
        np.testing.assert_array_equal(other, one)
    for key, values in other_logs.items():
        np.testing.assert_array_equal(values, logs[key][1:], err_msg=key)


def test_the_end_of_an_epoch_is_no_step_of_it(tmp_path):
    backup = EpochBackup(tmp_path, every=2)
    built = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    built.compile("sgd", "mse")
    seen = []
    saved = backup._save
    backup._save = lambda *place: (seen.append(place), saved(*place))
    x = np.ones((4, 1))
    built.fit(x, x, batch_size=1, epochs=2, callbacks=[backup], verbose=0)
    assert seen == [(0, 2), (1, 0), (1, 2), (2, 0)]
    assert [path.name for path in tmp_path.iterdir()] == ["epoch_00002.weights.h5"]
    with error_with(ValueError, "`every`", "every=0"):
        EpochBackup(tmp_path, every=0)


class Tasks:
    """Stands in for a model: label keys by task name."""

    def __init__(self, **labels):
        self.tasks = [
            mtl.Task(name, mtl.heads.Regression(), label=label)
            for name, label in labels.items()
        ]


def test_tasks_that_lag_get_more(tmp_path):
    mixed = mixture(rates=[1.0, 3.0])
    path = tmp_path / "new" / "losses.json"
    rates = LossDrivenRates(mixed, strength=2.0, path=path)
    rates.set_model(Tasks(first="a", second="a", third="b"))
    rates.on_train_begin()
    logs = [
        {"first_loss": 2.0, "second_loss": math.nan, "val_third_loss": 4.0},
        {"first_loss": 1.0, "second_loss": 3.0, "val_third_loss": 1.0},
        {"first_loss": 1.0, "second_loss": 6.0, "val_third_loss": 1.0},
    ]
    lags = [(1.0, 1.0), (1.0, 1.0), ((0.5 + 1.0) / 2, 0.25), ((0.5 + 2.0) / 2, 0.25)]
    for epoch, (a, b) in enumerate(lags):
        rates.on_epoch_begin(epoch)
        share = np.array([0.25 * a**2, 0.75 * b**2])
        found = list(mixed.rates_at().values())
        np.testing.assert_allclose(found, share / share.sum())
        if epoch < 3:
            rates.on_epoch_end(epoch, {**logs[epoch], "third_loss": 99.0})
    assert sorted(json.loads(path.read_text())) == ["0", "1", "2"]
    again = LossDrivenRates(mixture(rates=[1.0, 3.0]), strength=2.0, path=path)
    again.set_model(rates.model)
    again.on_train_begin()
    again.on_epoch_begin(3)
    assert again.mixture.rates_at() == mixed.rates_at()


def test_what_loss_driven_rates_need():
    with error_with(ValueError, "depend on the step"):
        LossDrivenRates(mixture(rates=lambda step: [1, 1]))
    with error_with(ValueError, "strength=-1"):
        LossDrivenRates(mixture(), strength=-1)
    rates = LossDrivenRates(mixture())
    rates.set_model(Tasks(first="a"))
    with error_with(ValueError, "'b'", "['a']"):
        rates.on_train_begin()
    with error_with(ValueError, "epoch=2", "[0, 1]", "path=None"):
        rates.on_epoch_begin(2)
