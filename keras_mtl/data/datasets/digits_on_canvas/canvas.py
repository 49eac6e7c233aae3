"""Makes the examples: a digit on a canvas with clutter, and what is true of it.

Pure NumPy. Places, sizes and pixels are computed with integers, from a random stream
that NumPy promises not to change, so the images are the same on every machine.
"""

import functools

import numpy as np

CANVAS = 48  # side of the canvas, pixels
DIGIT = 28  # side of a source digit, pixels
SIZES = (17, 39)  # sides of a pasted digit: round(0.6 * 28) to round(1.4 * 28)
NUM_CROPS = 6
CROP = 8  # side of a clutter crop, pixels
INK = 64  # a pixel of the digit from this value on is ink
# First row or column of a crop: anywhere in the source digit, so some crops are blank.
_CROP_OFFSETS = (0, DIGIT - CROP)
_SEED = 20240
_BITS = 12


@functools.cache
def _weights(size):
    """Integer interpolation matrix `(size, DIGIT)`, rows summing to about 2**12."""
    scale = DIGIT / size
    centres = (np.arange(size) + 0.5) * scale - 0.5
    distance = np.abs(centres[:, None] - np.arange(DIGIT)[None, :])
    # Shrinking widens the triangle, so that every source pixel counts.
    weights = np.maximum(0.0, 1.0 - distance / max(scale, 1.0))
    weights /= weights.sum(axis=1, keepdims=True)
    return np.rint(weights * 2**_BITS).astype(np.int64)


def resize(digit: np.ndarray, size: int) -> np.ndarray:
    """Resizes a digit by linear interpolation, with antialiasing when it shrinks.

    Args:
        digit: Pixels `(28, 28)`, uint8.
        size: Side of the result.

    Returns:
        Pixels `(size, size)`, uint8.

    Example:

    >>> resize(np.full((28, 28), 255, "uint8"), 39).shape
    (39, 39)
    """
    weights = _weights(size)
    pixels = weights @ digit.astype(np.int64) @ weights.T
    half = 1 << (2 * _BITS - 1)
    return np.clip((pixels + half) >> (2 * _BITS), 0, 255).astype(np.uint8)


def ink_box(pixels: np.ndarray) -> np.ndarray:
    """Tight box of the ink: of all pixels of value 64 or more.

    Args:
        pixels: `(height, width)`, uint8, with at least one pixel of ink.

    Returns:
        `(4,)` int64: x1, y1, x2, y2 in pixels; x2 and y2 are one past the last ink.

    Example:

    >>> pixels = np.zeros((8, 8), "uint8")
    >>> pixels[2:5, 1:7] = 200
    >>> ink_box(pixels).tolist()
    [1, 2, 7, 5]
    """
    ink = pixels >= INK
    (columns,) = np.nonzero(ink.any(axis=0))
    (rows,) = np.nonzero(ink.any(axis=1))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.int64)


def stroke_thickness(pixels: np.ndarray) -> float:
    """Mean thickness of the strokes: twice the area over the length of the outline.

        thickness = 2 * sum(pixels) / sum(|gradient of pixels|)

    A stroke of length L and thickness t has the area L * t and, without its two ends,
    the outline 2 * L. Grey pixels need no threshold: the sum of the gradient's length
    is the length of the outline averaged over all thresholds (the co-area formula), so
    thin, blurred strokes are measured in fractions of a pixel, and the contrast
    cancels. The gradient is the pair of forward differences, with a border of zeros.

    Args:
        pixels: `(height, width)`, uint8, not all zero.

    Returns:
        The thickness in pixels of the given image.

    Example (3 rows thick and 40 long, so 120 pixels inside an outline of 86):

    >>> pixels = np.zeros((48, 48), "uint8")
    >>> pixels[10:13, 4:44] = 255
    >>> round(stroke_thickness(pixels), 2)
    2.81

    Reference: W. Fleming and R. Rishel, "An integral formula for total gradient
    variation", 1960 (the co-area formula).
    """
    grey = np.pad(pixels.astype(np.float64), 1)
    down = grey[1:, :-1] - grey[:-1, :-1]
    right = grey[:-1, 1:] - grey[:-1, :-1]
    return float(2.0 * grey.sum() / np.sqrt(down**2 + right**2).sum())


def split_sources(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Divides the source digits, before anything is pasted: 70, 10 and 20 % per class.

    Args:
        labels: Class of every source digit, `(n,)`.

    Returns:
        Sorted row numbers of the source digits by split: train, validation, test.

    Example:

    >>> parts = split_sources(np.repeat(np.arange(10), 500))
    >>> {name: len(rows) for name, rows in parts.items()}
    {'train': 3500, 'validation': 500, 'test': 1000}
    """
    parts: dict[str, list] = {"train": [], "validation": [], "test": []}
    for digit in np.unique(labels):
        (rows,) = np.nonzero(labels == digit)
        # RandomState, here and below: NumPy promises that its stream never changes.
        rows = np.random.RandomState([_SEED, int(digit)]).permutation(rows)
        first, second = len(rows) * 7 // 10, len(rows) * 8 // 10
        parts["train"].append(rows[:first])
        parts["validation"].append(rows[first:second])
        parts["test"].append(rows[second:])
    return {name: np.sort(np.concatenate(rows)) for name, rows in parts.items()}


def make_example(
    digits: np.ndarray, sources: np.ndarray, source: int, copy: int
) -> dict[str, np.ndarray]:
    """Pastes one digit, and clutter from other digits of the same split, on a canvas.

    Args:
        digits: All source digits `(n, 28, 28)`, uint8.
        sources: Row numbers of the digits of this split.
        source: Row number of the digit to paste.
        copy: Number of the example among those of this digit. The example depends on
            `source`, `copy` and `sources` only, not on what was made before.

    Returns:
        Dict of "image" `(48, 48, 1)` uint8, "box" `(4,)` float32 (normalised x1, y1,
        x2, y2), "stroke" float32 (pixels of the canvas), and "pasted" `(48, 48)` uint8,
        the digit alone, which the labels are computed from.

    Example:

    >>> digits = np.full((7, 28, 28), 255, "uint8")
    >>> make_example(digits, np.arange(7), source=0, copy=0)["image"].shape
    (48, 48, 1)
    """
    random = np.random.RandomState([_SEED, source, copy])
    size = random.randint(SIZES[0], SIZES[1] + 1)
    top, left = random.randint(0, CANVAS - size + 1, size=2)
    pasted = np.zeros((CANVAS, CANVAS), np.uint8)
    pasted[top : top + size, left : left + size] = resize(digits[source], size)
    image = pasted.copy()
    others = sources[sources != source]
    for other in others[random.randint(0, len(others), size=NUM_CROPS)]:
        row, column = random.randint(_CROP_OFFSETS[0], _CROP_OFFSETS[1] + 1, size=2)
        y, x = random.randint(0, CANVAS - CROP + 1, size=2)
        place = image[y : y + CROP, x : x + CROP]
        crop = digits[other, row : row + CROP, column : column + CROP]
        np.maximum(place, crop, out=place)
    return {
        "image": image[:, :, None],
        "box": (ink_box(pasted) / CANVAS).astype(np.float32),
        "stroke": np.array(stroke_thickness(pasted), np.float32),
        "pasted": pasted,
    }
