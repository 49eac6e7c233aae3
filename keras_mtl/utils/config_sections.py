"""Sections of a configuration file: dicts that become small dataclasses."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from keras_mtl.utils.checks import check_count
from keras_mtl.utils.config_errors import at, check_keys


def parse_section(
    cls: Any, tree: Any, *, name: str, more: Mapping[str, Any] | None = None
) -> Any:
    """A section from its dict; unknown and missing keys are errors.

    Args:
        cls: The dataclass of the section.
        tree: The dict. `None` stands for the default of a key.
        name: What messages call the section.
        more: Fields that do not come from the file.

    Raises:
        ConfigError: If `tree` is no dict, or has other keys than `cls` has fields.

    Example:
    >>> Point = dataclasses.make_dataclass("Point", ["x", ("y", int, 0)])
    >>> parse_section(Point, {"x": 3}, name="point")
    Point(x=3, y=0)
    """
    more = more or {}
    fields = [field for field in dataclasses.fields(cls) if field.name not in more]
    tree = check_mapping(name, tree)
    check_keys(name, tree, [field.name for field in fields])
    for field in fields:
        default = field.default, field.default_factory
        if tree.get(field.name) is None and set(default) == {dataclasses.MISSING}:
            raise ValueError(f"Expected `{name}` to have the key `{field.name}`")
    given = {key: value for key, value in tree.items() if value is not None}
    return cls(**given, **more)


def check_mapping(name: str, value: Any) -> dict:
    """A dict of the keys and values in `value`."""
    if not isinstance(value, Mapping):
        raise ValueError(
            f"Expected `{name}` to be keys and values. Received: {name}={value!r}"
        )
    return dict(value)


def string_at(name: str, value: Any) -> None:
    """Raises a `ConfigError` unless the value of a key is a string."""
    with at(name):
        if not isinstance(value, str):
            raise ValueError(
                f"Expected `{name}` to be a string. Received: {name}={value!r}"
            )


def count_at(name: str, value: Any) -> None:
    """Raises a `ConfigError` unless the value of a key is an integer of 1 or more."""
    with at(name):
        check_count(name, value)
