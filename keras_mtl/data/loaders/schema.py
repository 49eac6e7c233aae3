"""The schema file: where one's own files are, and what is in them."""

import dataclasses
import glob
import os
from collections.abc import Mapping
from typing import Any

from keras_mtl.data.loaders.columns import Column, Input, Label
from keras_mtl.utils.checks import check_choice
from keras_mtl.utils.config_errors import ConfigError, Source, at
from keras_mtl.utils.config_file import read_file
from keras_mtl.utils.config_sections import check_mapping, parse_section, string_at

FORMATS = ("csv", "jsonl", "conll", "tfrecord", "images")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schema:
    """One's own files: where they are, and what is in them.

    Args:
        format: `csv`, `jsonl` (one JSON object per line), `conll` (one token per
            line, an empty line after each sentence), `tfrecord` (of
            `tf.train.Example`), or `images` (a folder per class; the columns are
            `path` and `folder`).
        splits: Dict from split to a path or glob, or a list of them, relative to
            the schema file.
        inputs: Dict from name to `Input`.
        labels: Dict from name (of the task) to `Label`.
        columns: Names of the columns where the file has no header: needed for
            `conll`, possible for `csv`.
        delimiter: Between the fields of `csv` (default: a comma) or `conll`
            (default: white space).
        source: Where it was read; does not count in comparisons.
    """

    format: str
    splits: Mapping[str, Any]
    inputs: Mapping[str, Input]
    labels: Mapping[str, Label]
    columns: Any = None
    delimiter: str | None = None
    source: Source = dataclasses.field(
        default=Source("schema"), compare=False, repr=False
    )

    def __post_init__(self):
        with at("format"):
            check_choice("format", self.format, FORMATS)
        for name, cls in (("inputs", Input), ("labels", Label)):
            with at(name):
                parsed = _columns(name, getattr(self, name), cls)
                object.__setattr__(self, name, parsed)
        both = sorted(set(self.inputs) & set(self.labels))
        if both:
            raise ConfigError(
                ("labels", both[0]),
                "Expected inputs and labels to have names of their own (`columns` "
                f"may be the same). Received: {both} in both",
            )
        with at("splits"):
            splits = check_mapping("splits", self.splits)
            if not splits:
                raise ValueError("Expected `splits` to name at least one split")
            object.__setattr__(
                self, "splits", {k: _paths(k, splits[k]) for k in splits}
            )
        with at("columns"):
            self._check_columns()
        if self.delimiter is not None:
            string_at("delimiter", self.delimiter)
            with at("delimiter"):
                if len(self.delimiter) != 1 or self.format not in ("csv", "conll"):
                    raise ValueError(
                        "Expected `delimiter` to be one character, for csv or conll. "
                        f"Received: delimiter={self.delimiter!r}"
                    )

    def _check_columns(self):
        if self.columns is None:
            if self.format == "conll":
                raise ValueError("Expected `columns`, the names of CoNLL's columns")
            return
        names = isinstance(self.columns, list | tuple) and list(self.columns)
        if not names or self.format not in ("csv", "conll"):
            raise ValueError(
                "Expected `columns` to be a list of names, for csv or conll. "
                f"Received: columns={self.columns!r}"
            )
        check_columns("`columns`", names, self)

    @property
    def features(self) -> dict[str, Column]:
        """Inputs and labels by name."""
        return {**self.inputs, **self.labels}

    @property
    def input_names(self) -> str | list[str]:
        """The name of the one input, or the names of several, as `pairs` takes them."""
        names = list(self.inputs)
        return names[0] if len(names) == 1 else names

    @property
    def needed(self) -> list[str]:
        """Names of the columns that the files must have."""
        parts = self.features.values()
        return list(dict.fromkeys(name for part in parts for name in part.columns))

    def files(self, split: str) -> list[str]:
        """The files of a split, sorted within each glob.

        Raises:
            ValueError: If there is no such split.
            FileNotFoundError: If a path or glob finds nothing.
        """
        if split not in self.splits:
            raise ValueError(
                f"Expected `split` to be one of {list(self.splits)}. "
                f"Received: split={split!r}"
            )
        folder = os.path.dirname(self.source.file)
        found = []
        for path in self.splits[split]:
            path = os.path.join(folder, path)
            matches = [path] if os.path.exists(path) else sorted(glob.glob(path))
            if not matches:
                raise FileNotFoundError(
                    f"Expected files of split {split!r}. Received: {path!r}, which "
                    "finds none"
                )
            found += matches
        return found


def read_schema(file: str | os.PathLike) -> Schema:
    """Reads a schema file.

    Args:
        file: A `.yaml`, `.yml` or `.toml` file with the fields of `Schema`.

    Returns:
        The schema.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or describes no data. The message names the file
            and, as far as it is known, the line.

    Example:

    ```python
    schema = read_schema("reviews.yaml")
    schema.labels["rating"].classes  # ("1", "2", "3", "4", "5")
    ```

    for the file

    ```yaml
    format: csv
    splits: {train: reviews/train-*.csv, test: reviews/test.csv}
    inputs:
      text: {kind: text, columns: Review Text}
      measures: {kind: number, columns: [age, price], default: 0}
    labels:
      rating: {kind: class, classes: [1, 2, 3, 4, 5]}
      helpful: {kind: number, range: [0, 100], missing: n/a}
    ```
    """
    file = os.fspath(file)
    tree, lines = read_file(file)
    source = Source(file, lines)
    try:
        with at():
            return parse_section(Schema, tree, name="schema", more={"source": source})
    except ConfigError as error:
        raise source.located(error) from error


def check_columns(where: str, names: list[str], schema: Schema) -> None:
    """Raises a `ValueError` if columns that the schema needs are not in the file."""
    lacking = [name for name in schema.needed if name not in names]
    if lacking:
        raise ValueError(
            f"{where}: Expected the columns {schema.needed}. Received: "
            f"columns={names}, which lack {lacking}"
        )
    twice = sorted({n for n in schema.needed if names.count(n) > 1})
    if twice:
        raise ValueError(
            f"{where}: Expected the names of the columns to be unique. Received: "
            f"columns={names}, where {twice} occur more than once"
        )


def _columns(kind, tree, cls):
    parsed = {}
    for name, part in check_mapping(kind, tree).items():
        with at(name):
            if not isinstance(part, cls):
                part = parse_section(cls, part, name=str(name))
            parsed[str(name)] = part.named(str(name))
    if not parsed:
        raise ValueError(f"Expected `{kind}` to name at least one column")
    return parsed


def _paths(split, paths):
    paths = [paths] if isinstance(paths, str) else paths
    if not isinstance(paths, list | tuple) or not paths:
        raise ConfigError(
            (split,),
            "Expected a split to be a path, a glob, or a list of them. "
            f"Received: {split}={paths!r}",
        )
    return tuple(map(str, paths))
