"""Reading runs back, and `keras-mtl report`."""

import argparse
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl.analysis import read_run, values_table
from keras_mtl.callbacks import TaskTensorBoard
from keras_mtl.cli import report
from keras_mtl.plots import tags, text_table


def write(folder, scalars):
    """Writes one event file: `scalars` are (tag, step, value)."""
    writer = tf.summary.create_file_writer(str(folder))
    with writer.as_default():
        for tag, step, value in scalars:
            tf.summary.scalar(tag, value, step=step)
    writer.close()


def event_file(folder):
    (path,) = folder.glob("*.v2")
    return path


def report_command(*arguments):
    parser = argparse.ArgumentParser()
    report.add_parser(parser.add_subparsers())
    args = parser.parse_args(["report", *map(str, arguments)])
    return args.run(args)


@pytest.fixture(scope="module")
def stored_run(tmp_path_factory, make_model, fit):
    folder = tmp_path_factory.mktemp("stored")
    fit(make_model(), [TaskTensorBoard(folder)])
    return folder


@pytest.fixture
def run_dir(tmp_path, stored_run):
    """A copy of a run, to draw or to damage."""
    return shutil.copytree(stored_run, tmp_path / "digits")


def test_read_run(tmp_path, make_model, fit):
    history = fit(make_model(), [TaskTensorBoard(tmp_path)]).history
    run = read_run(tmp_path)
    assert run.task_names == ("digit", "box", "box_size")
    assert run.epochs.tolist() == [1, 2, 3]
    assert [list(metrics) for metrics in run.scalars.values()] == [
        ["loss", "mae"],
        ["loss"],
        ["loss", "mae"],
    ]
    curve = run.scalars["box_size"]["mae"]
    np.testing.assert_allclose(curve["train"], history["box_size_mae"], rtol=1e-6)
    np.testing.assert_allclose(
        curve["validation"], history["val_box_size_mae"], rtol=1e-6
    )
    assert set(run.weights) == set(tags.PER_TASK)
    np.testing.assert_allclose(run.weights["loss_weight"][1], [1.0, 2.0, 0.6])
    np.testing.assert_allclose(run.conflict_rate, [0.5, 0.5, 0.5])
    expected = [[1.0, -0.5, 0.25], [-0.5, 1.0, 0.0], [0.25, 0.0, 1.0]]
    np.testing.assert_allclose(run.cosine, [expected] * 3)


def test_read_run_without_balancer(tmp_path, make_model, fit):
    fit(make_model(balanced=False), [TaskTensorBoard(tmp_path)])
    run = read_run(tmp_path)
    assert set(run.weights) == {"loss_weight", "nonfinite"}
    assert run.conflict_rate is None
    assert run.cosine is None


def test_what_a_resumed_run_does_again_replaces_the_first_time(tmp_path):
    tag = tags.task_tag("a", "loss")
    write(tmp_path / "train", [(tag, step, 10.0 + step) for step in range(4)])
    write(tmp_path / "train", [(tag, step, 20.0 + step) for step in (2,)])
    run = read_run(tmp_path)
    assert run.epochs.tolist() == [1, 2, 3]
    assert run.scalars["a"]["loss"]["train"].tolist() == [10.0, 11.0, 22.0]


def test_validation_every_second_epoch(tmp_path):
    tag = tags.task_tag("a", "loss")
    write(tmp_path / "train", [(tag, step, 1.0) for step in range(3)])
    write(tmp_path / "validation", [(tag, 1, 2.0)])
    curve = read_run(tmp_path).scalars["a"]["loss"]
    np.testing.assert_array_equal(curve["validation"], [np.nan, 2.0, np.nan])


def test_values_table(tmp_path):
    loss, accuracy = tags.task_tag("a", "loss"), tags.task_tag("a", "accuracy")
    values = [(accuracy, 0, 0.5), (accuracy, 1, 0.75), (loss, 0, 1.0), (loss, 1, 1.5)]
    write(tmp_path / "train", values)
    write(tmp_path / "validation", [(loss, 0, 2.0)])
    assert text_table(values_table(read_run(tmp_path))).splitlines() == [
        "task  metric      split         last    best  at epoch",
        "------------------------------------------------------",
        "a     loss ↓      train       1.5000  1.0000         1",
        "a     loss ↓      validation  2.0000  2.0000         1",
        "a     accuracy ↑  train       0.7500  0.7500         2",
    ]


def test_report_draws_and_prints(run_dir, capsys):
    assert report_command(run_dir) == 0
    printed = capsys.readouterr().out
    assert "box_size  mae ↓   validation" in printed
    assert f"wrote {run_dir / 'report.png'}" in printed
    pixels = tf.io.decode_png((run_dir / "report.png").read_bytes(), channels=3)
    height, width, _ = pixels.shape
    assert width == 1320
    assert 1000 < height < 3000
    assert 0.01 < np.mean(np.any(pixels.numpy() < 200, axis=-1)) < 0.5


def test_report_writes_where_asked(run_dir, tmp_path):
    output = tmp_path / "new" / "folder" / "figure.png"
    assert report_command(run_dir, "--output", output) == 0
    assert output.read_bytes().startswith(b"\x89PNG\r\n")


def test_report_without_matplotlib_still_prints(run_dir, capsys, no_matplotlib):
    assert report_command(run_dir) == 1
    captured = capsys.readouterr()
    assert "box_size  mae ↓   validation" in captured.out
    assert 'pip install "keras-mtl[plots]"' in captured.err


def test_report_of_a_cut_file_shows_what_is_there(run_dir, capsys):
    path = event_file(run_dir / "train")
    path.write_bytes(path.read_bytes()[:-7])
    assert report_command(run_dir) == 0


@pytest.mark.parametrize("position", [0, 8, 40, -40])
def test_report_names_a_damaged_file(run_dir, capsys, position):
    path = event_file(run_dir / "validation")
    content = bytearray(path.read_bytes())
    content[position] ^= 0xFF
    path.write_bytes(content)
    assert report_command(run_dir) == 1
    error = capsys.readouterr().err
    assert "damaged" in error
    assert path.name in error


def missing(folder):
    return folder / "missing"


def empty(folder):
    return folder


def parent(folder):
    write(folder / "digits" / "train", [("epoch_loss", 0, 1.0)])
    return folder


def stock(folder):
    write(folder / "train", [("epoch_loss", 0, 1.0)])
    return folder


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (missing, "does not exist"),
        (empty, "holds no events"),
        (parent, "has the runs ['digits']: choose one"),
        (stock, "holds events, but no task's"),
    ],
)
def test_report_of_no_run(tmp_path, capsys, make, message):
    directory = make(tmp_path)
    assert report_command(directory) == 1
    error = capsys.readouterr().err
    assert message in error
    assert str(directory) in error


def test_stock_events_beside_ours_do_no_harm(tmp_path, make_model, fit):
    callback = TaskTensorBoard(tmp_path, histogram_freq=1, write_steps_per_second=True)
    fit(make_model(), [callback], epochs=1)
    assert read_run(tmp_path).task_names == ("digit", "box", "box_size")
    assert keras.callbacks.TensorBoard in type(callback).__mro__
