"""CPU time of the batches of a mixture, beside one data set that is mixed already.

    python benchmarks/mixing.py            # some minutes
    python benchmarks/mixing.py --quick    # does it run?

See `README.md` beside this file for what is measured and how to read it.
"""

import argparse
import functools
import os
import pathlib
import tempfile
import time
from collections.abc import Callable

import numpy as np
import setting_tensorflow  # noqa: F401 before TensorFlow
import tensorflow as tf
from tqdm import tqdm

from keras_mtl.data import EpochOrder, TaskMixture, mix

WIDTH, BATCH_SIZE = 64, 256
SHAPE = (64, 64)  # of a picture
MIXED = {"rates": 2.0, "stop": "first"}
GOAL = 0.95


def datasets(number: int, rows: int, one_label: bool) -> dict:
    """Data sets of different sizes, each with the labels of its task."""
    rng = np.random.default_rng(0)
    sizes = np.round(rows * rng.dirichlet(np.full(number, 4.0))).astype(int)
    return {
        f"task_{index}": (
            rng.normal(size=(size, WIDTH)).astype("float32"),
            {"task" if one_label else f"task_{index}": np.ones(size, "float32")},
        )
        for index, size in enumerate(np.maximum(sizes, BATCH_SIZE))
    }


def pre_mixed(mixture: TaskMixture) -> tuple:
    """The batches of the mixture's first epoch, end to end, as arrays."""
    batches = list(mixture.epoch_batches(0))
    return tf.nest.map_structure(lambda *parts: np.concatenate(parts), *batches)


def records_of(x: np.ndarray, y: dict[str, np.ndarray], pictures: bool) -> list[bytes]:
    """Serialised `tf.train.Example`s of the numbers, or of pictures made of them."""
    records = []
    for index, row in enumerate(x):
        values = {name: [float(label[index])] for name, label in y.items()}
        if not pictures:
            values["x"] = row
        feature = {
            name: tf.train.Feature(float_list=tf.train.FloatList(value=value))
            for name, value in values.items()
        }
        if pictures:
            # The numbers as squares of grey.
            grey = np.clip(128 + 40 * row, 0, 255).astype("uint8").reshape(8, 8)
            image = np.kron(grey, np.ones((8, 8), "uint8"))
            content = tf.io.encode_jpeg(np.stack([image] * 3, axis=-1)).numpy()
            feature["x"] = tf.train.Feature(
                bytes_list=tf.train.BytesList(value=[content])
            )
        features = tf.train.Features(feature=feature)
        records.append(tf.train.Example(features=features).SerializeToString())
    return records


def stream(path: pathlib.Path, x, y, pictures: bool) -> tf.data.Dataset:
    """Writes a TFRecord file; gives the pipeline that reads and decodes it."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records_of(x, y, pictures):
            writer.write(record)
    features = {name: tf.io.FixedLenFeature([], tf.float32) for name in y}
    features["x"] = (
        tf.io.FixedLenFeature([], tf.string)
        if pictures
        else tf.io.FixedLenFeature([WIDTH], tf.float32)
    )

    def decoded(record):
        labels = tf.io.parse_single_example(record, features)
        image = labels.pop("x")
        if pictures:
            image = tf.cast(tf.io.decode_jpeg(image, 3), tf.float32) / 255
            image = tf.ensure_shape(image, (*SHAPE, 3))
        return image, labels

    dataset = tf.data.TFRecordDataset(str(path)).map(
        decoded, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return dataset.apply(tf.data.experimental.assert_cardinality(len(x)))


def time_of_epoch(dataset: tf.data.Dataset) -> tuple[float, float]:
    """CPU seconds up to the first batch of a pass, and from there to its end."""
    start = time.process_time()
    batches = iter(dataset)
    next(batches)
    first = time.process_time()
    for _ in batches:
        pass
    return first - start, time.process_time() - first


def resident() -> float:
    """Megabytes of memory that the process holds."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def measured(makers: dict[str, Callable], turns: int, progress: tqdm) -> dict:
    """CPU seconds by name, `(turns, 2)`; they take turns, there and back."""
    found: dict[str, list] = {name: [] for name in makers}
    for name in makers:
        time_of_epoch(makers[name]())
    for turn in range(turns):
        for name in list(makers) if turn % 2 == 0 else reversed(makers):
            found[name].append(time_of_epoch(makers[name]()))
            progress.update()
    return {name: np.array(values) for name, values in found.items()}


def in_memory(one_label: bool, options: argparse.Namespace) -> tuple:
    """A mixture, its batches in order, and shuffled, from arrays."""
    mixture = mix(datasets(options.sets, options.rows, one_label), BATCH_SIZE, **MIXED)
    arrays = pre_mixed(mixture)
    in_order = tf.data.Dataset.from_tensor_slices(arrays).batch(BATCH_SIZE)
    return mixture, in_order, EpochOrder().batches(arrays, BATCH_SIZE)


def from_files(
    options: argparse.Namespace,
    folder: str,
    *,
    one_label: bool = True,
    pictures: bool = False,
    buffer_size: int = 100,
) -> tuple:
    """A mixture, its batches in order, and shuffled, from TFRecord files."""
    rows = options.rows // 2 if pictures else options.rows
    sets = datasets(options.sets, rows, one_label)
    files = pathlib.Path(folder)
    mixed = pre_mixed(mix(sets, BATCH_SIZE, buffer_size=buffer_size, **MIXED))
    one = stream(files / "mixed.tfrecord", *mixed, pictures)
    streams = {
        name: stream(files / f"{name}.tfrecord", x, y, pictures)
        for name, (x, y) in sets.items()
    }
    mixture = mix(streams, BATCH_SIZE, buffer_size=buffer_size, **MIXED)
    # The mixture holds so many examples, too.
    held = buffer_size * options.sets
    shuffled = EpochOrder().batches(one, BATCH_SIZE, buffer_size=held)
    return mixture, one.batch(BATCH_SIZE), shuffled


def row_of(case: str, pipelines: tuple, options, progress) -> str:
    """One row of the table."""
    mixture, in_order, shuffled = pipelines
    makers = {
        "mixture": lambda: mixture.dataset,
        "in order": lambda: in_order,
        "shuffled": lambda: shuffled,
    }
    seconds = measured(makers, options.turns, progress)
    rest = np.median(seconds["mixture"][:, 1])
    cells = [case, f"{1e3 * rest / (mixture.steps_per_epoch - 1):.3f}"]
    for name in ("in order", "shuffled"):
        ratios = seconds[name][:, 1] / seconds["mixture"][:, 1]
        low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
        verdict = "yes" if middle >= GOAL else "no"
        cells.append(f"{middle:.2f} ({low:.2f}–{high:.2f}), {verdict}")
    starts = [np.median(found[:, 0]) for found in seconds.values()]
    cells.append(" / ".join(f"{1e3 * start:.0f}" for start in starts))
    return "| " + " | ".join(cells) + " |"


def memory(options: argparse.Namespace, progress: tqdm) -> str:
    """What the process holds after each epoch of a mixture."""
    mixture = mix(datasets(options.sets, options.rows, False), BATCH_SIZE)
    held = []
    for epoch in range(options.epochs):
        mixture.on_epoch_begin(epoch)
        time_of_epoch(mixture.dataset)
        held.append(f"{resident():.0f}")
        progress.update()
    return f"MB held after each epoch: {', '.join(held)}"


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=30, help="number of data sets")
    parser.add_argument("--rows", type=int, default=200_000, help="of all together")
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--epochs", type=int, default=10, help="for the memory")
    parser.add_argument("--quick", action="store_true", help="small: no figures")
    options = parser.parse_args(arguments)
    if options.quick:
        options.sets, options.rows, options.turns, options.epochs = 5, 3000, 2, 2
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parsed(arguments)
    with tempfile.TemporaryDirectory() as folder:
        files = functools.partial(from_files, options, folder)
        cases = {
            "arrays, one label key": lambda: in_memory(True, options),
            "arrays, a label key each": lambda: in_memory(False, options),
            "files of numbers, one label key": files,
            "files of numbers, a label key each": lambda: files(one_label=False),
            "files of pictures": lambda: files(pictures=True),
            "files of pictures, `buffer_size=1`": lambda: files(
                pictures=True, buffer_size=1
            ),
        }
        steps = len(cases) * 3 * options.turns + options.epochs
        with tqdm(total=steps) as progress:
            rows = [
                row_of(name, case(), options, progress) for name, case in cases.items()
            ]
            held = memory(options, progress)
    print(
        f"\n{options.sets} data sets, {options.rows} examples, batches of "
        f"{BATCH_SIZE}; speed of the mixture as a share of that of the same examples "
        f"mixed beforehand, in order and shuffled (goal: at least {GOAL}), median and "
        "quartiles\n\n"
        "| case | mixture, ms per batch | of in order | of shuffled | start, ms |\n"
        "| :--- | ---: | ---: | ---: | ---: |"
    )
    print(*rows, "", held, sep="\n")


if __name__ == "__main__":
    main()
