"""A small model that shows a balancing state, without the work of balancing."""

import sys

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

TASKS = ("digit", "box", "box_size")


class StandIn(keras.Model):
    """Functional model with the public face of `MultiTaskModel`."""

    task_names = TASKS
    balanced = True
    hidden = ()

    @property
    def balancing_state(self):
        step = float(self.optimizer.iterations)
        state = {
            "step": np.array(step),
            "loss_weights": np.array([1.0, 2.0, 0.1 * step]),
            "nonfinite": np.array([0.0, 1.0, 0.0]),
        }
        if self.balanced:
            cosine = np.array([[1.0, -0.5, 0.25], [-0.5, 1.0, 0.0], [0.25, 0.0, 1.0]])
            state |= {
                "task_weights": np.array([1.0, 1.5, 1.0]),
                "gradient_norms": np.array([3.0, 4.0, step]),
                "conflict_rate": np.array(0.5),
                "cosine": cosine,
            }
        return state | {key: state[key] * np.nan for key in self.hidden}


@pytest.fixture(scope="session")
def make_model():
    """Function that makes a compiled stand-in."""

    def make(**attributes):
        inputs = keras.Input((3,))
        features = keras.layers.Dense(4, activation="tanh")(inputs)
        outputs = {
            name: keras.layers.Dense(1, name=f"{name}_output")(features)
            for name in TASKS
        }
        model = StandIn(inputs, outputs)
        for name, value in attributes.items():
            setattr(model, name, value)
        model.compile(
            "sgd",
            loss=dict.fromkeys(TASKS, "mse"),
            metrics={"digit": ["mae"], "box_size": ["mae"]},
        )
        return model

    return make


@pytest.fixture(scope="session")
def fit():
    """Function that fits a model on ten rows in batches of four."""

    def fit(model, callbacks, epochs=3, **kwargs):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(10, 3)).astype("float32")
        y = {name: x[:, :1] * (index + 1) for index, name in enumerate(TASKS)}
        return model.fit(
            x,
            y,
            batch_size=4,
            epochs=epochs,
            validation_data=(x, y),
            callbacks=callbacks,
            verbose=0,
            **kwargs,
        )

    return fit


@pytest.fixture
def read_events():
    """Function that reads a folder by TensorBoard's own reader.

    It gives `{tag: {step: value}}`, arrays for images.
    """

    def read(folder):
        accumulator = EventAccumulator(str(folder), {"tensors": 0})
        accumulator.Reload()
        return {
            tag: {
                event.step: tensor_util.make_ndarray(event.tensor_proto)
                for event in accumulator.Tensors(tag)
            }
            for tag in accumulator.Tags()["tensors"]
        }

    return read


@pytest.fixture
def no_matplotlib(monkeypatch):
    """Makes every import of matplotlib fail."""
    for name in [n for n in sys.modules if n.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
