"""Bad rows: an error, or counted and written aside."""

import dataclasses
import json
import os

from keras_mtl.data.loaders.rows import Row
from keras_mtl.data.loaders.schema import Schema


@dataclasses.dataclass(frozen=True)
class BadRow:
    """A row that is no example.

    Args:
        file: The file.
        place: Where in it.
        reason: What is wrong.
    """

    file: str
    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}, {self.place}: {self.reason}"


class Rejects:
    """Collects bad rows, and writes them aside.

    Args:
        schema: The schema, whose folder the names of the files are relative to.
        skip: Whether bad rows are collected; otherwise the first one is an error.
        folder: Folder for the files `<file>.rejected.jsonl`; `None` writes none.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        skip: bool,
        folder: str | os.PathLike | None = None,
    ):
        self.rows: list[BadRow] = []
        self._root = os.path.dirname(schema.source.file) or os.curdir
        self._skip = skip
        self._folder = None if folder is None else os.fspath(folder)
        self._written: set[str] = set()

    def add(self, row: Row, reason: str) -> None:
        """Takes a bad row.

        Raises:
            ValueError: With file, row and reason, unless bad rows are skipped.
        """
        bad = BadRow(row.file, row.place, reason)
        if not self._skip:
            raise ValueError(
                f"{bad}. (To leave out bad rows: `skip_bad_rows=True`, or "
                "`--skip-bad-rows`)"
            )
        self.rows.append(bad)
        if self._folder is not None:
            self._write(self._folder, bad, row)

    def _write(self, folder, bad, row):
        """Adds a line to the file for the bad rows of a file."""
        parts = os.path.relpath(bad.file, self._root).split(os.sep)
        name = "-".join(part for part in parts if part != os.pardir)
        path = os.path.join(folder, f"{name}.rejected.jsonl")
        os.makedirs(folder, exist_ok=True)
        line = dataclasses.asdict(bad) | {"values": dict(row.values)}
        with open(path, "a" if path in self._written else "w") as stream:
            # Bytes, which only TFRecords have, are shown as Python shows them.
            stream.write(json.dumps(line, default=repr) + "\n")
        self._written.add(path)
