"""Rates and the order of a mixture, against what they promise."""

import math

import numpy as np
import pytest

from keras_mtl.data.plan import Plan
from keras_mtl.data.rates import (
    AnnealedTemperature,
    read_rates,
    temperature_rates,
)
from tests.asserts import error_with

SIZES = [40, 9, 150]
NAMES = ["a", "b", "c"]


def plan(
    rates=1.0, *, sizes=SIZES, batch_size=16, stop="first", seed=3, one_task=False
):
    names = [str(index) for index in range(len(sizes))]
    return Plan(
        sizes,
        batch_size,
        rates=read_rates(rates, names, sizes),
        one_task=one_task,
        seed=seed,
        stop=stop,
    )


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [
        (1.0, [0.9, 0.1]),
        (2.0, [0.75, 0.25]),
        (math.inf, [0.5, 0.5]),
        (1e-3, [1.0, 0.0]),
    ],
)
def test_temperature(temperature, expected):
    np.testing.assert_allclose(temperature_rates([900, 100], temperature), expected)


def test_words_are_temperatures():
    steps = np.arange(2)
    for word, temperature in (("proportional", 1.0), ("uniform", math.inf)):
        np.testing.assert_array_equal(
            read_rates(word, NAMES, SIZES)(steps),
            read_rates(temperature, NAMES, SIZES)(steps),
        )


def test_rates_that_change_see_the_step_of_training():
    annealed = read_rates(AnnealedTemperature(1.0, 3.0, steps=10), NAMES, SIZES)
    expected = [temperature_rates(SIZES, t) for t in (1.0, 2.0, 3.0, 3.0)]
    np.testing.assert_allclose(annealed(np.array([0, 5, 10, 99])), expected)
    seen = []

    def by_step(step):
        seen.append(step)
        return [1, step, 0]

    made = plan(by_step, stop=2, batch_size=4)
    seen.clear()
    counts = made.counts(epoch=3)
    assert seen == [6, 7]
    assert (counts[:, 1] >= 3).all()
    assert (counts[:, 2] == 0).all()


@pytest.mark.parametrize(
    ("rates", "parts"),
    [
        ("equal", ["['proportional', 'uniform']", "rates='equal'"]),
        (0, ["rates=0"]),
        (-1.0, ["rates=-1.0"]),
        (True, ["rates=True"]),
        (float("nan"), ["rates=nan"]),
        ([1.0, 2.0], ["`rates`", "3 in all", "2 entries"]),
        ([1.0, -1.0, 1.0], ["['a', 'b', 'c']", "-1.0"]),
        ([0.0, 0.0, 0.0], ["not all of them 0", "0.0"]),
        ([1.0, float("inf"), 1.0], ["finite", "inf"]),
        (lambda step: [1.0], ["`rates`", "1 entries"]),
    ],
)
def test_wrong_rates(rates, parts):
    with error_with(ValueError, *parts):
        read_rates(rates, NAMES, SIZES)


@pytest.mark.parametrize("name", ["start", "end", "steps"])
def test_wrong_annealing(name):
    options = {"start": 1.0, "end": 2.0, "steps": 3, name: 0}
    with error_with(ValueError, f"{name}=0"):
        AnnealedTemperature(**options)


@pytest.mark.parametrize("one_task", [False, True])
@pytest.mark.parametrize("rates", [1.0, math.inf, [0.0, 5.0, 3.0]])
def test_counts_follow_the_rates(rates, one_task):
    made = plan(rates, stop=400, one_task=one_task)
    counts = made.counts(epoch=2)
    share = read_rates(rates, NAMES, SIZES)(np.zeros(1))[0]
    assert (counts.sum(axis=1) == 16).all()
    if one_task:
        assert (counts.max(axis=1) == 16).all()
    else:
        assert np.abs(counts - 16 * share).max() < 1
    unit = 16 if one_task else 1
    drift = np.cumsum(counts, axis=0) / unit
    drift -= np.arange(1, 401)[:, None] * share * (16 / unit)
    assert np.abs(drift).max() < 5  # It would be over 20 with independent draws.
    assert (counts[:, share == 0] == 0).all()


def by_loop(made, epoch):
    """Places one example after the other, with a counter per data set."""
    starts = np.cumsum(made.sizes) - made.sizes
    given = [0] * len(made.sizes)
    rows = []
    for batch in made.sets(epoch):
        rows.append([])
        for index in batch:
            number, place = divmod(given[index], made.sizes[index])
            order = np.random.default_rng([made.seed, epoch, index, number])
            order = order.permutation(made.sizes[index])
            rows[-1].append(starts[index] + order[place])
            given[index] += 1
    return np.array(rows)


@pytest.mark.parametrize("one_task", [False, True])
def test_rows_are_those_of_a_loop(one_task):
    made = plan(math.inf, stop=9, one_task=one_task)
    np.testing.assert_array_equal(made.rows(4), by_loop(made, 4))
    counts = [np.bincount(batch, minlength=3) for batch in made.sets(4)]
    np.testing.assert_array_equal(counts, made.counts(4))


def test_order_is_a_function_of_seed_and_epoch():
    rows = plan(2.0, stop=5).rows(1)
    np.testing.assert_array_equal(plan(2.0, stop=5).rows(1), rows)
    assert (plan(2.0, stop=5).rows(2) != rows).any()
    assert (plan(2.0, stop=5, seed=-4).rows(1) != rows).any()
    # The rates of other epochs do not matter to it.
    other = plan("uniform", stop=5)
    other.rates = plan(2.0, stop=5, seed=9).rates
    np.testing.assert_array_equal(other.rows(1), rows)


@pytest.mark.parametrize("one_task", [False, True])
@pytest.mark.parametrize("rates", [1.0, 3.0, [1.0, 1.0, 0.0]])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_stop(rates, one_task, batch_size):
    options = {"batch_size": batch_size, "one_task": one_task}
    sizes = np.array(SIZES)
    first = plan(rates, stop="first", **options)
    longer = plan(rates, stop=first.steps + 1, **options)
    for epoch in (0, 3):
        rows = first.rows(epoch)
        assert rows.shape == (first.steps, batch_size)
        assert len(np.unique(rows)) == rows.size
        assert (longer.counts(epoch).sum(axis=0) > sizes).any()
    every = plan(rates, stop="all", **options)
    used = every.counts(0).sum(axis=0) > 0
    for epoch in (0, 3):
        assert len(np.unique(every.rows(epoch))) == sizes[used].sum()
        before = every.counts(epoch, 0, every.steps - 1).sum(axis=0)
        assert (before < sizes)[used].any()


def test_long_epochs_are_sought_in_pieces():
    made = plan("uniform", sizes=[3, 9000], batch_size=2, stop="all")
    assert abs(made.steps - 9000) <= 2


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"stop": "last"}, ["['first', 'all']", "stop='last'"]),
        ({"stop": 0}, ["`stop`", "stop=0"]),
        ({"batch_size": 200}, ["no batch", "batch_size"]),
        ({"rates": [1.0, 1e-12, 1.0], "stop": "all"}, ["at most", "stop='all'"]),
    ],
)
def test_wrong_stop(options, parts, monkeypatch):
    monkeypatch.setattr("keras_mtl.data.plan._MOST_STEPS", 20000)
    with error_with(ValueError, *parts):
        plan(**{"rates": 1.0, **options})
