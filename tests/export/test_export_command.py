"""`keras-mtl export`: what it prints, and its exit status."""

import argparse

import keras
import numpy as np
import pytest

from keras_mtl.cli import export as command
from tests.export.samples import inputs_of, make_plain_model


@pytest.fixture
def call(capsys):
    """Runs the subcommand; returns status, output and errors."""

    def run(*arguments):
        parser = argparse.ArgumentParser()
        command.add_parser(parser.add_subparsers())
        args = parser.parse_args(["export", *map(str, arguments)])
        return args.run(args), *capsys.readouterr()

    return run


def test_verify(call, exported):
    status, out, err = call("verify", exported)
    assert status == 0, err
    assert "probabilities" in out
    assert "(4, 3)" in out
    assert "all right" in out
    assert "WRONG" not in out


def test_verify_fails(call, copied):
    path = f"{copied}/assets.extra/expected.npz"
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    arrays["shape/outputs/probabilities"] += 1
    del arrays["sign/outputs/box"]
    np.savez(path, **arrays)
    status, out, err = call("verify", copied)
    assert status == 1
    assert "WRONG" in out
    assert "does not verify" in out
    assert "sign box: not in the recorded outputs" in err


def test_predict(call, exported, tmp_path):
    inputs = inputs_of(7)
    np.savez(tmp_path / "in.npz", image=inputs["image"], word=inputs["word"])
    status, out, err = call(
        *("predict", exported, "--signature", "order", "--rows", 2),
        *("--input", tmp_path / "in.npz", "--output", tmp_path / "out.npz"),
    )
    assert status == 0, err
    assert "and 5 more rows" in out
    with np.load(tmp_path / "out.npz") as file:
        assert file["probabilities"].shape == (7, 4)
        label = ["none", "few", "some", "many"][file["label"][0]]
    assert f"label          {label}" in out


def test_predict_on_the_recorded_inputs(call, exported):
    status, out, err = call("predict", exported)
    assert status == 0, err
    assert "shape_label" in out
    assert "drei ß" in out
    assert "more rows" not in out


@pytest.mark.parametrize("action", ["verify", "predict"])
def test_no_such_version(call, exported, action):
    for extra in ([exported, "--version", 9], ["no/such/folder"]):
        status, _, err = call(action, *extra)
        assert status == 1
        assert err.startswith(f"keras-mtl export {action}: Expected `directory`")


def test_save(call, tmp_path):
    model = make_plain_model(keras.layers.Dense(3))
    model.save(tmp_path / "size.keras")
    for arguments, version in [((), 1), ((), 2), (("--version", 9), 9)]:
        status, out, err = call(
            "save", tmp_path / "size.keras", tmp_path / "size", *arguments
        )
        assert status == 0, err
        assert out == f"wrote {tmp_path / 'size' / str(version)}\n"
    assert call("verify", tmp_path / "size", "--version", 9)[0] == 0


@pytest.mark.parametrize("content", [None, b"", b"no archive", b"PK\x03\x04 cut off"])
def test_save_names_the_file(call, tmp_path, content):
    path = tmp_path / "digits.keras"
    if content is not None:
        path.write_bytes(content)
    status, _, err = call("save", path, tmp_path / "out")
    assert status == 1
    assert str(path) in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [None, b"", b"no archive"])
def test_predict_names_the_input_file(call, exported, tmp_path, content):
    path = tmp_path / "in.npz"
    if content is not None:
        path.write_bytes(content)
    status, _, err = call("predict", exported, "--input", path)
    assert status == 1
    assert str(path) in err


@pytest.mark.parametrize(
    ("value", "names", "text"),
    [
        (np.array([0.1, 0.7, 0.2]), ["a", "b", "c"], "b 0.700, c 0.200, a 0.100"),
        (np.array([0, 1, 1]), ["a", "b", "c"], "b, c"),
        (np.array(2), ["a", "b", "c"], "c"),
        (np.array(2), None, "2"),
        (np.array([0.25, 0.5]), None, "[0.25, 0.5 ]"),
        (np.array("ß"), None, "ß"),
        (np.array(["a", "b\udcff"]), None, "a, b?"),
    ],
)
def test_values_in_words(value, names, text):
    assert command._text(value, names) == text
