"""How the label of each kind of task follows its image."""

import dataclasses
from typing import ClassVar

import numpy as np
import tensorflow as tf

from keras_mtl.data.augmentation.boxes import area, hull, visible_hull
from keras_mtl.data.augmentation.motion import Motion
from keras_mtl.utils.checks import check_count, check_share
from keras_mtl.utils.registry import Registry
from keras_mtl.utils.types import Tensor

registry = Registry("target")


@dataclasses.dataclass(frozen=True)
class Target:
    """A kind of label; this one does not change when the image moves.

    Attributes:
        missing: Value that means "not labelled".
        ranks: Numbers of axes that the labels may have, the batch included; empty for
            any number.
        floating: Whether the labels must be of a floating dtype.
    """

    missing = float("nan")
    ranks: ClassVar[tuple[int, ...]] = ()
    floating: ClassVar[bool] = True

    def moved(self, value: Tensor, motion: Motion) -> Tensor:
        """The labels after a motion of the images."""
        return value

    def covered(self, value: Tensor, patch: Tensor) -> Tensor:
        """The labels once a patch of the image is hidden.

        Args:
            value: Labels of the batch.
            patch: Corners of the patches as shares of the image, `(batch, 4)`.
        """
        return value

    def mixed(self, value: Tensor, other: Tensor, share: Tensor) -> Tensor:
        """The labels of mixed images; by default only unmixed images keep one.

        Args:
            value: Labels of the batch.
            other: Labels of the images that are mixed in, of the same shape.
            share: Share of the first image, shape `(batch,)`, 1 where not mixed.
        """
        return self.unlabelled(value, share < 1.0)

    def unlabelled(self, value: Tensor, where: Tensor) -> Tensor:
        """The labels without those of some examples.

        Args:
            value: Labels of the batch.
            where: Boolean tensor whose axes are the first ones of `value`.
        """
        return tf.where(expanded(where, value), self._missing_like(value), value)

    def is_labelled(self, value: Tensor) -> Tensor:
        """Boolean tensor of the labels' shape: where there is one."""
        there = tf.not_equal(value, self._missing_like(value))
        if value.dtype.is_floating:
            there = tf.logical_and(there, tf.logical_not(tf.math.is_nan(value)))
        return there

    def get_config(self) -> dict:
        """Arguments that rebuild this target."""
        return dataclasses.asdict(self)

    def check(self, name: str, labels: tf.TensorSpec) -> None:
        """Raises a `ValueError` unless a batch of labels can be of this kind.

        Args:
            name: Name of the labels.
            labels: Their dtype and shape.
        """
        wrong = self.ranks and labels.shape.rank not in self.ranks
        if wrong or (self.floating and not labels.dtype.is_floating):
            raise ValueError(
                f"Expected labels for {type(self).__name__} to have "
                f"{self.ranks or 'any number of'} axes and a "
                f"{'floating' if self.floating else 'numeric'} dtype. Received: {name} "
                f"with shape={labels.shape}, dtype={labels.dtype.name}"
            )

    def _missing_like(self, value):
        return tf.cast(self.missing, value.dtype)


@registry.register("class")
@dataclasses.dataclass(frozen=True)
class ClassTarget(Target):
    """Class indices of shape `(batch,)` or `(batch, 1)`; they stay what they are.

    Args:
        missing: Index that means "not labelled", as in `Task(missing=-1)`.
        swap: Pairs of classes that change places in a mirrored image ("left" and
            "right").
        num_classes: Number of classes, which `MixUp` needs. It makes the labels
            distributions `(batch, num_classes)`, for heads with `one_hot=True`, and a
            missing one a row of NaN.
    """

    ranks = (1, 2)
    floating = False
    missing: int = -1
    swap: tuple[tuple[int, int], ...] = ()
    num_classes: int | None = None

    def __post_init__(self):
        if self.num_classes is not None:
            check_count("num_classes", self.num_classes, 2)

    def moved(self, value: Tensor, motion: Motion) -> Tensor:
        return swapped(value, self.swap, motion)

    def mixed(self, value: Tensor, other: Tensor, share: Tensor) -> Tensor:
        if self.num_classes is None:
            raise ValueError(
                "Mixed images have two classes. Expected `num_classes` to be set, so "
                "that labels become distributions (and a head with `one_hot=True`). "
                f"Received: {self}"
            )
        return _blended(self._distribution(value), self._distribution(other), share)

    def _distribution(self, value):
        index = tf.reshape(value, (-1,))
        rows = tf.one_hot(index, self.num_classes)
        # `one_hot` gives zeros for an index outside, -1 among them.
        known = tf.logical_and(index >= 0, index < self.num_classes)
        known = tf.logical_and(known, tf.not_equal(index, self._missing_like(index)))
        return tf.where(known[:, None], rows, np.nan)


@registry.register("value")
@dataclasses.dataclass(frozen=True)
class ValueTarget(Target):
    """Real values of shape `(batch, …)`.

    Args:
        power: How the values grow with the image: they are multiplied by
            `scale ** power`. 0 for what does not depend on size, 1 for lengths in
            pixels, 2 for areas.
        missing: Value that means "not labelled", as in `Task(missing=…)`. NaN always
            means it.
    """

    power: float = 0.0
    missing: float = float("nan")

    def moved(self, value: Tensor, motion: Motion) -> Tensor:
        if not self.power:
            return value
        factor = expanded(tf.cast(motion.scale**self.power, value.dtype), value)
        return tf.where(self.is_labelled(value), value * factor, value)

    def mixed(self, value: Tensor, other: Tensor, share: Tensor) -> Tensor:
        both = tf.logical_and(self.is_labelled(value), self.is_labelled(other))
        lost = tf.logical_and(expanded(share < 1.0, value), tf.logical_not(both))
        return self.unlabelled(_blended(value, other, share), lost)


@registry.register("box")
@dataclasses.dataclass(frozen=True)
class BoxTarget(Target):
    """Corners `x1, y1, x2, y2` as shares of width and height, `(batch, 4)`.

    They are those of `heads.BoundingBox`. After a turn, the box is the one around the
    turned box: tight for rectangles, too large for what does not fill its box. A box
    that leaves the image is clipped. A mixed image has no box, since it has two.

    Args:
        min_visible: Area of the clipped box, as a share of that of the whole one, from
            which on it is a label; below, the example has no box (NaN). The same holds
            for what `CutOut` covers.
    """

    ranks = (2,)
    min_visible: float = 0.3

    def __post_init__(self):
        check_share("min_visible", self.min_visible)

    def moved(self, value: Tensor, motion: Motion) -> Tensor:
        corners = motion.corners(value)
        seen = visible_hull(corners)
        share = tf.math.divide_no_nan(area(seen), area(hull(corners)))
        hidden = tf.logical_or(share < self.min_visible, share <= 0.0)
        return self.unlabelled(tf.cast(seen, value.dtype), hidden)

    def covered(self, value: Tensor, patch: Tensor) -> Tensor:
        patch = tf.cast(patch, value.dtype)
        low = tf.maximum(value[:, :2], patch[:, :2])
        high = tf.maximum(low, tf.minimum(value[:, 2:], patch[:, 2:]))
        hidden = area(tf.concat([low, high], axis=-1))
        share = 1.0 - tf.math.divide_no_nan(hidden, area(value))
        return self.unlabelled(value, share < self.min_visible)


def expanded(tensor, reference):
    """`tensor` with trailing axes of 1 up to the rank of `reference`."""
    while tensor.shape.rank < reference.shape.rank:
        tensor = tensor[..., None]
    return tensor


def _blended(value, other, share):
    """Means where mixed; elsewhere the value, whether or not the other is NaN."""
    share = expanded(tf.cast(share, value.dtype), value)
    return tf.where(share < 1.0, share * value + (1.0 - share) * other, value)


def swapped(value, pairs, motion):
    """The classes after pairs of them changed places where the image is mirrored."""
    new = value
    for one, other in pairs:
        new = tf.where(tf.equal(value, one), tf.cast(other, value.dtype), new)
        new = tf.where(tf.equal(value, other), tf.cast(one, value.dtype), new)
    return tf.where(expanded(motion.mirrored, value), new, value)
