"""From what stands in a file to the value that the model gets; or a reason why not."""

import math
from typing import Any

import numpy as np

from keras_mtl.data.loaders.columns import SEQUENCES, Column, Label
from keras_mtl.data.loaders.images import image_source
from keras_mtl.data.loaders.rows import Row
from keras_mtl.data.loaders.schema import Schema

_NO_LABEL = {"number": np.float32(math.nan), "class": np.int64(-1)}
_LARGEST = float(np.finfo(np.float32).max)


def convert_row(row: Row, schema: Schema) -> dict[str, Any]:
    """The features of one row, inputs and labels.

    Args:
        row: The row as the file has it.
        schema: The schema.

    Returns:
        Dict from name to value, of the shape and dtype that `feature_spec` tells.

    Raises:
        ValueError: With the reason, if the row is bad.

    Example:
    >>> from keras_mtl.data.loaders.columns import Input
    >>> schema = Schema(format="csv", splits={"train": "a.csv"},
    ...                 inputs={"age": Input(kind="number")},
    ...                 labels={"size": Label(kind="class", classes=["S", "L"])})
    >>> features = convert_row(Row("a.csv", "row 1", {"age": "3", "size": "L"}), schema)
    >>> {name: value.tolist() for name, value in features.items()}
    {'age': 3.0, 'size': 1}
    """
    if row.reason is not None:
        raise ValueError(row.reason)
    features, lengths = {}, {}
    for name, column in schema.features.items():
        try:
            if column.kind in SEQUENCES:
                entries = _entries(row.values.get(column.columns[0]))
                lengths[name] = len(entries)
                features[name] = _sequence(entries, column)
            elif column.kind == "number" and column.shape:
                features[name] = _numbers(row, column)
            else:
                raw = _only(row.values.get(column.columns[0]))
                features[name] = _single(raw, column, row.file)
        except ValueError as error:
            raise ValueError(f"{name!r}: {error}") from error
    known = {name: length for name, length in lengths.items() if length}
    if len(set(known.values())) > 1:
        raise ValueError(f"Expected as many tags as tokens. Received: {known}")
    return features


def feature_spec(column: Column) -> tuple[tuple[int, ...], Any]:
    """Shape and NumPy dtype of what `convert_row` makes of a column.

    Text and tokens are strings; an image is its path or its encoded bytes.

    Example:
    >>> feature_spec(Label(kind="number", shape=[2]))
    ((2,), <class 'numpy.float32'>)
    """
    if column.kind in ("text", "tokens", "image"):
        return (() if column.kind == "image" else column.shape), np.object_
    return column.shape, np.float32 if column.kind == "number" else np.int64


def _single(raw, column, file):
    """One value of a kind that is no sequence."""
    if _is_missing(raw, column):
        if isinstance(column, Label):
            return _NO_LABEL[column.kind]
        if column.default is None:
            raise ValueError(
                "Expected a value. Received: none. (A `default` in the schema would "
                "stand for it)"
            )
        raw = column.default
    if column.kind == "image":
        return image_source(raw, column.shape, file)
    return _CONVERT[column.kind](raw, column)


def _numbers(row, column):
    """A vector (or more) of numbers, from several columns or from one list."""
    if len(column.columns) > 1:
        raw = [_only(row.values.get(name)) for name in column.columns]
    else:
        raw = _flat(row.values.get(column.columns[0]), column.shape)
    values = [_single(entry, column, row.file) for entry in raw]
    return np.array(values, np.float32).reshape(column.shape)


def _flat(raw, shape):
    size = math.prod(shape)
    if raw is None or raw == "":
        return [None] * size
    array = np.array(raw if isinstance(raw, list) else [raw], object)
    if array.shape not in ((size,), shape):
        raise ValueError(
            f"Expected numbers of shape {shape}. Received: shape={array.shape}"
        )
    return array.ravel().tolist()


def _sequence(entries, column):
    """Tokens or tags, cut or padded to the length of the column."""
    if column.kind == "tokens" and not entries:
        raise ValueError("Expected at least one token. Received: none")
    convert, padding = _ENTRIES[column.kind]
    length = column.shape[0]
    values = [convert(entry, column) for entry in entries][:length]
    values += [padding] * (length - len(values))
    return np.array(values, feature_spec(column)[1])


def _entries(raw):
    """What is given as a list, or as text with white space between the entries."""
    if isinstance(raw, str):
        return raw.split()
    return raw if isinstance(raw, list) else [] if raw is None else [raw]


def _only(raw):
    """The one entry of a list of one: TFRecords know lists only."""
    return raw[0] if isinstance(raw, list) and len(raw) == 1 else raw


def _is_missing(raw, column):
    raw = _decoded(raw)
    if raw is None or (raw == "" and column.kind != "text"):
        return True
    # In a CSV file every marker is text.
    return str(raw) in map(str, column.missing)


def _decoded(raw):
    if not isinstance(raw, bytes):
        return raw
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _number(raw, column):
    raw = _decoded(raw)
    try:
        if isinstance(raw, bool) or "_" in str(raw):
            raise TypeError
        value = float(raw)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"Expected a number. Received: {raw!r}") from None
    if not abs(value) <= _LARGEST:
        raise ValueError(f"Expected a finite number. Received: {raw!r}")
    return np.float32(_in_range(value, column))


def _integer(raw, column):
    raw = _decoded(raw)
    try:
        if isinstance(raw, bool | float) or "_" in str(raw):
            raise TypeError
        value = np.int64(int(raw))
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"Expected an integer. Received: {raw!r}") from None
    return _in_range(value, column)


def _in_range(value, column):
    lowest, highest = column.range or (-math.inf, math.inf)
    if not lowest <= value <= highest:
        raise ValueError(
            f"Expected a number in [{lowest}, {highest}]. Received: {value}"
        )
    return value


def _text(raw, column):
    raw = _decoded(raw)
    if not isinstance(raw, str):
        raise ValueError(f"Expected {column.kind}. Received: {raw!r}")
    return raw


def _token(raw, column):
    # An empty one would be padding.
    token = _text(raw, column)
    if not token:
        raise ValueError("Expected tokens that are not empty. Received: ''")
    return token


def _class(raw, column):
    """The index of a class, from its name or, if the classes have none, itself."""
    raw = _decoded(raw)
    raw = int(raw) if isinstance(raw, bool) and column.classes == 2 else raw
    if isinstance(raw, str | int) and str(raw) in column.class_indices:
        return np.int64(column.class_indices[str(raw)])
    names = column.class_names
    shown = list(names) if len(names) <= 12 else [*names[:11], "…", names[-1]]
    raise ValueError(f"Expected one of the classes {shown}. Received: {raw!r}")


def _tag(raw, column):
    return _NO_LABEL["class"] if _is_missing(raw, column) else _class(raw, column)


_CONVERT = {"number": _number, "integer": _integer, "text": _text, "class": _class}
# How an entry is read, and what stands behind the last one.
_ENTRIES = {"tokens": (_token, ""), "tags": (_tag, _NO_LABEL["class"])}
