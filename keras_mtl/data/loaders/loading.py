"""Loads one's own files by a schema: checked examples, and what became of bad rows."""

import dataclasses
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tqdm

from keras_mtl.data.loaders.images import decoded
from keras_mtl.data.loaders.rejects import BadRow, Rejects
from keras_mtl.data.loaders.rows import read_rows
from keras_mtl.data.loaders.schema import Schema, read_schema
from keras_mtl.data.loaders.values import convert_row, feature_spec
from keras_mtl.data.pipelines import pairs


@dataclasses.dataclass(frozen=True)
class Split:
    """One split of one's own files, read and checked.

    Args:
        dataset: The examples as dicts of features, in the order of the files, with
            a known number of them.
        labels: Dict from label to its values, shape `(rows, …)`: indices of classes,
            -1 where there is none; numbers, NaN where there is none.
        bad_rows: The rows that were left out.
        notes: What a user should know: rows left out, labels that no row has,
            classes that no row has.
    """

    dataset: tf.data.Dataset
    labels: dict[str, np.ndarray]
    bad_rows: tuple[BadRow, ...]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.dataset)


def load(
    schema: str | os.PathLike | Schema,
    split: str = "train",
    *,
    skip_bad_rows: bool = False,
    rejected_dir: str | os.PathLike | None = None,
) -> tf.data.Dataset:
    """The examples of one's own files as pairs `(x, y)`, for `fit`.

    Labels that are missing are -1 (classes, tags: give `missing=-1` to the `Task`) or
    NaN (numbers). CSV, JSONL and CoNLL files are held in memory; TFRecord files and
    images are read again in each pass.

    Args:
        schema: A schema file, or what `read_schema` made of it.
        split: Name of a split of the schema.
        skip_bad_rows: Leave out rows that are wrong and count them (in a warning),
            instead of raising at the first one.
        rejected_dir: Folder for the rows left out, with their reasons: one
            `<file>.rejected.jsonl` per file.

    Returns:
        A `tf.data.Dataset`, not batched, of known cardinality, always in the same
        order: what `EpochOrder.batches` takes. `x` is a tensor if the schema has one
        input, otherwise a dict; `y` is a dict of labels.

    Warns:
        UserWarning: If rows were left out, or no row has some label or class. (A model
            learns to give such a class no probability.)

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the schema is wrong, a file lacks a column, a row is bad, or
            no row is left; the message names file and row.

    Cost:
        Two passes over TFRecord files and images, the first of which checks them.
        Records are parsed in Python, one at a time.

    Example:

    ```python
    order = mtl.data.EpochOrder(seed=7)
    train = order.batches(mtl.data.load("reviews.yaml", "train"), 64)
    ```
    """
    schema = schema if isinstance(schema, Schema) else read_schema(schema)
    examples = load_split(
        schema, split, skip_bad_rows=skip_bad_rows, rejected_dir=rejected_dir
    )
    for note in examples.notes:
        warnings.warn(note, stacklevel=2)
    return pairs(examples.dataset, schema.input_names, list(schema.labels))


def load_split(
    schema: Schema,
    split: str,
    *,
    skip_bad_rows: bool = False,
    rejected_dir: str | os.PathLike | None = None,
) -> Split:
    """The examples as dicts of features, as `tfds.load` gives them, and their labels.

    Args:
        schema: The schema.
        split: Name of a split of the schema.
        skip_bad_rows: As in `load`.
        rejected_dir: As in `load`.

    Raises:
        FileNotFoundError: As `load`.
        ValueError: As `load`.
    """
    files = schema.files(split)
    keep = list(schema.labels) if _streams(schema) else list(schema.features)
    columns: dict[str, list] = {name: [] for name in keep}
    rejects = Rejects(schema, skip=skip_bad_rows, folder=rejected_dir)
    for features in _converted(files, schema, rejects, show=True):
        for name, values in columns.items():
            values.append(features[name])
    bad_rows = tuple(rejects.rows)
    num_rows = len(next(iter(columns.values())))
    if not num_rows:
        raise ValueError(
            f"Expected split {split!r} to have at least one good row. Received: "
            f"{len(bad_rows)} bad rows and no other in {files}"
        )
    arrays = {
        name: _array(values, *feature_spec(schema.features[name]))
        for name, values in columns.items()
    }
    if _streams(schema):
        dataset = _stream(files, schema, num_rows)
    else:
        dataset = tf.data.Dataset.from_tensor_slices(arrays)
    labels = {name: arrays[name] for name in schema.labels}
    notes = tuple(_notes(split, schema, labels, num_rows, bad_rows))
    return Split(_with_pixels(dataset, schema), labels, bad_rows, notes)


def _notes(split, schema, labels, num_rows, bad_rows):
    if bad_rows:
        yield (
            f"Split {split!r}: left out {len(bad_rows)} of {num_rows + len(bad_rows)} "
            f"rows. The first: {bad_rows[0]}"
        )
    for name, column in schema.labels.items():
        present = labels[name][label_present(labels[name])]
        if not present.size:
            yield f"Split {split!r}: no row has the label {name!r}"
            continue
        seen = set(present.tolist()) if column.class_names else set()
        unseen = [c for i, c in enumerate(column.class_names) if i not in seen]
        if unseen:
            yield f"Split {split!r}: no row has {name!r} of the classes {unseen}"


def label_present(values: np.ndarray) -> np.ndarray:
    """Where the labels of a `Split` are labels: not NaN, no class -1.

    Example:
    >>> label_present(np.array([0, -1, 2])).tolist()
    [True, False, True]
    """
    return ~np.isnan(values) if values.dtype.kind == "f" else values >= 0


def _converted(
    files: Sequence[str], schema: Schema, rejects: Rejects, *, show: bool
) -> Iterator[dict[str, Any]]:
    """The features of the good rows; bad ones go to `rejects`."""
    for file in files:
        rows = tqdm.tqdm(
            read_rows(file, schema),
            desc=os.path.basename(file),
            unit=" rows",
            delay=2,
            leave=False,
            # `None`: shown in a terminal only.
            disable=None if show else True,
        )
        for row in rows:
            try:
                features = convert_row(row, schema)
            except ValueError as error:
                rejects.add(row, str(error))
                continue
            yield features


def _streams(schema):
    return schema.format == "tfrecord"


def _stream(files, schema, num_rows):
    """Reads and converts the files again in each pass; bad rows are known by now."""

    def examples():
        ignored = Rejects(schema, skip=True)
        yield from _converted(files, schema, ignored, show=False)

    signature = {
        name: tf.TensorSpec(shape, tf.string if dtype is np.object_ else dtype)
        for name, (shape, dtype) in (
            (name, feature_spec(column)) for name, column in schema.features.items()
        )
    }
    dataset = tf.data.Dataset.from_generator(examples, output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(num_rows))


def _array(values, shape, dtype):
    if dtype is np.object_:
        # An array of equally long byte strings would cut trailing zeros.
        array = np.empty((len(values), *shape), dtype)
        array[:] = values
        return array
    return np.asarray(values, dtype).reshape(len(values), *shape)


def _with_pixels(dataset, schema):
    images = {n: c.shape for n, c in schema.inputs.items() if c.kind == "image"}
    if not images:
        return dataset
    is_path = schema.format != "tfrecord"

    def pixels(example):
        new = {n: decoded(example[n], s, is_path=is_path) for n, s in images.items()}
        return {**example, **new}

    return dataset.map(pixels, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
