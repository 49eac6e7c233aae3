"""Compiled modules: the right one is loaded, or an error says what to do."""

import dataclasses
import hashlib
import importlib.machinery
import json
import pathlib
import sys
import zipfile

import pytest

from keras_mtl.data import extensions, fetcher
from keras_mtl.data.catalogue import Package

SUFFIX = importlib.machinery.EXTENSION_SUFFIXES[0]
NO_MODULE = b"no machine can load this"


def cached(folder, path, content=NO_MODULE):
    """A package in the cache, with one compiled module."""
    wheel = folder / "keras_mtl_test_module-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr(path, content)
    return Package(
        name="keras-mtl-test-module",
        version="1.0",
        filename=wheel.name,
        sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        size=wheel.stat().st_size,
        licence="none",
        holds="a module",
        modules={path: hashlib.sha256(content).hexdigest()},
    )


def test_pybullet_is_loaded_and_not_in_the_way():
    module = extensions.load_extension("pybullet", "pybullet")
    assert module is extensions.load_extension("pybullet", "pybullet")
    assert callable(module.getCameraImage)
    installed = fetcher.state("pybullet") == "installed"
    assert ("pybullet" in sys.modules) == installed


def test_what_cannot_be_loaded_is_explained(tmp_path):
    package = cached(tmp_path, f"fast{SUFFIX}")
    with pytest.raises(fetcher.FetchError) as caught:
        extensions.load_extension(package, "fast", cache_dir=tmp_path)
    message = str(caught.value)
    for part in (f"fast{SUFFIX}", "cannot load", "pip install keras-mtl-test-module"):
        assert part in message


def test_unpacked_copy_is_used_if_whole_and_made_again_if_not(tmp_path, monkeypatch):
    package = cached(tmp_path, f"fast{SUFFIX}")
    monkeypatch.setattr(extensions, "_loaded", lambda module, path: pathlib.Path(path))
    reads = []
    open_file = fetcher.open_file

    def counted(*args, **kwargs):
        reads.append(args)
        return open_file(*args, **kwargs)

    monkeypatch.setattr(fetcher, "open_file", counted)
    for damage in (None, None, b"half", None):
        path = extensions.load_extension(package, "fast", cache_dir=tmp_path)
        assert path.read_bytes() == NO_MODULE
        assert [file.name for file in path.parent.iterdir()] == [f"fast{SUFFIX}"]
        if damage:
            path.write_bytes(damage)
    assert len(reads) == 2


def test_other_bytes_are_never_loaded(tmp_path, monkeypatch):
    package = cached(tmp_path, f"fast{SUFFIX}")
    digest = {f"fast{SUFFIX}": hashlib.sha256(b"other").hexdigest()}
    wrong = dataclasses.replace(package, modules=digest)
    monkeypatch.setattr(extensions, "_loaded", lambda *_: pytest.fail("was loaded"))
    with pytest.raises(fetcher.ChecksumError, match="Wrong checksum of fast"):
        extensions.load_extension(wrong, "fast", cache_dir=tmp_path)


@pytest.mark.parametrize("is_cached", [True, False])
def test_another_machine(tmp_path, is_cached):
    foreign = "fast.cpython-399-riscv256-plan9.so"
    package = cached(tmp_path, foreign)
    if not is_cached:
        (tmp_path / package.filename).unlink()
    for call in (
        lambda: extensions.load_extension(package, "fast", cache_dir=tmp_path),
        lambda: fetcher.fetch(package, cache_dir=tmp_path, force=True),
    ):
        with pytest.raises(fetcher.FetchError) as caught:
            call()
        message = str(caught.value)
        for part in (foreign, SUFFIX, "pip install keras-mtl-test-module==1.0"):
            assert part in message


def test_installed_copy_comes_first(tmp_path, monkeypatch):
    package = cached(tmp_path, "json.cpython-399-riscv256-plan9.so")
    monkeypatch.setattr(fetcher, "state", lambda package, cache_dir: "installed")
    assert extensions.load_extension(package, "json") is json


def test_unknown_module(tmp_path):
    package = cached(tmp_path, f"fast{SUFFIX}")
    with pytest.raises(ValueError, match=r"one of \['fast'\]") as caught:
        extensions.load_extension(package, "slow", cache_dir=tmp_path)
    assert "module='slow'" in str(caught.value)
