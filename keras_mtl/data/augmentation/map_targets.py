"""How the labels of pixels follow their image."""

import dataclasses

import tensorflow as tf

from keras_mtl.data.augmentation.motion import Motion
from keras_mtl.data.augmentation.targets import (
    Target,
    ValueTarget,
    expanded,
    registry,
    swapped,
)
from keras_mtl.utils.types import Tensor

# How much of a bilinear sample may come from pixels without a label.
_TOLERANCE = 1e-3


@registry.register("segmentation")
@dataclasses.dataclass(frozen=True)
class SegmentationTarget(Target):
    """Classes of pixels, `(batch, height, width)` or with a last axis of 1.

    A pixel takes the class of the nearest one. Those that come from outside of the
    image, are covered, or get two classes from mixed images are not labelled.

    Args:
        missing: Class that means "not labelled", the one of `Task(missing=…)`.
        swap: Pairs of classes that change places in a mirrored image.
    """

    ranks = (3, 4)
    floating = False
    missing: int = 255
    swap: tuple[tuple[int, int], ...] = ()

    def moved(self, value: Tensor, motion: Motion) -> Tensor:
        maps = tf.cast(_as_maps(value), tf.int32)
        maps = motion.sampled(maps, "nearest", self.missing)
        maps = tf.cast(maps, value.dtype)
        return swapped(_like_labels(maps, value), self.swap, motion)

    def covered(self, value: Tensor, patch: Tensor) -> Tensor:
        return self.unlabelled(value, inside(patch, value.shape[1:3]))

    def mixed(self, value: Tensor, other: Tensor, share: Tensor) -> Tensor:
        differ = tf.not_equal(value, other)
        mixed = expanded(share < 1.0, value)
        return self.unlabelled(value, tf.logical_and(mixed, differ))


@registry.register("map")
@dataclasses.dataclass(frozen=True)
class MapTarget(ValueTarget):
    """Real values of pixels, `(batch, height, width)` or with a last axis of units.

    A pixel takes the bilinear mean of its four neighbours, and no value if one of them
    has none or lies outside. Covered pixels have none. The axes of vectors (flow,
    normals) do not turn with the image.

    Args:
        power: As in `ValueTarget`. -1 for depth, if a scaled image stands for
            another distance.
        missing: As in `ValueTarget`; 0 is usual for depth.
    """

    ranks = (3, 4)

    def moved(self, value: Tensor, motion: Motion) -> Tensor:
        maps = _as_maps(value)
        labelled = self.is_labelled(maps)
        weights = tf.cast(labelled, maps.dtype)
        sums = motion.sampled(tf.where(labelled, maps, 0.0), "bilinear", 0.0)
        weights = motion.sampled(weights, "bilinear", 0.0)
        there = weights > 1.0 - _TOLERANCE
        means = sums / tf.where(there, weights, 1.0)
        means = self.unlabelled(means, tf.logical_not(there))
        return super().moved(_like_labels(means, value), motion)

    def covered(self, value: Tensor, patch: Tensor) -> Tensor:
        return self.unlabelled(value, inside(patch, value.shape[1:3]))


class MaskTarget(Target):
    """The mask beside labels (`"<label>_mask"`), one per example or per pixel."""

    missing = False
    floating = False

    def moved(self, value: Tensor, motion: Motion) -> Tensor:
        if value.shape.rank < 3:
            return value
        return SegmentationTarget(missing=0).moved(value, motion)

    def mixed(self, value: Tensor, other: Tensor, share: Tensor) -> Tensor:
        mixed = expanded(share < 1.0, value)
        return tf.where(mixed, tf.logical_and(value, other), value)


def inside(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boolean maps `(batch, *size)`: the pixels whose centre is in the box."""
    height, width = size
    x1, y1, x2, y2 = tf.unstack(boxes[:, :, None], axis=1)
    x = (tf.range(width, dtype=tf.float32) + 0.5) / width
    y = (tf.range(height, dtype=tf.float32) + 0.5) / height
    columns = tf.logical_and(x >= x1, x < x2)
    rows = tf.logical_and(y >= y1, y < y2)
    return tf.logical_and(rows[:, :, None], columns[:, None, :])


def _as_maps(value):
    return value[..., None] if value.shape.rank == 3 else value


def _like_labels(maps, value):
    return maps[..., 0] if value.shape.rank == 3 else maps
