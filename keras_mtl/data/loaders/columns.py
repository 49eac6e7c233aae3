"""What a schema says of one input or label: its kind, its columns, what is right."""

import dataclasses
import functools
from typing import Any, ClassVar

from keras_mtl.utils.checks import check_choice, check_count
from keras_mtl.utils.config_errors import at

INPUT_KINDS = ("number", "integer", "text", "tokens", "image")
LABEL_KINDS = ("class", "number", "tags")
SEQUENCES = ("tokens", "tags")

# An example for messages, and the ranks that are possible.
_SHAPES = {
    "image": ("[height, width, channels]", (3,)),
    "number": ("[3]", (0, 1, 2, 3)),
    "tags": ("[length]", (1,)),
    "tokens": ("[length]", (1,)),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """What both inputs and labels say of themselves.

    Args:
        kind: See `Input` and `Label`.
        columns: Name of the column (the key, the feature) in the file, or a list of
            names, whose numbers become one vector. Default: the name in the schema.
        shape: Shape of one value, a list; `[]` for a single one. Longer or shorter
            sequences (`tokens`, `tags`) are cut or padded to it.
        missing: Value, or list of values, that means "not there". An absent key and
            `null` always do, and so does an empty field, except for text.
        range: `[lowest, highest]` number that can be right.
    """

    kind: str
    columns: Any = None
    shape: Any = None
    missing: Any = ()
    range: Any = None

    _kinds: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self):
        with at("kind"):
            check_choice("kind", self.kind, self._kinds)
        with at("shape"):
            object.__setattr__(self, "shape", self._checked_shape())
        missing = self.missing
        missing = missing if isinstance(missing, list | tuple) else [missing]
        object.__setattr__(self, "missing", tuple(missing))
        with at("range"):
            self._check_range()

    def named(self, name: str) -> "Column":
        """The same with the names of its columns in the file."""
        columns = name if self.columns is None else self.columns
        if not isinstance(columns, str):
            with at("columns"):
                texts = isinstance(columns, list) and all(
                    isinstance(entry, str) for entry in columns
                )
                if not texts or not columns or self.kind != "number":
                    raise ValueError(
                        "Expected `columns` to be a name, or a list of names of "
                        f"numbers. Received: columns={columns!r}"
                    )
        columns = (columns,) if isinstance(columns, str) else tuple(columns)
        return dataclasses.replace(self, columns=columns)

    def _checked_shape(self):
        if isinstance(self.columns, list) and self.shape is None:
            return (len(self.columns),)
        shape = () if self.shape is None else self.shape
        example, ranks = _SHAPES.get(self.kind, ("[]", (0,)))
        is_list = isinstance(shape, list | tuple)
        if not is_list or len(shape) not in ranks or isinstance(self.columns, list):
            raise ValueError(
                f"Expected `shape` of {self.kind} to be a list such as {example}, and "
                f"none beside a list of `columns`. Received: shape={self.shape!r}"
            )
        return tuple(check_count("shape", size) for size in shape)

    def _check_range(self):
        limits = self.range
        if limits is None:
            return
        numbers = isinstance(limits, list | tuple) and all(
            isinstance(limit, int | float) for limit in limits
        )
        if self.kind not in ("number", "integer") or not numbers or len(limits) != 2:
            raise ValueError(
                "Expected `range` to be [lowest, highest], of a number. "
                f"Received: range={limits!r}"
            )
        if limits[0] > limits[1]:
            raise ValueError(
                f"Expected `range` to be in order. Received: range={limits!r}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Input(Column):
    """An input of the model.

    Args:
        kind: `number` (float32), `integer` (int64), `text` (a string, also for
            categories, which a lookup in the model reads), `tokens` (strings, padded
            with `""`), or `image` (a file, or encoded bytes; uint8 of `shape`).
        columns: As in `Column`.
        shape: As in `Column`.
        missing: As in `Column`.
        range: As in `Column`.
        default: What stands for a value that is missing. Without it, a row that
            lacks the input is an error.
    """

    default: Any = None

    _kinds = INPUT_KINDS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Label(Column):
    """A label of a task; it may be missing.

    Args:
        kind: `class` (int64 index, -1 where it is missing), `number` (float32, NaN
            where it is missing), or `tags` (a class per token, padded with -1).
        columns: As in `Column`.
        shape: As in `Column`.
        missing: As in `Column`.
        range: As in `Column`.
        classes: Of `class` and `tags`: the names of the classes in the order of
            their indices; or how many, if the file holds the indices.
    """

    classes: Any = None

    _kinds = LABEL_KINDS

    def __post_init__(self):
        super().__post_init__()
        with at("classes"):
            if self.kind == "number":
                if self.classes is not None:
                    raise ValueError(
                        "Expected a number to have no `classes`. "
                        f"Received: classes={self.classes!r}"
                    )
            elif isinstance(self.classes, list | tuple):
                object.__setattr__(self, "classes", _class_names(self.classes))
            else:
                check_count("classes", self.classes, 2)

    @functools.cached_property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes; their indices as text if they have no names."""
        if isinstance(self.classes, int):
            return tuple(str(index) for index in range(self.classes))
        return self.classes or ()

    @functools.cached_property
    def class_indices(self) -> dict[str, int]:
        """The index of each class by its name."""
        return {name: index for index, name in enumerate(self.class_names)}


def _class_names(classes):
    """The names as text."""
    texts = [str(name) for name in classes]
    # YAML reads `yes` and `no` as booleans.
    plain = all(isinstance(name, str) or type(name) is int for name in classes)
    if not plain or len(set(texts)) != len(texts) or len(texts) < 2:
        raise ValueError(
            "Expected `classes` to be two names or more, texts (in quotes, if need be) "
            f"or integers, none of them twice. Received: classes={list(classes)!r}"
        )
    return tuple(texts)
