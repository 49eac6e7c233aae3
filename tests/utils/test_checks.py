"""Argument checks return the value, or name argument and value."""

import math

import numpy as np
import pytest

from keras_mtl.utils import checks


@pytest.mark.parametrize(
    ("check", "good"),
    [
        (checks.check_positive, [1, 0.1, 1e-300, np.float64(2.0)]),
        (checks.check_non_negative, [0, 0.0, 3, 1e10]),
        (checks.check_share, [0, 1, 0.5]),
        (checks.check_decay, [0, 0.0, 0.999]),
        (checks.check_preference, [None, [1.0], [0.0, 2.0], [1, 0]]),
        (checks.check_count, [1, 7]),
        (checks.check_preference, [None, [1], [0, 2.5], [0.0, np.float64(1)]]),
    ],
)
def test_good_values_are_returned(check, good):
    for value in good:
        assert check("size", value) == value


@pytest.mark.parametrize(
    ("check", "wanted", "bad"),
    [
        (checks.check_positive, "a number > 0", [0, -1, math.nan, math.inf]),
        (checks.check_positive, "a number > 0", ["1", None, True, [1]]),
        (checks.check_non_negative, "a number >= 0", [-1e-9, math.nan, -math.inf]),
        (checks.check_non_negative, "a number >= 0", ["0", None, False]),
        (
            checks.check_share,
            "a number from 0 to 1",
            [-1e-9, 1.01, "1", True],
        ),
        (checks.check_decay, "a number >= 0 and < 1", [-1e-9, 1, math.nan, None]),
        (checks.check_preference, "one number >= 0 per task", [0.5, "ab", [], {}]),
        (checks.check_preference, "not all of them 0", [[0, 0.0], [1, -1], [math.nan]]),
        (checks.check_preference, "`None` or a list", [["1"], [True], [None], (-1.0,)]),
        (checks.check_count, "an integer >= 1", [0, -1, 1.0, True, None, "1"]),
    ],
)
def test_bad_values_are_named(check, wanted, bad):
    for value in bad:
        with pytest.raises(ValueError, match="Expected `size`") as error:
            check("size", value)
        assert wanted in str(error.value)
        assert f"Received: size={value!r}" in str(error.value)


def test_minimum_of_a_count():
    assert checks.check_count("size", 0, minimum=0) == 0
    with pytest.raises(ValueError, match="an integer >= 3"):
        checks.check_count("size", 2, minimum=3)


def test_choice():
    assert checks.check_choice("mode", "a", ("a", "b")) == "a"
    with pytest.raises(ValueError, match=r"one of \['a', 'b'\]. Received: mode='c'"):
        checks.check_choice("mode", "c", ("a", "b"))


def test_length_of_a_list_per_task():
    checks.check_length("preference", None, 3)
    checks.check_length("preference", [1, 2, 3], 3)
    with pytest.raises(ValueError, match="one entry per task, 3 in all") as error:
        checks.check_length("preference", [1.0, 2.0], 3)
    assert "preference=[1.0, 2.0] with 2 entries" in str(error.value)
