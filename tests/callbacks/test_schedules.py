"""Callbacks that set which tasks train when."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl.callbacks import AlternatingTasks, TaskEarlyStopping, TaskSchedule
from tests.asserts import error_with
from tests.training import problems

NAMES = problems.TASKS


@pytest.fixture(scope="module")
def model():
    """One compiled model; the plain step has no state that tests could see."""
    model = problems.model()
    model.compile("sgd")
    return model


class Recorder(keras.callbacks.Callback):
    """The tasks that are on at every step, and the layers that it moves."""

    def __init__(self):
        super().__init__()
        self.on, self.moved = [], []

    def on_train_batch_begin(self, batch, logs=None):
        priorities = self.model.task_priorities
        self.on.append([name for name in NAMES if priorities[name]])
        self._before = problems.weights(self.model)

    def on_train_batch_end(self, batch, logs=None):
        after = problems.weights(self.model)
        moved = [k for k in after if np.any(after[k] != self._before[k])]
        self.moved.append([n for n in NAMES if any(k.startswith(n) for k in moved)])


def fit(model, *callbacks, epochs, first=0, **kwargs):
    recorder = Recorder()
    x, y = problems.data()
    history = model.fit(
        x,
        y,
        batch_size=16,
        shuffle=False,
        verbose=0,
        epochs=epochs,
        initial_epoch=first,
        callbacks=[*callbacks, recorder],
        **kwargs,
    )
    # Only the heads of tasks that are on have moved.
    assert recorder.moved == recorder.on
    assert set(model.task_priorities.values()) == {1.0}
    return recorder.on, history


def test_sequential_training(model):
    """Three batches an epoch; a run that is continued is where it would have been."""
    schedule = TaskSchedule.sequential(["sold", "kind"], [2, 1])
    on, history = fit(model, schedule, epochs=3)
    assert on == [["sold"]] * 6 + [["kind"]] * 3
    assert np.isnan(history.history["kind_loss"]).tolist() == [True, True, False]
    on, _ = fit(model, schedule, epochs=4, first=3)
    assert on == [["kind"]] * 3


@pytest.mark.parametrize(
    ("schedule", "epoch", "expected"),
    [
        (TaskSchedule.sequential(NAMES, 2), 3, ["price"]),
        (TaskSchedule.sequential(NAMES, 2), 99, ["sold"]),
        (TaskSchedule.sequential(NAMES, 2, keep=True), 3, ["kind", "price"]),
        (TaskSchedule({0: {"kind": 2.0}, 5: ["price"]}), 4, {"kind": 2.0}),
        (TaskSchedule({5: ["price"], 0: ["kind"]}), 5, ["price"]),
        (TaskSchedule(lambda epoch: {"kind": epoch}), 7, {"kind": 7}),
    ],
)
def test_what_holds_in_an_epoch(schedule, epoch, expected):
    assert schedule.at(epoch) == expected


def test_priorities_over_time(model):
    seen = []
    schedule = TaskSchedule(lambda epoch: {"kind": 1.0, "price": 0.5**epoch})
    record = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(
            model.balancing_state["loss_weights"].tolist()
        )
    )
    fit(model, schedule, record, epochs=3)
    # The fixed weight of `price` is 2.
    assert seen == [[1.0, 2.0, 0.0], [1.0, 1.0, 0.0], [1.0, 0.5, 0.0]]


def test_alternating_training():
    """The turns go on across epochs and across calls of `fit`."""
    model = problems.model()
    model.compile("sgd")
    turns = AlternatingTasks([2, 1], turns=[["kind", "sold"], ["price"]])
    on, _ = fit(model, turns, epochs=1)
    more, _ = fit(model, turns, epochs=2)
    assert on + more == ([["kind", "sold"]] * 2 + [["price"]]) * 3
    on, _ = fit(model, AlternatingTasks(2), epochs=2)
    # Step 9 is the second step of the second turn of the second round.
    each = [[name] for name in NAMES for _ in range(2)]
    assert on == [each[step % 6] for step in range(9, 15)]


def test_alternating_equals_single_task_steps(float64):
    """SGD on one task's batch after the other, by hand, with stock Keras."""
    model = problems.model()
    model.compile(keras.optimizers.SGD(0.1))
    x, y = problems.data()
    reference = keras.models.clone_model(keras.Model(model.input, model.output))
    reference.set_weights(model.get_weights())
    fit(model, AlternatingTasks(), epochs=1)
    losses = {t.name: t.head.default_loss() for t in problems.tasks()}
    weights = {"kind": 1.0, "price": 2.0, "sold": 1.0}
    for step, name in enumerate(NAMES):
        rows = slice(16 * step, 16 * step + 16)
        one = keras.Model(reference.input, reference.output[name])
        one.compile(keras.optimizers.SGD(0.1 * weights[name]), losses[name])
        one.train_on_batch(x[rows], y[name][rows])
    for found, wanted in zip(model.weights, reference.weights, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-12, err_msg=found.path)


class Logs(keras.callbacks.Callback):
    """Puts given values into the logs of each epoch."""

    def __init__(self, **values):
        super().__init__()
        self.values = values

    def on_epoch_end(self, epoch, logs=None):
        logs |= {key: value[epoch] for key, value in self.values.items()}


def test_single_tasks_stop(model):
    nan = float("nan")
    logs = Logs(
        # The best value in the second epoch; three more are too little better.
        val_kind_accuracy=[0.5, 0.7, 0.7, 0.74, 0.6, 0.9, 0.9, 0.9],
        val_price_loss=[3.0, 2.0, nan, 2.0, 1.5, 1.6, 1.6, 1.6],
    )
    stopping = TaskEarlyStopping(
        {"kind": "val_kind_accuracy", "price": "val_price_loss"},
        patience=3,
        min_delta=0.05,
        mode={"kind": "max"},
    )
    on, history = fit(model, logs, stopping, epochs=8)
    assert stopping.stopped == {"kind": 4, "price": 7}
    without_kind = list(NAMES[1:])
    assert on == [list(NAMES)] * 15 + [without_kind] * 9
    assert len(history.epoch) == 8


def test_training_stops_with_the_last_task_and_schedules_suspend_the_watch(model):
    """`price` waits only while it is on, `sold` is never on."""
    logs = Logs(val_kind_loss=[1.0] * 9, val_price_loss=[1.0] * 9)
    stopping = TaskEarlyStopping(
        {"kind": "val_kind_loss", "price": "val_price_loss"}, patience=2
    )
    schedule = TaskSchedule.sequential(["kind", "price"], 2, keep=True)
    on, history = fit(model, logs, schedule, stopping, epochs=9)
    assert stopping.stopped == {"kind": 2, "price": 4}
    assert on == [["kind"]] * 6 + [["kind", "price"]] * 3 + [["price"]] * 6
    assert len(history.epoch) == 5


def test_the_validation_losses_are_watched_by_default(model):
    x, y = problems.data()
    stopping = TaskEarlyStopping(patience=1, min_delta=100.0)
    _, history = fit(model, stopping, epochs=9, validation_data=(x, y))
    assert stopping.stopped == dict.fromkeys(NAMES, 1)
    assert len(history.epoch) == 2


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda: TaskSchedule({1: ["kind"]}), ("`schedule`", "epoch 0")),
        (lambda: TaskSchedule({-1: ["kind"]}), ("`schedule`", "-1")),
        (lambda: TaskSchedule.sequential(["a", "b"], [1]), ("`epochs`", "2 of them")),
        (lambda: TaskSchedule.sequential(["a"], 0), ("`epochs`", "0")),
        (lambda: AlternatingTasks(0), ("`steps`", "0")),
        (lambda: AlternatingTasks(turns=["kind"]), ("`turns`", "['kind']")),
        (lambda: AlternatingTasks([1], turns=[["a"], ["b"]]), ("`steps`", "2 of")),
        (lambda: TaskEarlyStopping(patience=0), ("`patience`", "0")),
        (lambda: TaskEarlyStopping(mode={"kind": "up"}), ("`mode`", "'up'")),
    ],
)
def test_errors_at_construction(make, parts):
    with error_with(ValueError, *parts):
        make()


@pytest.mark.parametrize(
    ("callback", "parts"),
    [
        (TaskSchedule({0: ["kind"], 9: ["kinds"]}), ("`schedule`", "['kinds']")),
        (TaskSchedule({0: []}), ("at least one task",)),
        (AlternatingTasks(turns=[["kinds"]]), ("`turns`", "['kinds']")),
        (AlternatingTasks([1, 1]), ("`steps`", "3 of them")),
        (TaskEarlyStopping({"kinds": "loss"}), ("`monitor`", "['kinds']")),
        (TaskEarlyStopping(), ("`monitor`", "val_kind_loss", "validation_data")),
    ],
)
def test_errors_at_fit(model, callback, parts):
    with error_with(ValueError, *parts):
        model.fit(*problems.data(), verbose=0, callbacks=[callback])
    model.set_task_priorities(dict.fromkeys(NAMES, 1.0))


def test_a_model_without_tasks_is_an_error():
    plain = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    with error_with(ValueError, "AlternatingTasks", "build_model"):
        mtl.callbacks.AlternatingTasks().set_model(plain)
