"""What `TaskTensorBoard` writes, read back by TensorBoard's own reader."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl.callbacks import TaskTensorBoard
from keras_mtl.callbacks.tensorboard import balancing_scalars, task_scalars
from keras_mtl.plots import cosine_array

TASK_TAGS = {
    "task_digit/loss": "digit_loss",
    "task_digit/mae": "digit_mae",
    "task_box/loss": "box_loss",
    "task_box_size/loss": "box_size_loss",
    "task_box_size/mae": "box_size_mae",
}
PER_BALANCER = {
    "balancing/task_weight/digit": [1.0, 1.0, 1.0],
    "balancing/task_weight/box": [1.5, 1.5, 1.5],
    "balancing/task_weight/box_size": [1.0, 1.0, 1.0],
    "balancing/gradient_norm/digit": [3.0, 3.0, 3.0],
    "balancing/gradient_norm/box": [4.0, 4.0, 4.0],
    "balancing/gradient_norm/box_size": [3.0, 6.0, 9.0],
    "balancing/conflict_rate": [0.5, 0.5, 0.5],
    "balancing/cosine/digit~box": [-0.5, -0.5, -0.5],
    "balancing/cosine/digit~box_size": [0.25, 0.25, 0.25],
    "balancing/cosine/box~box_size": [0.0, 0.0, 0.0],
}
ALWAYS = {
    "balancing/loss_weight/digit": [1.0, 1.0, 1.0],
    "balancing/loss_weight/box": [2.0, 2.0, 2.0],
    "balancing/loss_weight/box_size": [0.3, 0.6, 0.9],
    "balancing/nonfinite/digit": [0.0, 0.0, 0.0],
    "balancing/nonfinite/box": [1.0, 1.0, 1.0],
    "balancing/nonfinite/box_size": [0.0, 0.0, 0.0],
}


def by_step(values):
    return dict(enumerate(np.float32(values).tolist()))


def floats(events):
    return {step: float(value) for step, value in events.items()}


def balancing_tags(events):
    return {tag for tag in events if tag.startswith("balancing/")}


def test_tasks_are_groups_in_both_runs(tmp_path, make_model, fit, read_events):
    history = fit(make_model(), [TaskTensorBoard(tmp_path)]).history
    for run, prefix in {"train": "", "validation": "val_"}.items():
        events = read_events(tmp_path / run)
        assert {tag for tag in events if tag.startswith("task_")} == set(TASK_TAGS)
        for tag, log in TASK_TAGS.items():
            assert floats(events[tag]) == by_step(history[prefix + log])
            assert floats(events[f"epoch_{log}"]) == by_step(history[prefix + log])


def test_balancing_is_in_the_train_run(tmp_path, make_model, fit, read_events):
    fit(make_model(), [TaskTensorBoard(tmp_path)])
    events = read_events(tmp_path / "train")
    expected = ALWAYS | PER_BALANCER
    assert balancing_tags(events) == {*expected, "balancing/cosine"}
    for tag, values in expected.items():
        assert floats(events[tag]) == by_step(values), tag
    assert not balancing_tags(read_events(tmp_path / "validation"))


def test_one_file_per_run(tmp_path, make_model, fit):
    fit(make_model(), [TaskTensorBoard(tmp_path)])
    for run in ("train", "validation"):
        assert len(list((tmp_path / run).glob("*.v2"))) == 1


def test_cosine_image_is_drawn(tmp_path, make_model, fit, read_events):
    fit(make_model(), [TaskTensorBoard(tmp_path)])
    images = read_events(tmp_path / "train")["balancing/cosine"]
    assert sorted(images) == [0, 1, 2]
    width, height, encoded = images[2]
    pixels = tf.io.decode_png(encoded, channels=3).numpy()
    assert pixels.shape == (int(height), int(width), 3)
    assert min(pixels.shape[:2]) > 200
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50


def test_cosine_image_without_matplotlib(
    tmp_path, make_model, fit, read_events, no_matplotlib
):
    model = make_model()
    fit(model, [TaskTensorBoard(tmp_path)], epochs=1)
    *_, encoded = read_events(tmp_path / "train")["balancing/cosine"][0]
    expected = cosine_array(model.balancing_state["cosine"])
    np.testing.assert_array_equal(tf.io.decode_png(encoded), expected)


def test_without_balancer_its_tags_are_absent(tmp_path, make_model, fit, read_events):
    fit(make_model(balanced=False), [TaskTensorBoard(tmp_path)])
    assert balancing_tags(read_events(tmp_path / "train")) == set(ALWAYS)


def test_nan_is_left_out(tmp_path, make_model, fit, read_events):
    hidden = ("task_weights", "gradient_norms", "conflict_rate", "cosine")
    fit(make_model(hidden=hidden), [TaskTensorBoard(tmp_path)])
    assert balancing_tags(read_events(tmp_path / "train")) == set(ALWAYS)


def test_every_n_batches(tmp_path, make_model, fit, read_events):
    # Three batches per epoch: epochs end on batches 3, 6 and 9.
    fit(make_model(), [TaskTensorBoard(tmp_path, update_freq=2)])
    events = read_events(tmp_path / "train")
    norms = events["batch_balancing/gradient_norm/box_size"]
    assert floats(norms) == {2: 2.0, 4: 4.0, 6: 6.0, 8: 8.0}
    assert "batch_balancing/cosine" not in events
    for tag in ("epoch_loss", "task_digit/loss", "balancing/cosine"):
        assert sorted(events[tag]) == [0, 1, 2], tag


def test_resumed_run_goes_on(tmp_path, make_model, fit, read_events):
    def stop(epoch, logs):
        if epoch == 2:
            raise RuntimeError("killed")

    def callbacks(*more):
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        return [backup, TaskTensorBoard(tmp_path / "run"), *more]

    interruption = keras.callbacks.LambdaCallback(on_epoch_begin=stop)
    with pytest.raises(RuntimeError, match="killed"):
        fit(make_model(), callbacks(interruption), epochs=4)
    fit(make_model(), callbacks(), epochs=4)
    for run in ("train", "validation"):
        events = read_events(tmp_path / "run" / run)
        assert sorted(events["task_box/loss"]) == [0, 1, 2, 3]


def test_can_be_used_in_two_fits(tmp_path, make_model, fit, read_events):
    model, callback = make_model(), TaskTensorBoard(tmp_path)
    fit(model, [callback], epochs=1)
    fit(model, [callback], epochs=2, initial_epoch=1)
    events = read_events(tmp_path / "train")
    assert floats(events["balancing/gradient_norm/box_size"]) == {0: 3.0, 1: 6.0}


@pytest.mark.parametrize("update_freq", [0, -1, 1.5, True, "step", None])
def test_bad_update_freq(update_freq):
    with pytest.raises(ValueError, match=r"`update_freq`.*Received: update_freq="):
        TaskTensorBoard("run", update_freq=update_freq)


def test_model_without_tasks(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="Expected a model with tasks"):
        TaskTensorBoard(tmp_path).set_model(model)


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("train", {"task_a/loss": 1.0, "task_a_b/loss": 2.0, "task_a_b/b_acc": 3.0}),
        ("validation", {"task_a_b/loss": 4.0}),
    ],
)
def test_logs_belong_to_the_task_with_the_longest_name(split, expected):
    logs = {
        "a_loss": 1.0,
        "a_b_loss": 2.0,
        "a_b_b_acc": 3.0,
        "val_a_b_loss": 4.0,
        "val_a_loss": float("nan"),
        "loss": 5.0,
        "learning_rate": 6.0,
    }
    assert task_scalars(logs, ["a", "a_b"], split) == expected


def test_some_pairs_unknown():
    cosine = np.array([[1.0, np.nan, 0.5], [np.nan, 1.0, np.nan], [0.5, np.nan, 1.0]])
    scalars = balancing_scalars({"cosine": cosine}, ["a", "b", "c"])
    assert scalars == {"balancing/cosine/a~c": 0.5}
