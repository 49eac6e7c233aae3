"""Relevance of tasks: which rows count, and what is not known."""

import numpy as np
import pytest

from keras_mtl.analysis import LabelledRows, task_relevance
from keras_mtl.analysis.association import label_correlation, mutual_information
from keras_mtl.plots import figure_array


@pytest.fixture
def labels():
    rng = np.random.default_rng(1)
    kind = rng.integers(0, 3, 60)
    size = kind + rng.normal(size=60)
    kind[:20] = -1
    size[35:] = np.nan
    rare = np.full(60, np.nan)
    rare[25:30] = rng.normal(size=5)
    return {"kind": kind, "size": size, "rare": rare}


def test_only_common_rows_count(labels):
    report = task_relevance(LabelledRows(labels), min_common=15)
    assert report.task_names == ("kind", "size", "rare")
    assert report.num_common.tolist() == [[40, 15, 5], [15, 35, 5], [5, 5, 5]]
    kind, size = labels["kind"][20:35], labels["size"][20:35]
    for name, measure in (
        ("correlation", label_correlation),
        ("information", mutual_information),
    ):
        matrix = report.measures[name]
        np.testing.assert_allclose(matrix[0, 1], measure(kind, size))
        np.testing.assert_allclose(matrix[:2, :2].diagonal(), 1)
        np.testing.assert_array_equal(matrix, matrix.T)
        assert np.isnan(matrix[2]).all()
    assert list(report.measures) == ["correlation", "information"]


def test_too_few_common_rows_are_shown_as_such(labels):
    report = task_relevance(LabelledRows(labels))
    cells = [line.split() for line in str(report).splitlines()[2:]]
    assert cells[0] == ["kind", "size", "15", "–", "–"]
    pixels = figure_array(report.figure())
    assert pixels.shape[1] > 2 * pixels.shape[0] * 0.8
    assert (pixels == 200).all(axis=-1).mean() > 0.05  # grey cells


def test_tags_of_the_same_tokens():
    rng = np.random.default_rng(2)
    pos = rng.integers(0, 3, (10, 6))
    entity = np.where(rng.random((10, 6)) < 0.5, pos // 2, 1)
    pos[:, 4:] = -1
    entity[0] = -1
    rows = LabelledRows({"pos": pos, "entity": entity, "genre": pos[:, 0] % 2})
    report = task_relevance(rows, min_common=5)
    tokens = mutual_information(pos[1:, :4].ravel(), entity[1:, :4].ravel())
    np.testing.assert_allclose(report.measures["information"][0, 1], tokens)
    assert report.num_common[0].tolist() == [10, 9, 10]
    # A class per token and one per text: not comparable.
    assert np.isnan(report.measures["information"][2, :2]).all()


def test_inputs_and_words_of_one_data_set():
    rows = LabelledRows(
        {"a": np.array([0, 1, -1]), "b": np.array([np.nan, 2.0, 3.0])},
        inputs=["x", "y", "x"],
        texts=["Go home", "stay home", "Go on"],
        tags=np.array([[0, 1, 2, 3], [0, 1, 2, -1], [4, 4, 4, 4]]),
    )
    measures = task_relevance(rows).measures
    assert measures["inputs"][0, 1] == 1.0  # both label an x and a y
    assert measures["vocabulary"][0, 1] == 3 / 4  # go stay home of go stay home on
    # a: go, home twice, stay; b: stay, home, go, on, each a quarter.
    assert measures["words"][0, 1] == 3 / 4
    # a: 012, 123, 012; b: 012, 444, 444.
    np.testing.assert_allclose(measures["tags"][0, 1], 1 / 3)


def test_tasks_with_rows_of_their_own():
    data = {
        "news": LabelledRows({"topic": np.arange(30) % 3}, inputs=range(30)),
        "mail": LabelledRows(
            {"spam": np.arange(20) % 2, "size": np.arange(20.0)}, inputs=range(20, 40)
        ),
    }
    report = task_relevance(data)
    assert report.task_names == ("news/topic", "mail/spam", "mail/size")
    assert report.num_common.tolist() == [[30, 0, 0], [0, 20, 20], [0, 20, 20]]
    assert np.isnan(report.measures["correlation"][0, 1:]).all()
    assert report.measures["inputs"][0].tolist() == [1.0, 10 / 40, 10 / 40]


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (LabelledRows({"a": np.zeros(3)}), {}, r"two tasks or more.*\['a'\]"),
        (LabelledRows({"a": np.zeros(3), "b": np.zeros(2)}), {}, "one length"),
        (
            LabelledRows({"a": np.zeros(3), "b": np.zeros(3)}, texts=["x"]),
            {},
            r"one length.*\[1, 3, 3\]",
        ),
        (
            LabelledRows({"a": np.zeros(3), "b": np.zeros(3)}),
            {"min_common": 1},
            "min_common",
        ),
    ],
)
def test_what_cannot_be_compared(rows, options, message):
    with pytest.raises(ValueError, match=message):
        task_relevance(rows, **options)
