"""What the image shows of a box that has been moved."""

import tensorflow as tf

from keras_mtl.utils.types import Tensor


def area(boxes: Tensor) -> Tensor:
    """Area of corners `x1, y1, x2, y2`, shapes `(batch, 4)` to `(batch,)`."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return sides[:, 0] * sides[:, 1]


def hull(points: Tensor) -> Tensor:
    """The box around points, shapes `(batch, points, 2)` to `(batch, 4)`."""
    ends = [tf.reduce_min(points, axis=1), tf.reduce_max(points, axis=1)]
    return tf.concat(ends, axis=-1)


def visible_hull(corners: Tensor) -> Tensor:
    """The box around the part of a quadrangle that is inside of the image.

    Clipping the quadrangle's own hull would give too large a box where a corner that
    makes it wide lies outside.

    Args:
        corners: Corners of convex quadrangles, as shares of the image, in order around
            them, shape `(batch, 4, 2)`.

    Returns:
        Boxes of shape `(batch, 4)`, NaN where nothing is visible.
    """
    # What is around the visible part: ends of the edges' visible pieces, and corners
    # of the image that lie in the quadrangle.
    following = tf.roll(corners, -1, axis=1)
    pieces, shown = _clipped_edges(corners, following - corners)
    frame = tf.constant([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    frame = tf.broadcast_to(tf.cast(frame, corners.dtype), tf.shape(corners))
    covered = _in_quadrangle(frame, corners, following - corners)
    points = tf.concat([pieces, frame], axis=1)
    there = tf.concat([shown, covered], axis=1)[..., None]
    low = tf.reduce_min(tf.where(there, points, 2.0), axis=1)
    high = tf.reduce_max(tf.where(there, points, -1.0), axis=1)
    box = tf.concat([low, high], axis=-1)
    return tf.where(tf.reduce_any(there, axis=1), box, float("nan"))


def _clipped_edges(start, step):
    """Both ends of the part of each edge that is in the image, and whether it is."""
    flat = tf.equal(step, 0.0)
    safe = tf.where(flat, 1.0, step)
    first, second = -start / safe, (1.0 - start) / safe
    # An edge along an axis is in the image for all of its length, or for none.
    between = tf.logical_and(start >= 0.0, start <= 1.0)
    enter = tf.where(flat, tf.where(between, 0.0, 2.0), tf.minimum(first, second))
    leave = tf.where(flat, tf.where(between, 1.0, -1.0), tf.maximum(first, second))
    enter = tf.maximum(tf.reduce_max(enter, axis=-1, keepdims=True), 0.0)
    leave = tf.minimum(tf.reduce_min(leave, axis=-1, keepdims=True), 1.0)
    shown = (enter <= leave)[..., 0]
    ends = tf.concat([start + enter * step, start + leave * step], axis=1)
    return tf.clip_by_value(ends, 0.0, 1.0), tf.concat([shown, shown], axis=1)


def _in_quadrangle(points, corners, step):
    """Boolean tensor `(batch, points)`: on one side of all four edges."""
    away = points[:, :, None] - corners[:, None]
    side = step[:, None, :, 0] * away[..., 1] - step[:, None, :, 1] * away[..., 0]
    left = tf.reduce_all(side > 0.0, axis=-1)
    return tf.logical_or(left, tf.reduce_all(side < 0.0, axis=-1))
