"""`keras-mtl data inspect`: what tasks have in common, before any training."""

import argparse
import os
from collections.abc import Sequence

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from keras_mtl.analysis import LabelledRows, task_relevance
from keras_mtl.cli.parts import dataset_builder
from keras_mtl.data.loaders import load_split, read_schema
from keras_mtl.plots import save_png
from keras_mtl.task import MASK_SUFFIX
from keras_mtl.utils.config_errors import nearest


def inspect(args: argparse.Namespace) -> None:
    """Prints what each pair of tasks has in common, and draws it.

    Args:
        args: `sources`, `split`, `labels`, `inputs`, `tags`, `data_dir`, `min_common`
            and `out`, as the parser makes them.

    Raises:
        ValueError: If a source, a split or a feature does not exist.
    """
    sources = {}
    for source in args.sources:
        name = os.path.splitext(os.path.basename(source))[0]
        sources[name] = _rows_of(source, args)
    several = len(sources) > 1
    report = task_relevance(
        sources if several else next(iter(sources.values())),
        min_common=args.min_common,
    )
    print(report)
    if args.out:
        save_png(report.figure(), args.out)
        print(f"\nwrote {args.out}")


def _rows_of(source, args):
    """Labels and inputs of a schema file, or of a dataset of `tfds`."""
    if os.path.splitext(source)[1] in (".yaml", ".yml", ".toml"):
        schema = read_schema(source)
        dataset = load_split(schema, args.split).dataset
        kinds = {name: column.kind for name, column in schema.features.items()}
        inputs, labels = list(schema.inputs), list(schema.labels)
    else:
        builder = dataset_builder(source, args.data_dir)
        builder.download_and_prepare()
        dataset = builder.as_dataset(split=args.split, shuffle_files=False)
        kinds = {name: _kind(part) for name, part in builder.info.features.items()}
        labels = [name for name, kind in kinds.items() if kind == "class"]
        inputs = [name for name, kind in kinds.items() if kind in ("text", "image")]
        inputs = inputs or sorted(kinds.keys() - set(args.labels or labels))
    labels = _chosen("--labels", args.labels, kinds) or labels
    inputs = _chosen("--inputs", args.inputs, kinds) or inputs
    tags = _chosen("--tags", [args.tags] if args.tags else None, kinds)
    return _labelled_rows(dataset, source, kinds, inputs, labels, tags)


def _kind(feature):
    """The kind of a feature of `tfds`, in the words of a schema."""
    kinds = {
        tfds.features.ClassLabel: "class",
        tfds.features.Text: "text",
        tfds.features.Image: "image",
    }
    return next((k for cls, k in kinds.items() if isinstance(feature, cls)), "number")


def _chosen(option: str, names: Sequence[str] | None, kinds):
    for name in names or ():
        if name not in kinds:
            raise ValueError(
                f"Expected {option} to name features of the data, {sorted(kinds)}. "
                f"Received: {name!r}.{nearest(name, kinds)}"
            )
    return list(names or ())


def _labelled_rows(dataset, source, kinds, inputs, labels, tags):
    masks = [name + MASK_SUFFIX for name in labels if name + MASK_SUFFIX in kinds]
    columns: dict[str, list] = {name: [] for name in [*labels, *masks, *tags]}
    keys, texts = [], []
    written = [name for name in inputs if kinds[name] in ("text", "tokens")]
    used = {*inputs, *columns}
    dataset = dataset.map(lambda row: {k: v for k, v in row.items() if k in used})
    examples = tqdm.tqdm(
        dataset.as_numpy_iterator(),
        desc=source,
        unit=" rows",
        total=len(dataset),
        delay=2,
        leave=False,
        disable=None,
    )
    for example in examples:
        for name, values in columns.items():
            values.append(example[name])
        keys.append(hash(tuple(_plain(example[name]) for name in inputs)))
        texts.append(" ".join(_text(example[name]) for name in written))
    return LabelledRows(
        {name: _labels(name, columns, kinds[name]) for name in labels},
        inputs=keys,
        texts=texts if written else None,
        tags=np.stack(columns[tags[0]]) if tags else None,
    )


def _plain(value):
    """Something that is equal and hashes equally where an input does."""
    array = np.asarray(value)
    return str(array.tolist()) if array.dtype == object else array.tobytes()


def _text(value):
    tokens = np.asarray(value).ravel().tolist()
    return " ".join(token.decode() for token in tokens)


def _labels(name, columns, kind):
    """Classes as integers, numbers as floats; -1 or NaN where a mask is False."""
    array = np.stack(columns[name])
    if array.dtype.kind not in "biuf":
        raise ValueError(
            "Expected labels to be classes or numbers. "
            f"Received: {name!r} of dtype {array.dtype}"
        )
    is_class = kind in ("class", "tags")
    array = array.astype("int64" if is_class else "float64")
    mask = columns.get(name + MASK_SUFFIX)
    if mask is not None:
        array[~np.stack(mask)] = -1 if is_class else np.nan
    return array
