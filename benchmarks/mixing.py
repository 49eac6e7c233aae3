"""CPU time of the batches of a mixture, beside one data set that is mixed already.

    python benchmarks/mixing.py            # some minutes
    python benchmarks/mixing.py --quick    # does it run?

See `README.md` beside this file for what is measured and how to read it.
"""

import argparse
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
from keras_mtl.task import MASK_SUFFIX

WIDTH, BATCH_SIZE = 64, 256
BUFFER = 1000
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


def as_files(sets: dict, folder: pathlib.Path) -> dict:
    """The data sets as TFRecord files, a serialised `tf.train.Example` per example."""
    return {
        name: stream(folder / f"{name}.tfrecord", x, y) for name, (x, y) in sets.items()
    }


def stream(path: pathlib.Path, x: np.ndarray, y: dict) -> tf.data.Dataset:
    """Writes examples to a file; gives the pipeline that reads and parses them."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for row, values in enumerate(x):
            columns = {"x": values} | {key: labels[[row]] for key, labels in y.items()}
            features = {
                key: tf.train.Feature(float_list=tf.train.FloatList(value=column))
                for key, column in columns.items()
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())
    specs = {key: tf.io.FixedLenFeature([], tf.float32) for key in y}
    specs["x"] = tf.io.FixedLenFeature([WIDTH], tf.float32)

    def parsed_example(record):
        columns = tf.io.parse_single_example(record, specs)
        masks = {key for key in y if key.endswith(MASK_SUFFIX)}
        labels = {k: columns[k] > 0 if k in masks else columns[k] for k in y}
        return columns["x"], labels

    dataset = tf.data.TFRecordDataset(str(path)).map(
        parsed_example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
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


def compare(case: str, one_label: bool, buffer: int | None, options, progress) -> str:
    """One row of the table; with a buffer all data are read from files."""
    sets = datasets(options.sets, options.rows, one_label)
    with tempfile.TemporaryDirectory() as folder:
        files = pathlib.Path(folder)
        if buffer is not None:
            sets = as_files(sets, files)
        mixture = mix(sets, BATCH_SIZE, rates=2.0, stop="first", buffer_size=buffer)
        x, y = pre_mixed(mixture)
        order = EpochOrder()
        if buffer is None:
            examples = tf.data.Dataset.from_tensor_slices((x, y))
            shuffled = order.batches((x, y), BATCH_SIZE)
        else:
            examples = stream(files / "mixed.tfrecord", x, y)
            # The mixture holds so many examples, too.
            held = buffer * options.sets
            shuffled = order.batches(examples, BATCH_SIZE, buffer_size=held)
        in_order = examples.batch(BATCH_SIZE)
        seconds = measured(
            {
                "mixture": lambda: mixture.dataset,
                "in_order": lambda: in_order,
                "shuffled": lambda: shuffled,
            },
            options.turns,
            progress,
        )
    start, rest = np.median(seconds["mixture"], axis=0)
    cells = [case, f"{1e3 * rest / (mixture.steps_per_epoch - 1):.3f}"]
    for name in ("in_order", "shuffled"):
        ratios = seconds[name][:, 1] / seconds["mixture"][:, 1]
        low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
        verdict = "yes" if middle >= GOAL else "no"
        cells.append(f"{middle:.2f} ({low:.2f}–{high:.2f}), {verdict}")
    starts = (start, *(np.median(seconds[n][:, 0]) for n in ("in_order", "shuffled")))
    cells.append(" / ".join(f"{1e3 * value:.0f}" for value in starts))
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
    cases = [
        ("one label key", True, None),
        ("a label key each", False, None),
        ("one label key, files", True, BUFFER),
        ("a label key each, files", False, BUFFER),
    ]
    steps = len(cases) * 3 * options.turns + options.epochs
    with tqdm(total=steps) as progress:
        rows = [compare(*case, options, progress) for case in cases]
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
