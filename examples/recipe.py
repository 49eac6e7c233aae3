"""What the recipes share: data, the best epoch on validation, results, tables."""

import argparse
import itertools
import json
import pathlib
import time

import keras
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
import tqdm

import keras_mtl.data.datasets  # noqa: F401 (registers the datasets)
from keras_mtl import BalancingOptions
from keras_mtl.data import pairs
from keras_mtl.plots import Table, markdown_table

SMOKE_EXAMPLES = 600
# One process makes many models, which TensorFlow takes for one that is made anew.
tf.get_logger().setLevel("ERROR")


def parsed(doc, name, epochs):
    """The command line of a recipe; `doc` is its docstring, `name` that of its data."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=epochs, help="at most")
    parser.add_argument("--runs", default=f"runs/{name}", help="their folder")
    parser.add_argument("--smoke", action="store_true", help="a few steps only")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.seeds = arguments.epochs = 1
    return arguments


def prepare(name, runs, smoke):
    """Prepares a dataset; gives the folder for `tfds.load`.

    With `smoke` only a few hundred examples, in a folder of their own.
    """
    data_dir, config = None, None
    if smoke:
        data_dir = str(runs / "data")
        config = tfds.download.DownloadConfig(max_examples_per_split=SMOKE_EXAMPLES)
    builder = tfds.builder(name, data_dir=data_dir)
    builder.download_and_prepare(download_config=config)
    return data_dir


def load(name, split, data_dir):
    """A split as a dict of NumPy columns; strings as objects."""
    columns = tfds.load(name, split=split, data_dir=data_dir, batch_size=-1)
    columns = tfds.as_numpy(columns)
    for key, values in columns.items():
        if values.dtype == object:
            columns[key] = np.array([value.decode() for value in values], object)
    return columns


def vocabulary(values):
    """The different values, sorted, as a list that a lookup layer takes."""
    return sorted(set(values.tolist()))


def codes(values, known):
    """The place of every value in a vocabulary; -1 if it is not there."""
    place = {value: index for index, value in enumerate(known)}
    found = [place.get(value, -1) for value in values.tolist()]
    return np.array(found, np.int64)


def area_under_curve(labels, scores):
    """Area under the ROC curve, exact, with ties counted half."""
    _, group, counts = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[group]
    positives = np.sum(labels > 0)
    negatives = len(labels) - positives
    above = np.sum(rank[labels > 0]) - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def class_scores(labels, predicted, num_classes):
    """Precision, recall, F1 and number of labels of every class, shape `(4, classes)`.

    What a division by nothing would give is 0.
    """
    right, found, there = (
        np.bincount(values, minlength=num_classes).astype("float64")
        for values in (labels[labels == predicted], predicted, labels)
    )
    precision, recall = right / np.maximum(found, 1), right / np.maximum(there, 1)
    f1 = 2 * right / np.maximum(found + there, 1)
    return np.stack([precision, recall, f1, there])


def f1_score(labels, predicted, num_classes, average):
    """F1 over the classes, their mean ("macro") or weighted by their number.

    Classes that neither occur nor are predicted are left out.
    """
    _, _, f1, there = class_scores(labels, predicted, num_classes)
    seen = (there > 0) | (np.bincount(predicted, minlength=num_classes) > 0)
    weights = there if average == "weighted" else seen
    return float(np.average(f1, weights=weights))


def classification_report(labels, predicted, names):
    """A table in Markdown, a row per class, their means, and the accuracy."""
    scores = class_scores(labels, predicted, len(names))
    there = scores[-1]
    rows = [
        (name, *(f"{value:.3f}" for value in values[:3]), f"{values[3]:,.0f}")
        for name, values in zip(names, scores.T, strict=True)
    ]
    total = f"{there.sum():,.0f}"
    for average, weights in (("macro", there > 0), ("weighted", there)):
        means = np.average(scores[:3], axis=1, weights=weights)
        rows.append((f"{average} mean", *(f"{m:.3f}" for m in means), total))
    accuracy = f"{np.mean(labels == predicted):.3f}"
    rows.append(("accuracy", "", "", accuracy, total))
    header = ("class", "precision", "recall", "F1", "examples")
    return markdown_table(Table(header, tuple(rows), num_labels=1))


def show_reports(name, run, tasks, folder):
    """Prints the reports that a run holds of its tasks, and writes them to a file.

    Args:
        name: Of the model.
        run: Dict with `"<task> report"` for every task.
        tasks: Names of the tasks.
        folder: Path of the folder for `reports.md`.
    """
    parts = [f"{task}\n\n{run[f'{task} report']}" for task in tasks]
    text = "\n\n".join([f"Classes, test split, {name}, first seed:", *parts])
    (folder / "reports.md").write_text(text + "\n")
    print(f"\n{text}")


def with_options(methods, **options):
    """Arguments of `compile`, with these options for the balancer if there is one.

    Those that `methods` has under "balancing", a dict, go before.
    """
    methods = dict(methods)
    if "balancer" in methods:
        options |= methods.get("balancing", {})
        methods["balancing"] = BalancingOptions(**options)
    return methods


def measured(model, columns, metrics):
    """A metric of each task that the model has, on images in memory.

    Args:
        model: A compiled model with the input "image".
        columns: Dict of "image" and the labels by task.
        metrics: Dict from task name to the name of its metric.
    """
    names = ("image", *model.task_names)
    data = tf.data.Dataset.from_tensor_slices({name: columns[name] for name in names})
    data = pairs(data.batch(250), labels=model.task_names)
    logs = model.evaluate(data, verbose=0, return_dict=True)
    return {task: logs[f"{task}_{metrics[task]}"] for task in model.task_names}


class BestEpoch(keras.callbacks.Callback):
    """Keeps the variables of the epoch that is best on validation.

    Args:
        score: Function from the model to a number; more is better.
        patience: Stop after so many epochs that are not better.
        bar: Optional tqdm bar, which shows the score.
    """

    def __init__(self, score, patience, bar=None):
        super().__init__()
        self.score, self.patience, self.bar = score, patience, bar
        self.best, self.epoch, self.weights = -np.inf, 0, None

    def on_epoch_end(self, epoch, logs=None):
        score = self.score(self.model)
        if self.bar is not None:
            self.bar.set_postfix_str(f"epoch {epoch + 1}: validation {score:.4f}")
        if score > self.best:
            self.best, self.epoch = score, epoch + 1
            self.weights = self.model.get_weights()
        elif epoch + 1 - self.epoch >= self.patience:
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        if self.weights is not None:
            self.model.set_weights(self.weights)


class Results:
    """Results of runs in a JSON file; what is in it need not run again.

    Args:
        path: The file.
        settings: Dict of what the runs depend on; a file of other settings is refused.
    """

    def __init__(self, path, settings):
        self.path = pathlib.Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.content = {"settings": settings, "runs": {}}
        if self.path.exists():
            self.content = json.loads(self.path.read_text())
            if self.content["settings"] != settings:
                raise SystemExit(
                    f"{self.path} is of runs with other settings, "
                    f"{self.content['settings']}. Expected {settings}. Name another "
                    "folder with --runs"
                )

    def get(self, key, run):
        """The dict of numbers of one run, from the file or by calling `run`."""
        runs = self.content["runs"]
        if key not in runs:
            start = time.perf_counter()
            found = run()
            runs[key] = found | {"seconds": time.perf_counter() - start}
            self.path.write_text(json.dumps(self.content, indent=1))
        return runs[key]


def compare(rows, tasks, seeds, results, train, group=""):
    """Runs every row with every seed.

    Args:
        rows: Dict from the name of a row to `(architecture, compile_arguments)`; the
            architecture "single" stands for one model per task, whose parameters and
            seconds add up.
        tasks: Names of the tasks.
        seeds: Number of seeds.
        results: `Results`.
        train: Function of architecture, compile arguments, tasks, seed and a tqdm bar,
            which gives a dict of numbers.
        group: Part of the key of these runs in the file.

    Returns:
        Dict from the name of a row to a list of dicts of numbers, one per seed.
    """
    found = {}
    with tqdm.tqdm(total=len(rows) * seeds, unit="row", desc=group) as bar:
        # Seeds outside: what there is when somebody stops it is a whole table.
        for seed, (row, (architecture, methods)) in itertools.product(
            range(seeds), rows.items()
        ):
            alone = architecture == "single"
            together = {}
            for part in [(task,) for task in tasks] if alone else [tuple(tasks)]:
                names = (group, row, part[0] if alone else "all", str(seed))
                key = "/".join(filter(None, names))
                bar.set_description(key)
                keras.utils.clear_session()  # the memory of the model before
                options = (architecture, methods, part, seed, bar)
                numbers = results.get(key, lambda options=options: train(*options))
                for name, value in numbers.items():
                    added = name in ("parameters", "seconds")
                    together[name] = value + together.get(name, 0) if added else value
            found.setdefault(row, []).append(together)
            bar.update()
    return found


def mean_std(values, digits):
    """`"mean ± std"` over the seeds, or the one value there is."""
    text = f"{np.mean(values):.{digits}f}"
    return f"{text} ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else text
