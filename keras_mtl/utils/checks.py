"""Argument checks with the wording of Keras."""

import math
from collections.abc import Iterable, Sequence
from typing import Any


def check_positive(name: str, value: Any) -> Any:
    """Returns `value`, a finite number above zero."""
    return _check_number(name, value, "a number > 0", lambda v: v > 0)


def check_non_negative(name: str, value: Any) -> Any:
    """Returns `value`, a finite number of at least zero."""
    return _check_number(name, value, "a number >= 0", lambda v: v >= 0)


def check_share(name: str, value: Any) -> Any:
    """Returns `value`, a number from 0 to 1."""
    return _check_number(name, value, "a number in [0, 1]", lambda v: 0 <= v <= 1)


def check_count(name: str, value: Any, minimum: int = 1) -> int:
    """Returns `value`, an integer of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ValueError(
            f"Expected `{name}` to be an integer >= {minimum}. "
            f"Received: {name}={value!r}"
        )
    return value


def check_choice(name: str, value: Any, choices: tuple) -> Any:
    """Returns `value`, one of `choices`."""
    if value not in choices:
        raise ValueError(
            f"Expected `{name}` to be one of {list(choices)}. "
            f"Received: {name}={value!r}"
        )
    return value


def check_keys(name: str, keys: Iterable[str], task_names: Sequence[str]) -> None:
    """Raises a `ValueError` for a key that is the name of no task."""
    unknown = sorted(set(keys) - set(task_names))
    if unknown:
        raise ValueError(
            f"Expected the keys of `{name}` to be task names {list(task_names)}. "
            f"Received: {unknown}"
        )


def check_preference(name: str, value: Sequence | None) -> list | None:
    """Returns `value`, non-negative numbers that are not all zero, or None."""
    if value is None:
        return None
    numbers = value if isinstance(value, list | tuple) else []
    if not any(numbers) or not all(_is_number(v) and v >= 0 for v in numbers):
        raise ValueError(
            f"Expected `{name}` to be a list of numbers >= 0, at least one of them "
            f"above 0, or None. Received: {name}={value!r}"
        )
    return list(numbers)


def check_length(name: str, value: Sequence | None, num_tasks: int) -> None:
    """Raises a `ValueError` where a list has not one entry per task."""
    if value is not None and len(value) != num_tasks:
        raise ValueError(
            f"Expected `{name}` to have one entry for each of the {num_tasks} tasks. "
            f"Received: {name}={value!r}, of length {len(value)}"
        )


def _check_number(name, value, wanted, holds):
    if not _is_number(value) or not holds(value):
        raise ValueError(
            f"Expected `{name}` to be {wanted}. Received: {name}={value!r}"
        )
    return value


def _is_number(value):
    """Whether `value` is a finite number."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)
