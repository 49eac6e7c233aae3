"""Rows of CSV, JSONL, CoNLL, TFRecord files and image folders, with their places.

A row that cannot be read comes as one with a `reason`; a file that cannot be read at
all is an error.
"""

import csv
import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from keras_mtl.data.loaders.schema import Schema, check_columns

_IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")


@dataclasses.dataclass(frozen=True)
class Row:
    """One example as the file has it.

    Args:
        file: The file.
        place: Where in it, for messages: `"row 3 (line 4)"`.
        values: Dict from column to what stands there.
        reason: Why it cannot be read, or `None`.
    """

    file: str
    place: str
    values: Mapping[str, Any]
    reason: str | None = None


def read_rows(file: str, schema: Schema) -> Iterator[Row]:
    """The rows of one file, in their order.

    Args:
        file: Path of the file; of a folder for `images`.
        schema: The schema, which tells the format.

    Raises:
        ValueError: If the file lacks a column that the schema needs.
        OSError: If it cannot be opened.

    Example:
    >>> import pathlib, tempfile
    >>> from keras_mtl.data.loaders.columns import Input, Label
    >>> schema = Schema(format="jsonl", splits={"train": "a.jsonl"},
    ...                 inputs={"age": Input(kind="number")},
    ...                 labels={"bought": Label(kind="class", classes=2)})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "a.jsonl")
    ...     _ = file.write_text('{"age": 30, "bought": 1}')
    ...     [(row.place, row.values) for row in read_rows(str(file), schema)]
    [('line 1', {'age': 30, 'bought': 1})]
    """
    return _READERS[schema.format](file, schema)


def _read_csv(file, schema):
    """Rows below a header, or of the columns that the schema names."""
    taken: list[str] = []
    with _open(file) as stream:
        lines = _recorded(stream, taken)
        reader = csv.reader(lines, delimiter=schema.delimiter or ",", strict=True)
        names = _csv_header(reader, file, schema)
        number = 0
        while True:
            taken.clear()
            first = reader.line_num + 1
            try:
                fields, reason = next(reader, None), None
            except csv.Error as error:
                fields, reason = ["?"], _csv_damage(error)
            if fields is None:
                return
            if not fields:
                continue
            number += 1
            reason = reason or _encoding(fields)
            if reason is None and len(fields) != len(names):
                reason = (
                    f"Expected {len(names)} fields, one per column. "
                    f"Received: {len(fields)}"
                )
            values = _text(taken) if reason else dict(zip(names, fields, strict=True))
            yield Row(file, f"row {number} (line {first})", values, reason)


def _csv_header(reader, file, schema):
    """Names of the columns; an empty file has those that are needed, and no row."""
    if schema.columns is not None:
        return list(schema.columns)
    try:
        names = next(reader, schema.needed)
    except csv.Error as error:
        raise ValueError(f"{file}, line 1: damaged header: {error}") from error
    check_columns(file, names, schema)
    return names


def _csv_damage(error):
    closed = "" if "end of data" not in str(error) else ": a quote is never closed"
    return f"no CSV: {error}{closed}"


def _read_jsonl(file, _):
    with _open(file) as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            place, reason, values = f"line {number}", _encoding([line]), None
            try:
                values = json.loads(line)
            # Also numbers of too many digits, and lists in lists in lists.
            except (ValueError, RecursionError) as error:
                reason = reason or f"no JSON: {error}"
            if reason is None and not isinstance(values, dict):
                reason = f"Expected a JSON object. Received: {type(values).__name__}"
            values = values if isinstance(values, dict) else _text([line])
            yield Row(file, place, values, reason)


def _read_conll(file, schema):
    """Sentences; each column is the list of its tokens' fields."""
    lines: list[tuple[int, str]] = []
    with _open(file) as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                # CoNLL-2003 separates documents like this.
                if not line.startswith("-DOCSTART-"):
                    lines.append((number, line))
            elif lines:
                yield _sentence(file, lines, schema)
                lines = []
    if lines:
        yield _sentence(file, lines, schema)


def _sentence(file, lines, schema):
    names, tokens = schema.columns, []
    place = f"lines {lines[0][0]} to {lines[-1][0]}"
    reason = _encoding(line for _, line in lines)
    for number, line in lines:
        tokens.append(line.rstrip("\r\n").split(schema.delimiter))
        if reason is None and len(tokens[-1]) != len(names):
            reason = (
                f"line {number}: Expected {len(names)} fields, one per column. "
                f"Received: {len(tokens[-1])}"
            )
    if reason is not None:
        return Row(file, place, _text(line for _, line in lines), reason)
    columns = [list(column) for column in zip(*tokens, strict=True)]
    return Row(file, place, dict(zip(names, columns, strict=True)))


def _read_tfrecord(file, _):
    """Records; a torn file ends with a row that says so."""
    import tensorflow as tf

    records = iter(tf.data.TFRecordDataset(file))
    number = 0
    while True:
        number += 1
        place = f"record {number}"
        try:
            record = next(records, None)
        except tf.errors.DataLossError as error:
            reason = f"the file is torn or damaged from here on: {error.message}"
            yield Row(file, place, {}, reason)
            return
        if record is None:
            return
        yield _record(file, place, record.numpy())


def _record(file, place, raw):
    import tensorflow as tf

    try:
        example = tf.train.Example.FromString(raw)
    # What protobuf raises has another name in each of its implementations.
    except Exception as error:
        return Row(file, place, {}, f"no tf.train.Example: {error}")
    values = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        entries = list(getattr(feature, kind).value) if kind else []
        # TFRecords know lists only: one entry may be a single value or a list.
        values[name] = entries or None
    return Row(file, place, values)


def _read_images(folder, _):
    """Image files, by folder, then by name."""
    if not os.path.isdir(folder):
        raise ValueError(
            f"Expected a folder with a folder of images per class. Received: {folder!r}"
        )
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            if name.lower().endswith(_IMAGES):
                path = os.path.join(parent, name)
                place = f"image {os.path.relpath(path, folder)}"
                label = os.path.basename(parent)
                values = {"path": os.path.abspath(path), "folder": label}
                yield Row(folder, place, values)


def _open(file):
    # Bytes that are no UTF-8 must not hide the row that they are in.
    return open(file, encoding="utf-8-sig", errors="surrogateescape", newline="")


def _recorded(lines, taken):
    """The lines, each of which is added to `taken` as well."""
    for line in lines:
        taken.append(line)
        yield line


def _text(lines):
    """What stands for the values of a row that cannot be read."""
    return {"text": "".join(lines)}


def _encoding(texts):
    """A reason if a text was not UTF-8."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return "not UTF-8"
    return None


_READERS = {
    "csv": _read_csv,
    "jsonl": _read_jsonl,
    "conll": _read_conll,
    "tfrecord": _read_tfrecord,
    "images": _read_images,
}
