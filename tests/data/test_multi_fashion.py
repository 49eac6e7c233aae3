"""`multi_fashion` is `multi_mnist` with the pictures of Debian's package.

The package itself is not fetched here: not every machine has apt-get.
"""

import gzip

import numpy as np
import pytest
import tensorflow_datasets as tfds

import keras_mtl.data.datasets
from keras_mtl.data import fetcher
from keras_mtl.data.datasets.multi_fashion import builder
from keras_mtl.data.datasets.multi_mnist import builder as pairs


def idx(array):
    header = bytes([0, 0, 8, array.ndim])
    header += np.array(array.shape, ">i4").tobytes()
    return gzip.compress(header + array.tobytes())


@pytest.fixture
def package(monkeypatch):
    """A package of few pictures instead of Debian's."""
    random = np.random.default_rng(0)
    counts = {"train": 20, "t10k": 10}
    contents, pixels, labels = {}, [], []
    for part, count in counts.items():
        pixels.append(random.integers(0, 256, (count, 28, 28), "uint8"))
        labels.append(random.integers(0, 10, count, "uint8"))
        name = f"usr/share/datasets/fashion-mnist/{part}"
        contents[f"{name}-images-idx3-ubyte.gz"] = idx(pixels[-1])
        contents[f"{name}-labels-idx1-ubyte.gz"] = idx(labels[-1])
    monkeypatch.setattr(builder, "_FILES", counts)
    monkeypatch.setattr(fetcher, "read_files", lambda *_: contents)
    splits = {"train": range(10), "validation": range(10, 20), "test": range(20, 30)}
    monkeypatch.setattr(pairs, "SOURCES", splits)
    return np.concatenate(pixels), np.concatenate(labels)


def test_examples_are_pairs_of_its_pictures(package, tmp_path):
    pixels, labels = package
    data = tfds.load("multi_fashion", data_dir=tmp_path, batch_size=-1)
    for split, sources in pairs.SOURCES.items():
        loaded = tfds.as_numpy(data[split])
        left, right = loaded["left_source"], loaded["right_source"]
        assert set(left) == set(sources) and set(right) <= set(sources)
        images = loaded["image"][..., 0]
        np.testing.assert_array_equal(images[:, :6, :28], pixels[left][:, :6])
        np.testing.assert_array_equal(images[:, 28:34, 6:34], pixels[right][:, 22:])
        np.testing.assert_array_equal(loaded["left"], labels[left])
        np.testing.assert_array_equal(loaded["right"], labels[right])


def test_the_card_and_no_builder_of_the_base(tmp_path):
    info = tfds.builder("multi_fashion", data_dir=tmp_path).info
    for word in ("Source:", "Licence:", "Splits:", "Leaks", "apt-get"):
        assert word in info.description
    assert keras_mtl.data.datasets.MultiFashion.name == info.name
    listed = tfds.list_builders(with_community_datasets=False)
    assert "multi_fashion" in listed and "overlapping_pairs" not in listed


@pytest.mark.parametrize("shape", [(3,), (2, 1)])
def test_another_array(shape):
    content = idx(np.zeros(2, "uint8"))
    with pytest.raises(ValueError, match=r"bytes of the shape .* file of 10 bytes"):
        builder.read_idx(content, shape)
