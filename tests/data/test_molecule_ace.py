"""`molecule_ace`: what the card says about labels, splits and leaks is true."""

import csv
import io
import math

import numpy as np
import pytest
import tensorflow_datasets as tfds

import keras_mtl.data.datasets
from keras_mtl.data import fetcher
from keras_mtl.data.catalogue import DATASETS
from keras_mtl.data.datasets.molecule_ace import builder as builders


@pytest.fixture(scope="module")
def table():
    return builders.load_table()


@pytest.fixture(scope="module")
def rows():
    """All rows of the files, as `(target, row)`."""
    files = fetcher.read_files("MoleculeACE", "*/benchmark_data/CHEMBL*.csv")
    return [
        (builders.TARGETS.index(path.rsplit("/", 1)[-1].removesuffix(".csv")), row)
        for path, content in files.items()
        for row in csv.DictReader(io.StringIO(content.decode()))
    ]


def test_sizes_and_shares_of_the_card(table):
    assert table["activity"].shape == (35633, 30)
    there = np.isfinite(table["activity"])
    assert there.sum() == 48714
    assert there.mean() == pytest.approx(0.0456, abs=5e-5)
    per_target = there.sum(axis=0)
    assert (per_target.min(), per_target.max()) == (615, 3657)
    counts = np.bincount(there.sum(axis=1)).tolist()
    assert (counts[:3], sum(counts[3:]), len(counts)) == ([0, 26126, 6722], 2785, 10)


def test_every_measurement_is_in_its_place(table, rows):
    assert len(rows) == 48714
    place = {molecule: row for row, molecule in enumerate(table["smiles"])}
    for target, row in rows[::50]:
        value = table["activity"][place[row["smiles"]], target]
        assert value == np.float32(row["y"])
        assert value == pytest.approx(
            -math.log10(float(row["exp_mean [nM]"])), abs=1e-3
        )


def test_split_of_the_package_leaks_as_the_card_says(rows):
    parts = {"train": set(), "test": set()}
    for _, row in rows:
        parts[row["split"]].add(row["smiles"])
    assert len(parts["train"] & parts["test"]) == 3545


def test_molecules_without_stereo_marks(table):
    def plain(smiles):
        """Without the marks of double bonds and of carbon atoms."""
        for mark in ("[C@@H]", "[C@H]", "[C@@]", "[C@]"):
            smiles = smiles.replace(mark, "C")
        return smiles.replace("/", "").replace("\\", "")

    names = [plain(smiles) for smiles in table["smiles"]]
    _, counts = np.unique(names, return_counts=True)
    assert (counts.max(), (counts == 2).sum()) == (2, 38)


def test_splits_are_disjoint_and_have_every_target(table):
    parts = builders.split_molecules(len(table["smiles"]))
    everything = np.concatenate(list(parts.values()))
    assert sorted(everything) == list(range(35633))
    sizes = {split: len(part) for split, part in parts.items()}
    assert DATASETS["molecule_ace"].splits == sizes
    labels = np.isfinite(table["activity"]).sum(axis=0)
    for split, share in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
        found = np.isfinite(table["activity"][parts[split]]).sum(axis=0)
        # Five standard deviations of a fair draw.
        assert np.all(abs(found - share * labels) < 5 * np.sqrt(share * labels))


def test_loaded_examples_are_the_molecules(monkeypatch, table, tmp_path):
    few = {name: values[::150] for name, values in table.items()}
    monkeypatch.setattr(builders, "load_table", lambda: few)
    parts = builders.split_molecules(len(few["molecule"]))
    data = tfds.load("molecule_ace", data_dir=tmp_path, batch_size=-1)
    for split, positions in parts.items():
        positions = np.sort(positions)
        loaded = tfds.as_numpy(data[split])
        order = np.argsort(loaded["molecule"])
        smiles = [value.decode() for value in loaded["smiles"][order]]
        assert smiles == few["smiles"][positions].tolist()
        for name in ("activity", "molecule"):
            np.testing.assert_array_equal(loaded[name][order], few[name][positions])


def test_info_is_a_card(tmp_path):
    info = tfds.builder("molecule_ace", data_dir=tmp_path).info
    for word in ("Source:", "Licence:", "Splits:", "Leaks", "MoleculeACE"):
        assert word in info.description
    assert info.features["activity"].shape == (30,)
    assert keras_mtl.data.datasets.MoleculeACE.name == info.name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"smiles,activity\nCC,1\n", r"columns 'smiles' and 'y' in a\.csv.*activity"),
        (b"smiles,y\nCC,1\nCC,2\n", r"every molecule once in a\.csv.*'CC'"),
    ],
)
def test_files_of_another_form_are_refused(monkeypatch, content, message):
    monkeypatch.setattr(fetcher, "read_files", lambda *_: {"a.csv": content})
    with pytest.raises(ValueError, match=message):
        builders.load_table()
