"""`keras-mtl data check`: reads one's own files, and says what is in them."""

import argparse

from keras_mtl.data.loaders import label_present, load_split, read_schema
from keras_mtl.plots.tables import Table, text_table


def check(args: argparse.Namespace) -> None:
    """Prints rows, labels of each task, the share that is missing, bad rows.

    Args:
        args: `schema`, `skip_bad_rows` and `rejected_dir`, as the parser makes them.

    Raises:
        ValueError: As `keras_mtl.data.load`.
    """
    schema = read_schema(args.schema)
    rows: list[tuple[str, ...]] = []
    notes: list[str] = []
    for split in schema.splits:
        loaded = load_split(
            schema,
            split,
            skip_bad_rows=args.skip_bad_rows,
            rejected_dir=args.rejected_dir,
        )
        counts = (f"{len(loaded):,}", f"{len(loaded.bad_rows):,}")
        for name, values in loaded.labels.items():
            rows.append((split, name, *_label_cells(values), *counts))
        notes += loaded.notes
    header = ("split", "task", "labels", "missing", "rows", "bad rows")
    print(text_table(Table(header, tuple(rows))))
    for note in notes:
        print(note)
    if any("left out" in note for note in notes):
        print(f"The rows left out lie in {args.rejected_dir}, with their reasons")


def _label_cells(values):
    present = label_present(values)
    return f"{int(present.sum()):,}", f"{1 - float(present.mean()):.1%}"
