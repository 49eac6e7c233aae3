"""A saved model, a checkpoint and a killed run continue as if nothing had happened."""

import os
import re
import signal
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl.cli.parts import read_keras_file
from tests.training import problems

METHODS = {
    "stateful": {"loss_weighting": "dwa", "balancer": "cagrad"},
    "stateless": {"balancer": "mgda"},
    "random": {"balancer": "pcgrad"},
    "learned": {"loss_weighting": "uncertainty", "balancer": "pcgrad"},
    "reused": {"balancer": "pcgrad", "balancing": mtl.BalancingOptions(every=4)},
    "jacobian": {"balancer": "moco", "loss_weighting": "famo"},
    "grouped": {
        "balancer": "gradvac",
        "balancing": mtl.BalancingOptions(scope={"first": ["dense_0"]}),
    },
}


def fit(model, first, last, **kwargs):
    x, y = problems.data()
    model.fit(
        x,
        y,
        batch_size=16,
        shuffle=False,
        verbose=0,
        initial_epoch=first,
        epochs=last,
        **kwargs,
    )


def uninterrupted(method):
    model = problems.model()
    keras.utils.set_random_seed(11)
    model.compile(keras.optimizers.Adam(0.02), **METHODS[method])
    return model


@pytest.mark.parametrize("method", METHODS)
def test_keras_file_continues_exactly(method, tmp_path):
    model = uninterrupted(method)
    fit(model, 0, 3)
    model.save(tmp_path / "model.keras")
    fit(model, 3, 6)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded, mtl.MultiTaskModel)
    assert [t.get_config() for t in loaded.tasks] == [
        t.get_config() for t in model.tasks
    ]
    fit(loaded, 3, 6)
    difference = problems.largest_difference(
        problems.weights(model), problems.weights(loaded)
    )
    assert difference == 0.0
    for key, value in model.balancing_state.items():
        np.testing.assert_array_equal(value, loaded.balancing_state[key], err_msg=key)


def test_weights_hold_the_architecture_only(tmp_path):
    plain = problems.model()
    model = uninterrupted("learned")
    fit(model, 0, 1)
    assert len(model.weights) == len(plain.weights)
    assert model.count_params() == plain.count_params()
    model.compile("adam", loss_weighting="uncertainty", balancer="pcgrad")
    assert len(model.weights) == len(plain.weights)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "w.weights.h5")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert not loaded.compiled
    plain.load_weights(tmp_path / "w.weights.h5")
    for other in (loaded, plain):
        for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_another_method_starts_afresh_with_a_warning(tmp_path):
    model = uninterrupted("learned")
    fit(model, 0, 2)
    model.save_weights(tmp_path / "w.weights.h5")
    other = problems.model()
    other.compile(keras.optimizers.Adam(0.02), loss_weighting="dwa", balancer="pcgrad")
    with pytest.warns(UserWarning, match=r"weighting\.DWA.*starts afresh"):
        other.load_weights(tmp_path / "w.weights.h5")
    difference = problems.largest_difference(
        problems.weights(model), problems.weights(other)
    )
    assert difference == 0.0
    # What is the same, the model's optimizer and the balancer, goes on.
    for a, b in zip(model.optimizer.variables, other.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(
        model.balancing_state["task_weights"], other.balancing_state["task_weights"]
    )


def test_metrics_and_losses_of_compile_survive(tmp_path):
    model = problems.model()
    model.compile(
        "adam",
        loss={"price": "mae"},
        metrics={"price": ["mse"], "sold": [keras.metrics.AUC(name="area")]},
        loss_weights={"kind": 3.0},
    )
    fit(model, 0, 1)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x, y = problems.data()
    before = model.evaluate(x, y, verbose=0, return_dict=True)
    after = loaded.evaluate(x, y, verbose=0, return_dict=True)
    assert before == after
    assert {"price_mse", "sold_area"} <= set(before)


def test_damaged_file_is_named(tmp_path):
    model = problems.model()
    path = tmp_path / "model.keras"
    model.save(path)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ValueError, match=re.escape(str(path))):
        read_keras_file(str(path), compile=True)


RUN = """
    import os, signal, sys
    import keras
    import keras_mtl as mtl
    from keras_mtl.data import EpochOrder
    from tests.training import problems

    folder, method, what = sys.argv[1:]
    from tests.training.test_saving import METHODS

    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.now = epoch == 2

        def on_train_batch_end(self, batch, logs=None):
            if self.now and batch == 1:
                os.kill(os.getpid(), signal.SIGKILL)

    def run(name, seed, *callbacks):
        keras.utils.set_random_seed(11)
        order = EpochOrder(seed=3)
        model = problems.model()
        keras.utils.set_random_seed(seed)
        model.compile(keras.optimizers.Adam(0.02), **METHODS[method])
        backup = keras.callbacks.BackupAndRestore(f"{folder}/{name}")
        model.fit(order.batches(problems.data(), 16), epochs=4, shuffle=False,
                  verbose=0, callbacks=[*callbacks, order, backup])
        model.save_weights(f"{folder}/{name}.weights.h5")

    if what == "kill":
        run("killed", 12, Kill())
    # What `compile` draws in the second process must be overwritten by the backup.
    run("killed", 99)
    run("whole", 12)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", ["stateless", "stateful", "random", "learned", "jacobian"]
)
def test_killed_and_started_again_equals_uninterrupted(method, tmp_path):
    """SIGKILL in the third epoch; the second process ends where one run ends.

    That one run is the second process' last, which saves a start of TensorFlow.
    """
    script = tmp_path / "run.py"
    script.write_text(textwrap.dedent(RUN))

    def run(what):
        return subprocess.run(
            [sys.executable, str(script), str(tmp_path), method, what],
            env={**os.environ, "PYTHONPATH": os.getcwd()},
            capture_output=True,
            text=True,
        )

    killed = run("kill")
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    assert not (tmp_path / "killed.weights.h5").exists()
    again = run("again")
    assert again.returncode == 0, again.stderr[-2000:]
    ends = []
    for name in ("killed", "whole"):
        model = problems.model()
        model.load_weights(tmp_path / f"{name}.weights.h5")
        ends.append(problems.weights(model))
    assert problems.largest_difference(*ends) == 0.0
