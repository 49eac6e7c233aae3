"""How much two labels, or two collections, have in common: plain NumPy."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

_WORD = re.compile(r"\w+")


def label_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """The largest correlation between (functions of) two labels.

        max corr(f(a), g(b))

    over all functions of classes, and all linear ones of numbers: the largest
    canonical correlation, where classes stand as indicator columns. Of two numbers it
    is Pearson's r, of a number and classes the correlation ratio, of classes the
    maximal correlation. It has a sign where both are numbers or pairs of classes.

    Args:
        a: Labels without a missing one: integers are classes, shape `(rows,)`; floats
            are numbers, shape `(rows,)` or `(rows, …)`.
        b: The same for the other task.

    Returns:
        A number in [-1, 1]; NaN if one of the two never varies.

    Cost:
        A singular value decomposition of (columns, columns); with few rows per class
        it is too high.

    Example:
    >>> sizes = np.array([4.0, 2.0, 4.0, 2.0])
    >>> round(label_correlation(np.array([1.0, 2.0, 1.0, 2.0]), sizes), 6)
    -1.0
    >>> round(label_correlation(np.array([0, 1, 2, 1]), sizes), 6)  # three classes
    1.0
    """
    a, b = _centred_columns(a), _centred_columns(b)
    bases = [_orthonormal(columns) for columns in (a, b)]
    if not all(base.shape[1] for base in bases):
        return float("nan")
    cosines = np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)
    largest = min(float(cosines[0]), 1.0)
    signed = a.shape[1] == b.shape[1] == 1
    return -largest if signed and float(a[:, 0] @ b[:, 0]) < 0 else largest


def mutual_information(a: np.ndarray, b: np.ndarray, *, num_bins: int = 10) -> float:
    """How much of the simpler of two labels the other tells.

        I(a; b) / min(H(a), H(b))

    Numbers are cut into bins of about equal counts first; classes, and numbers with
    at most `num_bins` different values, are taken as they are.

    Args:
        a: Labels without a missing one, shape `(rows,)`: integers are classes, floats
            are numbers.
        b: The same for the other task.
        num_bins: Number of bins of a number.

    Returns:
        A number in [0, 1]: 0 for independent labels, 1 if one decides the other; NaN
        if one of the two never varies, or is a vector.

    Cost:
        One pass; with few rows per cell (of `num_bins` squared) it is too high.

    Example:
    >>> kind = np.array([0, 0, 1, 1])
    >>> round(mutual_information(kind, np.array([0, 0, 1, 2])), 6)
    1.0
    >>> round(mutual_information(kind, np.array([0.1, 0.9, 0.1, 0.9])), 6)
    0.0
    """
    if a.ndim > 1 or b.ndim > 1:
        return float("nan")
    a, b = _cells(a, num_bins), _cells(b, num_bins)
    counts = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(counts, (a, b), 1.0)
    entropies = [_entropy(counts.sum(axis)) for axis in (1, 0)]
    smaller = min(entropies)
    if smaller <= 0.0:
        return float("nan")
    shared = sum(entropies) - _entropy(counts)
    return float(np.clip(shared / smaller, 0.0, 1.0))


def overlap(a: Iterable[Any], b: Iterable[Any], *, weighted: bool = False) -> float:
    """What two collections share, from 0 (nothing) to 1 (all).

    Args:
        a: Hashable things (inputs, words, n-grams), or a `Counter` of them.
        b: The same of the other task.
        weighted: Whether things count as often as they occur,
            `Σ min(share in a, share in b)`; otherwise those in both divided by those
            in either (Jaccard).

    Returns:
        A number in [0, 1]; NaN if one of the two is empty.

    Example:
    >>> overlap("aab", "abc"), overlap("aab", "abc", weighted=True)
    (0.6666666666666666, 0.6666666666666666)
    """
    first, second = Counter(a), Counter(b)
    if not first or not second:
        return float("nan")
    both = first.keys() & second.keys()
    if not weighted:
        return len(both) / len(first.keys() | second.keys())
    sizes = first.total(), second.total()
    return sum(min(first[t] / sizes[0], second[t] / sizes[1]) for t in sorted(both))


def words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation.

    Example:
    >>> words("Don't, Sue!")
    ['don', 't', 'sue']
    """
    return _WORD.findall(text.lower())


def ngrams(tags: Sequence[int], n: int = 3) -> list[tuple[int, ...]]:
    """All runs of `n` neighbours.

    Example:
    >>> ngrams([1, 2, 3, 4])
    [(1, 2, 3), (2, 3, 4)]
    """
    return list(zip(*(tags[start:] for start in range(n)), strict=False))


def _centred_columns(labels):
    """Numbers, or an indicator per class but the first, with mean 0."""
    if labels.dtype.kind in "iub":
        _, indices = np.unique(labels, return_inverse=True)
        columns = np.eye(indices.max() + 1)[indices][:, 1:]
    else:
        columns = labels.reshape(len(labels), -1).astype("float64")
    # A column that never varies is exactly 0, whatever the rounding of its mean.
    return np.where(np.ptp(columns, axis=0) > 0, columns - columns.mean(axis=0), 0.0)


def _orthonormal(columns):
    """An orthonormal basis of what the columns span."""
    left, values, _ = np.linalg.svd(columns, full_matrices=False)
    rounding = max(columns.shape) * np.finfo("float64").eps
    return left[:, values > rounding * values.max(initial=0.0)]


def _cells(labels, num_bins):
    """Indices of the classes, or of the bins of numbers."""
    values, indices = np.unique(labels, return_inverse=True)
    if labels.dtype.kind in "iub" or len(values) <= num_bins:
        return indices
    edges = np.quantile(labels, np.linspace(0, 1, num_bins + 1)[1:-1])
    return np.searchsorted(np.unique(edges), labels, side="right")


def _entropy(counts):
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
