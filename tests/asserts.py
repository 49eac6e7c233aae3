"""Asserts that tests of several folders share."""

import contextlib

import pytest


@contextlib.contextmanager
def error_with(error: type[Exception], *parts: str):
    """Passes where the block raises `error` with all `parts` in its message."""
    with pytest.raises(error) as raised:
        yield
    message = str(raised.value)
    for part in parts:
        assert part in message, f"{part!r} is not in: {message}"
