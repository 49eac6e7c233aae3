"""Association of two labels against other ways to compute it."""

import itertools
import math

import numpy as np
import pytest

from keras_mtl.analysis.association import (
    label_correlation,
    mutual_information,
    ngrams,
    overlap,
    words,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_correlation_of_numbers_is_pearsons(rng):
    a = rng.normal(size=50)
    b = rng.normal(size=50) - a
    expected = np.corrcoef(a, b)[0, 1]
    assert expected < -0.5
    np.testing.assert_allclose(label_correlation(a, b), expected)
    np.testing.assert_allclose(label_correlation(b, 1e3 * a + 7), expected)


def test_correlation_of_two_pairs_of_classes_is_phi(rng):
    a = rng.integers(0, 2, 40)
    b = np.where(rng.random(40) < 0.3, a, 1 - a)
    np.testing.assert_allclose(label_correlation(a, b), np.corrcoef(a, b)[0, 1])


def test_correlation_of_numbers_and_classes_is_the_correlation_ratio(rng):
    classes = rng.integers(0, 4, 60)
    numbers = rng.normal(size=60) + np.array([0, 2, 1, 0])[classes]
    means = [numbers[classes == c].mean() for c in range(4)]
    between = sum((m - numbers.mean()) ** 2 for m in np.array(means)[classes])
    ratio = math.sqrt(between / ((numbers - numbers.mean()) ** 2).sum())
    np.testing.assert_allclose(label_correlation(classes, numbers), ratio)
    # The names of the classes mean nothing.
    renamed = np.array([9, 3, 5, 7])[classes]
    np.testing.assert_allclose(label_correlation(numbers, renamed), ratio)


def test_correlation_of_classes_is_the_maximal_one(rng):
    """The second singular value of P(a, b) / sqrt(P(a) P(b))."""
    a = rng.integers(0, 3, 90)
    b = np.where(rng.random(90) < 0.5, a + 1, rng.integers(0, 5, 90))
    counts = np.zeros((3, 5))
    np.add.at(counts, (a, b), 1 / 90)
    scale = np.sqrt(np.outer(counts.sum(1), counts.sum(0)))
    singular = np.linalg.svd(counts / scale, compute_uv=False)
    np.testing.assert_allclose(singular[0], 1)
    np.testing.assert_allclose(label_correlation(a, b), singular[1])


def test_correlation_of_vectors_is_the_best_of_all_directions(rng):
    a, b = rng.normal(size=(80, 2)), rng.normal(size=(80, 2))
    b[:, 0] += a.sum(axis=1)
    angles = np.linspace(0, np.pi, 181)
    directions = np.stack([np.cos(angles), np.sin(angles)])
    grid = [
        abs(np.corrcoef(first, second)[0, 1])
        for first, second in itertools.product((a @ directions).T, (b @ directions).T)
    ]
    np.testing.assert_allclose(label_correlation(a, b), max(grid), atol=1e-3)


def test_information_of_classes_by_hand(rng):
    a = rng.integers(0, 3, 200)
    b = np.where(rng.random(200) < 0.6, a % 2, rng.integers(0, 2, 200))

    def share(**wanted):
        rows = np.ones(200, bool)
        for name, value in wanted.items():
            rows &= {"a": a, "b": b}[name] == value
        return rows.mean()

    information = sum(
        share(a=i, b=j) * math.log(share(a=i, b=j) / (share(a=i) * share(b=j)))
        for i in range(3)
        for j in range(2)
    )
    entropy = -sum(share(b=j) * math.log(share(b=j)) for j in range(2))
    np.testing.assert_allclose(mutual_information(a, b), information / entropy)
    np.testing.assert_allclose(mutual_information(b, a), information / entropy)


def test_information_of_numbers_by_bins(rng):
    """Quarters of 400 different numbers, against the classes that the ranks tell."""
    a = rng.normal(size=400)
    b = a + rng.normal(size=400)
    quarters = [np.argsort(np.argsort(x)) // 100 for x in (a, b)]
    expected = mutual_information(*quarters)
    np.testing.assert_allclose(mutual_information(a, b, num_bins=4), expected)
    assert 0.1 < expected < 0.9
    np.testing.assert_allclose(mutual_information(a, -np.exp(a), num_bins=4), 1)


@pytest.mark.parametrize("constant", [np.zeros(30, int), np.full(30, 0.1)])
def test_what_never_varies_is_unknown(constant, rng):
    for other in (rng.normal(size=30), rng.integers(0, 3, 30)):
        for measure in (label_correlation, mutual_information):
            assert math.isnan(measure(constant, other))
            assert math.isnan(measure(other, constant))


def test_information_of_a_vector_is_unknown(rng):
    assert math.isnan(mutual_information(rng.normal(size=(30, 2)), np.arange(30)))


def test_overlap():
    a, b = ["x", "y", "x", "x"], ["x", "z"]
    assert overlap(a, b) == 1 / 3
    assert overlap(a, b, weighted=True) == 0.5
    assert overlap(a, a) == overlap(a, a, weighted=True) == 1
    assert overlap(a, ["z"]) == overlap(a, ["z"], weighted=True) == 0
    assert math.isnan(overlap(a, []))


def test_words_and_ngrams():
    assert words("Größe: 3,5 cm – O.K.") == ["größe", "3", "5", "cm", "o", "k"]
    assert ngrams([3, 1, 2], 2) == [(3, 1), (1, 2)]
    assert ngrams([3]) == []
