"""Every Python block of the README runs, in order of need, on a slice of the data."""

import pathlib
import re

import pytest
import tensorflow_datasets as tfds

README = pathlib.Path(__file__).parents[1] / "README.md"


def blocks():
    return re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.M)


@pytest.mark.slow
def test_blocks(tmp_path, monkeypatch):
    """The block that loads the data first, then all the others as they stand."""
    import keras_mtl.data.datasets  # noqa: F401 (registers the builder)

    tfds.builder("digits_on_canvas").download_and_prepare()
    whole = tfds.load
    monkeypatch.setattr(tfds, "load", lambda *a, **k: whole(*a, **k).take(160))
    monkeypatch.chdir(tmp_path)
    texts = blocks()
    loads = [text for text in texts if "validation = " in text]
    assert len(loads) == 1
    names = {}
    exec("import keras_mtl as mtl", names)
    for text in loads + [text for text in texts if text not in loads]:
        exec(compile(text, "README.md", "exec"), names)
    assert (tmp_path / "saved_models/digits/1/saved_model.pb").exists()
    assert (tmp_path / "runs/digits/train").is_dir()
