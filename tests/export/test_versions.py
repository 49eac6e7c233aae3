"""A version appears complete or not at all."""

import errno
import os
import resource

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl.export import (
    export_saved_model,
    list_versions,
    version_folder,
    versions,
)
from keras_mtl.export.versions import write_version
from tests.export.samples import make_plain_model


@pytest.fixture(scope="module")
def small():
    return make_plain_model(keras.layers.Dense(2000))


@pytest.fixture
def folder(tmp_path):
    """A folder with version 3 in it."""
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "saved_model.pb").write_bytes(b"before")
    return tmp_path


def assert_untouched(folder):
    assert sorted(os.listdir(folder)) == ["3"]
    assert (folder / "3" / "saved_model.pb").read_bytes() == b"before"


def put(text):
    def write(new):
        with open(os.path.join(new, "saved_model.pb"), "w") as file:
            file.write(text)

    return write


def test_numbers_go_up(folder):
    (folder / "7").mkdir()
    (folder / "notes").mkdir()
    (folder / "012").mkdir()
    (folder / "99").write_text("a file")
    assert write_version(folder, put("new")) == str(folder / "8")
    assert write_version(folder, put("old"), version=2) == str(folder / "2")
    assert list_versions(folder) == [2, 3, 7, 8]
    assert version_folder(folder) == str(folder / "8")
    for directory, version in [(folder, 3), (folder / "3", None)]:
        assert version_folder(directory, version) == str(folder / "3")


def test_the_temporary_folder_is_no_version(folder):
    def write(new):
        assert list_versions(folder) == [3]
        assert os.path.dirname(new) == str(folder)
        assert os.path.basename(new).startswith(".")
        put("new")(new)

    path = write_version(folder, write)
    assert os.stat(path).st_mode & 0o777 == os.stat(folder / "3").st_mode & 0o777


def test_a_faster_process_takes_the_number(folder, monkeypatch):
    def write(new):
        put("ours")(new)
        (folder / "4").mkdir()
        (folder / "4" / "saved_model.pb").write_text("theirs")

    seen = iter([[3], [3, 4]])
    monkeypatch.setattr(versions, "list_versions", lambda _: next(seen))
    assert write_version(folder, write) == str(folder / "5")
    assert (folder / "4" / "saved_model.pb").read_text() == "theirs"


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.EROFS, "Read-only file system"),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
)
@pytest.mark.parametrize("function", ["makedirs", "rename"])
def test_failures_of_the_folder(folder, monkeypatch, function, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(OSError, match="unchanged") as caught:
        write_version(folder, put("new"))
    monkeypatch.undo()
    assert type(caught.value) is type(error)
    assert caught.value.errno == error.errno
    assert str(folder) in str(caught.value)
    assert_untouched(folder)


@pytest.mark.parametrize("version", [None, 4])
def test_a_file_in_the_place_of_the_directory(tmp_path, small, version):
    (tmp_path / "digits").write_text("a file")
    with pytest.raises(OSError, match="unchanged"):
        export_saved_model(small, tmp_path / "digits", version=version)


def test_a_full_disk(folder, small):
    """A limit on the size of files stands for a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"too large.*unchanged"):
            export_saved_model(small, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_untouched(folder)


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), tf.errors.ResourceExhaustedError(None, None, "full")]
)
def test_an_interrupted_write(folder, small, monkeypatch, error):
    archive = type(keras.export.ExportArchive())

    def fail(self, path, **_):
        put("half")(path)
        raise error

    monkeypatch.setattr(archive, "write_out", fail)
    with pytest.raises((KeyboardInterrupt, OSError)):
        export_saved_model(small, folder)
    assert_untouched(folder)


@pytest.mark.parametrize("version", [3, 0, -1, True, "4", 1.0])
def test_bad_versions(folder, small, version):
    with pytest.raises(ValueError, match=r"`version`.*Received: version="):
        export_saved_model(small, folder, version=version)
    assert_untouched(folder)


def test_missing_versions(folder):
    for directory, version in [(folder, 4), (folder / "none", None)]:
        with pytest.raises(ValueError, match="where the versions are"):
            version_folder(directory, version)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ({"wrong": np.ones((2, 5))}, "keys"),
        (np.ones((2, 6)), "shape"),
        (np.ones((0, 5)), "at least one row"),
    ],
)
def test_bad_samples(folder, small, sample, message):
    with pytest.raises(ValueError, match=message):
        export_saved_model(small, folder, sample=sample)
    assert_untouched(folder)


def test_a_sample_of_several_inputs_is_a_dict(model, folder):
    with pytest.raises(ValueError, match="a dict with the keys"):
        export_saved_model(model, folder, sample=np.ones((2, 4, 4, 1)))
    assert_untouched(folder)


def test_other_models(folder):
    inputs = keras.Input((5,))
    for other in (keras.Model(inputs, keras.layers.Dense(2)(inputs)), "digits.keras"):
        with pytest.raises(TypeError, match="MultiTaskModel"):
            export_saved_model(other, folder)
    assert_untouched(folder)
