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
    """Returns `value`, a number from zero to one."""
    return _check_number(name, value, "a number from 0 to 1", lambda v: 0 <= v <= 1)


def check_decay(name: str, value: Any) -> Any:
    """Returns `value`, a number of at least zero and below one."""
    return _check_number(name, value, "a number >= 0 and < 1", lambda v: 0 <= v < 1)


def check_preference(name: str, value: Any) -> list[float] | None:
    """Returns `value`, `None` or one number per task, none negative, one positive."""
    if value is None:
        return None
    numbers = isinstance(value, list | tuple) and all(map(_is_number, value))
    if not numbers or min(value, default=-1) < 0 or max(value) <= 0:
        raise ValueError(
            f"Expected `{name}` to be `None` or a list with one number >= 0 per "
            f"task, not all of them 0. Received: {name}={value!r}"
        )
    return [float(entry) for entry in value]


def check_length(name: str, value: Sequence | None, num_tasks: int) -> None:
    """Raises a `ValueError` for a list that has not one entry per task."""
    if value is not None and len(value) != num_tasks:
        raise ValueError(
            f"Expected `{name}` to have one entry per task, {num_tasks} in all. "
            f"Received: {name}={list(value)!r} with {len(value)} entries"
        )


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


def _is_number(value):
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)


def _check_number(name, value, wanted, holds):
    if not _is_number(value) or not holds(value):
        raise ValueError(
            f"Expected `{name}` to be {wanted}. Received: {name}={value!r}"
        )
    return value
