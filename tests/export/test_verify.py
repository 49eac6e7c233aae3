"""What is damaged does not verify, and the checking process is a bare one."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from keras_mtl.export import predict_saved_model, runner, verify_saved_model
from keras_mtl.export.records import read_arrays, write_arrays
from keras_mtl.export.runner import compare
from tests.export.samples import LABELS


def rewrite(version, change):
    """Changes the recorded arrays of a version."""
    path = os.path.join(version, "assets.extra", "expected.npz")
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    change(arrays)
    np.savez(path, **arrays)


def wrong(report):
    return [(check.signature, check.output) for check in report.checks if not check.ok]


def test_tampered_outputs(copied):
    def change(arrays):
        arrays["shape/outputs/probabilities"][0, 0] += 1e-3
        arrays["order/outputs/label"][1] += 1
        arrays["serving_default/outputs/shape_label"][0] = b"x"
        arrays["sign/outputs/box"][0, 0] = np.nan
        arrays["sign/outputs/pixels"] = arrays["sign/outputs/pixels"][:2]

    rewrite(copied, change)
    report = verify_saved_model(copied)
    assert not report.ok
    assert wrong(report) == [
        ("order", "label"),
        ("serving_default", "shape_label"),
        ("shape", "probabilities"),
        ("sign", "box"),
        ("sign", "pixels"),
    ]
    by_place = {(c.signature, c.output): c for c in report.checks}
    tampered = by_place["shape", "probabilities"]
    assert tampered.difference == pytest.approx(1e-3, rel=0.01)
    assert "recorded as float32 of shape (2, 4)" in by_place["sign", "pixels"].message


def test_missing_and_unknown_parts(copied):
    def change(arrays):
        for name in [name for name in arrays if name.startswith("sign/")]:
            arrays[name.replace("sign", "sing")] = arrays.pop(name)
        arrays["shape/outputs/other"] = arrays["shape/outputs/probabilities"]
        del arrays["shape/outputs/label"]
        arrays["order/inputs/image"] = arrays["order/inputs/image"][:, :2]

    rewrite(copied, change)
    report = verify_saved_model(copied)
    messages = {(c.signature, c.output): c.message for c in report.checks if c.message}
    assert messages["sign", ""] == "not in the recorded outputs"
    assert messages["sing", ""] == "not in the model"
    assert messages["shape", "other"] == "not in the model"
    assert messages["shape", "label"] == "not in the recorded outputs"
    assert "'image' to have shape (None, 4, 4, 1)" in messages["order", ""]
    assert not report.ok


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("assets.extra/expected.npz", "expected.npz"),
        ("assets.extra/keras_mtl.json", "keras_mtl.json"),
        ("saved_model.pb", "C.. runtime refuses"),
        ("variables/variables.index", "C.. runtime refuses"),
        ("variables/variables.data-00000-of-00001", "C.. runtime refuses"),
    ],
)
def test_damaged_files(copied, name, message):
    path = os.path.join(copied, name)
    with open(path, "rb+") as file:
        file.truncate(os.path.getsize(path) // 3)
    with pytest.raises(ValueError, match=message):
        verify_saved_model(copied)


def test_wrong_requests(exported):
    image = np.zeros((1, 4, 4, 1))
    for signature, inputs, message in [
        ("shapes", {"image": image}, r"one of \['order'.*'shapes'"),
        ("order", {"image": image}, r"inputs \['image', 'word'\].*\['image'\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            predict_saved_model(exported, inputs, signature=signature)


def test_arrays_of_any_name(tmp_path):
    arrays = {"file": np.ones(2), "a/b": np.array([b"x"]), "allow_pickle": np.ones(())}
    write_arrays(tmp_path / "some.npz", arrays)
    found = read_arrays(tmp_path / "some.npz")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


def test_inputs_need_names(exported):
    with pytest.raises(TypeError, match="names of the signature's inputs"):
        predict_saved_model(exported, np.zeros((1, 4, 4, 1)), signature="shape")


def test_the_process_imports_neither_tensorflow_nor_keras(exported):
    process = subprocess.run(
        [sys.executable, "-P", "-X", "importtime", runner.__file__, "verify", exported],
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(process.stdout)
    assert result["python_tensorflow"] is False
    assert all(check["ok"] for check in result["checks"])
    lines = [line for line in process.stderr.splitlines() if "import time" in line]
    imported = {line.rpartition("|")[2].strip() for line in lines}
    assert "keras_mtl.export.c_loader" in imported
    assert not {"tensorflow", "keras", "keras_mtl.export.saved_model"} & imported


def test_the_program_tells_on_python_tensorflow(copied, exported, tmp_path, capsys):
    """Run in this process, which has imported it."""
    source, target = tmp_path / "in.npz", tmp_path / "out.npz"
    np.savez(source, image=np.zeros((2, 4, 4, 1)))
    for arguments in (
        ["verify", exported],
        ["predict", exported, "shape", str(source), str(target)],
    ):
        assert runner.main(arguments) == 0
        assert json.loads(capsys.readouterr().out)["python_tensorflow"] is True
    with np.load(target) as file:
        assert file["probabilities"].shape == (2, 3)
    rewrite(copied, lambda arrays: arrays.pop("sign/outputs/box"))
    checks = runner.verify(copied)
    assert [c["output"] for c in checks if not c["ok"]] == ["box"]
    os.remove(os.path.join(copied, "saved_model.pb"))
    assert runner.main(["verify", copied]) == 1
    assert "refuses" in json.loads(capsys.readouterr().out)["error"]


def test_text_in_and_out(exported):
    inputs = {"image": np.zeros((2, 4, 4, 1)), "word": [["seven"], [b"Stra\xc3\x9fe"]]}
    texts = {**inputs, "word": np.array(inputs["word"], dtype=object)}
    served = predict_saved_model(exported, texts, signature="order")
    assert served["label"].dtype == "int32"
    served = predict_saved_model(
        exported, {"image": inputs["image"]}, signature="shape"
    )
    assert served["label"].dtype.kind == "U"
    assert set(served["label"]) <= set(LABELS)


def test_a_process_that_imports_tensorflow_is_refused(exported, tmp_path, monkeypatch):
    stub = "import sys\nsys.modules['tensorflow.python'] = sys\n"
    (tmp_path / "sitecustomize.py").write_text(stub)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ValueError, match="not to import Python TensorFlow"):
        verify_saved_model(exported)


def test_a_crash_is_reported(exported, monkeypatch):
    monkeypatch.setattr(runner, "__file__", "no_such_program.py")
    with pytest.raises(ValueError, match=r"status 2 and said:\n.*no_such_program"):
        verify_saved_model(exported)


@pytest.mark.parametrize(
    ("actual", "expected", "difference", "ok"),
    [
        ([1.0, 2.0], [1.0, 2.0 + 1e-5], 1e-5, True),
        ([1.0, 2.0], [1.0, 2.001], 1e-3, False),
        ([1e6], [1e6 + 1], 1.0, True),
        ([np.nan, np.inf], [np.nan, np.inf], 0.0, True),
        ([np.nan], [1.0], np.nan, False),
        ([np.inf], [-np.inf], np.inf, False),
        ([1, 2], [1, 3], 1.0, False),
        ([True], [True], 0.0, True),
        ([b"a"], [b"b"], 1.0, False),
        ([], [], 0.0, True),
    ],
)
def test_comparison(actual, expected, difference, ok):
    found, fits = compare(np.array(actual), np.array(expected), 1e-5)
    np.testing.assert_allclose(found, difference, rtol=1e-6)
    assert fits is ok
