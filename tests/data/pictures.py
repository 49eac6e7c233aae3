"""Pictures whose labels can be read off their pixels."""

import numpy as np
import tensorflow as tf

from keras_mtl.data.augmentation import Batch, get

HEIGHT, WIDTH = 48, 64
# Corners in pixels: inside, at the border, small, and one that is not labelled.
BOXES = np.array(
    [[20, 12, 44, 30], [0, 0, 20, 16], [30, 20, 36, 28], [np.nan] * 4], "float32"
)
SIDES = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT], "float32")


def rectangles(boxes=BOXES, height=HEIGHT, width=WIDTH):
    """Images `(batch, height, width, 1)`: 1 in the box, 0 elsewhere."""
    images = np.zeros((len(boxes), height, width, 1), "float32")
    for image, box in zip(images, np.nan_to_num(boxes).astype(int), strict=True):
        x1, y1, x2, y2 = box
        image[y1:y2, x1:x2] = 1.0
    return images


def tight_box(image):
    """Corners in pixels around what is brighter than a half; NaN if nothing is."""
    rows, columns = np.nonzero(image[..., 0] > 0.5)
    if not len(rows):
        return np.full(4, np.nan)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


def arrays():
    """Images and labels of four examples; the last one has no label at all."""
    images = rectangles()
    surface = images[..., 0].astype("int32")
    surface[3] = 255
    depth = 1.0 + np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) / 100.0
    depth = np.tile(depth.astype("float32"), (4, 1, 1))
    depth[3] = np.nan
    depth[:, :5, :5] = np.nan
    labels = {
        "digit": np.array([3, 8, 0, -1]),
        "box": BOXES / SIDES,
        "surface": surface,
        "depth": depth,
        "stroke": np.array([2.0, 3.0, 4.0, np.nan], "float32"),
    }
    return images, labels


KINDS = {
    "digit": "class",
    "box": "box",
    "surface": "segmentation",
    "depth": "map",
    "stroke": "value",
}


def batch(**options):
    """The four examples as a `Batch`."""
    images, labels = arrays()
    labels = {name: tf.constant(label) for name, label in labels.items()}
    kinds = {name: get(kind) for name, kind in KINDS.items()}
    return Batch(tf.constant(images), labels, kinds, **options)


def seed_of(number):
    return tf.constant([number, 0], tf.int64)
