"""What tasks have in common before any training: labels, inputs, words."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_mtl.analysis.association import (
    label_correlation,
    mutual_information,
    ngrams,
    overlap,
    words,
)
from keras_mtl.data.loaders import label_present
from keras_mtl.plots import Table, relevance_figure, text_table
from keras_mtl.plots.tables import MISSING
from keras_mtl.utils.checks import check_count


@dataclasses.dataclass(frozen=True)
class LabelledRows:
    """The rows of one data set: labels, and what they are labels of.

    Args:
        labels: Dict from task to labels of shape `(rows, …)`: integers are classes,
            -1 where there is none; floats are numbers, NaN where there is none.
        inputs: One hashable value per row, the same for equal inputs; or `None`.
        texts: The text of each row; or `None`.
        tags: Part-of-speech tags (any integers) of each row's tokens, `(rows, length)`,
            -1 where there is none; or `None`.
    """

    labels: Mapping[str, np.ndarray]
    inputs: Sequence[Any] | None = None
    texts: Sequence[str] | None = None
    tags: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class RelevanceReport:
    """What `task_relevance` finds. `print` shows it as a table.

    Attributes:
        task_names: Names of the tasks.
        num_common: Rows labelled for both tasks, `(num_tasks, num_tasks)`.
        measures: Dict from the name of a measure to its matrix of that shape, NaN
            where it is not known.
    """

    task_names: tuple[str, ...]
    num_common: np.ndarray
    measures: dict[str, np.ndarray]

    def table(self) -> Table:
        """A row per pair of tasks."""
        rows = []
        for a, b in itertools.combinations(range(len(self.task_names)), 2):
            values = [matrix[a, b] for matrix in self.measures.values()]
            cells = [f"{v + 0.0:.3f}" if np.isfinite(v) else MISSING for v in values]
            names = (self.task_names[a], self.task_names[b])
            rows.append((*names, f"{self.num_common[a, b]:,}", *cells))
        return Table(("task", "task", "common rows", *self.measures), tuple(rows))

    def figure(self) -> Any:
        """A heat-map per measure.

        Returns:
            A `matplotlib.figure.Figure`.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        return relevance_figure(self.measures, self.task_names)

    def __str__(self) -> str:
        return text_table(self.table())


def task_relevance(
    data: LabelledRows | Mapping[str, LabelledRows],
    *,
    min_common: int = 20,
    num_bins: int = 10,
) -> RelevanceReport:
    """Compares tasks by their data, before a model is built.

    - correlation: the largest one between functions of two labels, and
    - information: the mutual information, as a share of the smaller entropy, over
      the rows that both tasks label;
    - inputs: different inputs labelled for both, divided by those labelled for either;
    - vocabulary, words: what the texts labelled for each share, by distinct words and
      by how often they occur;
    - tags: what their part-of-speech patterns (three tags in a row) share.

    They are symptoms, not proof: tasks whose labels are related may share what a
    network learns, or may say the same twice.

    Args:
        data: Labels and inputs of one data set; or several, by name, for tasks with
            data of their own. Their tasks are then named `"<data set>/<task>"`.
        min_common: Fewer common rows leave correlation and information unknown (NaN).
        num_bins: Bins of a number, for the mutual information.

    Returns:
        A `RelevanceReport`: print it, or draw it with `figure()`.

    Raises:
        ValueError: If there are fewer than two tasks, or labels of one data set differ
            in length.

    Cost:
        `num_tasks` squared passes over the rows.

    Example:
    >>> size = np.arange(40.0)
    >>> labels = {"size": size, "large": (size >= 20).astype(int), "odd": size % 2}
    >>> print(task_relevance(LabelledRows(labels)))
    task   task   common rows  correlation  information
    ---------------------------------------------------
    size   large           40        0.866        1.000
    size   odd             40        0.043        0.000
    large  odd             40        0.000        0.000
    """
    check_count("min_common", min_common, 2)
    check_count("num_bins", num_bins, 2)
    sources = {"": data} if isinstance(data, LabelledRows) else dict(data)
    tasks = [
        (f"{source}/{name}" if source else name, rows, np.asarray(rows.labels[name]))
        for source, rows in sources.items()
        for name in rows.labels
    ]
    _check(tasks)
    parts = [(rows, labels, _labelled_rows(labels)) for _, rows, labels in tasks]
    pairs = {
        "correlation": label_correlation,
        "information": lambda a, b: mutual_information(a, b, num_bins=num_bins),
    }
    num_common, measures = _of_common_rows(parts, pairs, min_common)
    measures |= _of_collections(parts)
    return RelevanceReport(tuple(name for name, *_ in tasks), num_common, measures)


def _of_common_rows(parts, pairs: Mapping[str, Callable], min_common):
    """Measures of the labels of two tasks where both are there."""
    num_tasks = len(parts)
    num_common = np.zeros((num_tasks, num_tasks), np.int64)
    measures = {name: np.full(num_common.shape, np.nan) for name in pairs}
    for a, b in itertools.combinations_with_replacement(range(num_tasks), 2):
        (rows, first, known), (others, second, also_known) = parts[a], parts[b]
        if rows is not others:
            continue
        common = known & also_known
        num_common[a, b] = num_common[b, a] = common.sum()
        first, second = _paired(first[common], second[common])
        if first is None or num_common[a, b] < min_common:
            continue
        for name, measure in pairs.items():
            measures[name][a, b] = measures[name][b, a] = measure(first, second)
    return num_common, measures


def _of_collections(parts):
    """Measures of what is labelled for each of two tasks, in one data set or two."""
    counts: dict[str, list[Counter]] = {}
    for rows, _, known in parts:
        places = np.flatnonzero(known)
        if rows.inputs is not None:
            inputs = Counter(rows.inputs[place] for place in places)
            counts.setdefault("inputs", []).append(inputs)
        if rows.texts is not None:
            tokens = Counter(
                word for place in places for word in words(rows.texts[place])
            )
            counts.setdefault("vocabulary", []).append(tokens)
            counts.setdefault("words", []).append(tokens)
        if rows.tags is not None:
            tags = (rows.tags[place] for place in places)
            patterns = Counter(
                run for row in tags for run in ngrams(row[row >= 0].tolist())
            )
            counts.setdefault("tags", []).append(patterns)
    return {
        name: _overlaps(found, weighted=name in ("words", "tags"))
        for name, found in counts.items()
        if len(found) == len(parts)
    }


def _overlaps(collections, weighted):
    matrix = np.full((len(collections), len(collections)), np.nan)
    for a, b in itertools.combinations_with_replacement(range(len(collections)), 2):
        shared = overlap(collections[a], collections[b], weighted=weighted)
        matrix[a, b] = matrix[b, a] = shared
    return matrix


def _labelled_rows(labels):
    """Which rows have a label: not NaN, no class -1, in any of their elements."""
    present = label_present(labels).reshape(len(labels), -1)
    return present.any(axis=1) if _is_sequence(labels) else present.all(axis=1)


def _is_sequence(labels):
    """Whether there is a class per token (or pixel)."""
    return labels.ndim > 1 and labels.dtype.kind != "f"


def _paired(first, second):
    """Labels side by side: rows, or tokens of two sequences; else `(None, None)`."""
    if not (_is_sequence(first) or _is_sequence(second)):
        return first, second
    if first.shape != second.shape or "f" in (first.dtype.kind, second.dtype.kind):
        return None, None
    both = (first >= 0) & (second >= 0)
    return first[both], second[both]


def _check(tasks):
    if len(tasks) < 2:
        raise ValueError(
            "Expected the labels of two tasks or more. "
            f"Received: {[name for name, *_ in tasks]}"
        )
    lengths = {name: len(labels) for name, _, labels in tasks}
    for name, rows, labels in tasks:
        others = (rows.inputs, rows.texts, rows.tags, *rows.labels.values())
        if any(other is not None and len(other) != len(labels) for other in others):
            raise ValueError(
                "Expected labels, inputs, texts and tags of one data set to have one "
                f"length. Received: labels of {name!r} of {lengths[name]} rows beside "
                f"{[len(other) for other in others if other is not None]}"
            )
