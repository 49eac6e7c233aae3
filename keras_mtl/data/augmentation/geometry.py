"""Changes that move the pixels: flips, turns, scales, shifts, crops."""

import dataclasses
import math

import tensorflow as tf

from keras_mtl.data.augmentation.batch import Batch, Transform
from keras_mtl.data.augmentation.motion import Motion, identity
from keras_mtl.data.seeding import uniform
from keras_mtl.utils.checks import (
    check_choice,
    check_count,
    check_non_negative,
    check_positive,
    check_share,
)
from keras_mtl.utils.types import Tensor


class Geometric(Transform):
    """A change that is a motion; several in a row sample the image only once."""

    def motion(self, image: Tensor, motion: Motion, seed: Tensor) -> Motion:
        """The motion so far, `motion`, followed by one drawn with `seed`."""
        raise NotImplementedError

    def apply(self, batch: Batch, seed: Tensor) -> Batch:
        return batch.moved(self.motion(batch.image, identity(batch.image), seed))


@dataclasses.dataclass(frozen=True)
class Flip(Geometric):
    """Exchanges left and right, or top and bottom.

    Classes that have a side change with a horizontal flip: see `swap` of the targets
    and `mirrored_tasks` of `augment`.

    Args:
        axis: `"horizontal"` or `"vertical"`.
        probability: Share of the examples that are flipped.
    """

    axis: str = "horizontal"
    probability: float = 0.5

    def __post_init__(self):
        check_choice("axis", self.axis, ("horizontal", "vertical"))
        check_share("probability", self.probability)

    def motion(self, image: Tensor, motion: Motion, seed: Tensor) -> Motion:
        flipped = uniform(seed, [tf.shape(image)[0]]) < self.probability
        sign, one = tf.where(flipped, -1.0, 1.0), tf.ones_like(flipped, tf.float32)
        if self.axis == "horizontal":
            return _then(motion, tf.stack([sign, one], axis=-1), mirrored=flipped)
        return _then(motion, tf.stack([one, sign], axis=-1))


@dataclasses.dataclass(frozen=True)
class Rotate(Geometric):
    """Turns the image around its centre, by up to `degrees` either way.

    Args:
        degrees: Number `>= 0`; angles are drawn from `-degrees` to `degrees`.
    """

    degrees: float = 15.0

    def __post_init__(self):
        check_non_negative("degrees", self.degrees)

    def motion(self, image: Tensor, motion: Motion, seed: Tensor) -> Motion:
        limit = math.radians(self.degrees)
        angles = uniform(seed, [tf.shape(image)[0]], -limit, limit)
        cos, sin = tf.cos(angles), tf.sin(angles)
        rows = [tf.stack([cos, -sin], axis=-1), tf.stack([sin, cos], axis=-1)]
        return _then(motion, tf.stack(rows, axis=1))


@dataclasses.dataclass(frozen=True)
class Scale(Geometric):
    """Makes what is in the image larger or smaller, around the centre.

    Args:
        low: Smallest factor, positive.
        high: Largest factor. The logarithm of the factor is uniform between them.
    """

    low: float = 0.8
    high: float = 1.25

    def __post_init__(self):
        check_positive("low", self.low)
        check_positive("high", self.high)
        if self.low > self.high:
            raise ValueError(f"Expected `low` <= `high`. Received: {self}")

    def motion(self, image: Tensor, motion: Motion, seed: Tensor) -> Motion:
        ends = math.log(self.low), math.log(self.high)
        factors = tf.exp(uniform(seed, [tf.shape(image)[0], 1], *ends))
        return _then(motion, tf.repeat(factors, 2, axis=-1))


@dataclasses.dataclass(frozen=True)
class Shift(Geometric):
    """Moves what is in the image, by up to a share of its width and height.

    Args:
        share: Number from 0 to 1.
    """

    share: float = 0.1

    def __post_init__(self):
        check_share("share", self.share)

    def motion(self, image: Tensor, motion: Motion, seed: Tensor) -> Motion:
        shares = uniform(seed, [tf.shape(image)[0], 2], -self.share, self.share)
        height, width = motion.output_size
        return _then(motion, offset=shares * tf.constant([width, height], tf.float32))


@dataclasses.dataclass(frozen=True)
class Crop(Geometric):
    """Cuts a window out of the image, one for each example, at whole pixels.

    Maps beside the image are cut to match. A box in it is measured anew.

    Args:
        height: Height of the window, in pixels.
        width: Its width.
    """

    height: int
    width: int

    def __post_init__(self):
        check_count("height", self.height)
        check_count("width", self.width)

    def motion(self, image: Tensor, motion: Motion, seed: Tensor) -> Motion:
        size = (self.height, self.width)
        room = [old - new for old, new in zip(motion.output_size, size, strict=True)]
        if min(room) < 0:
            raise ValueError(
                f"Expected a crop of at most {motion.output_size} (height, width). "
                f"Received: {self}"
            )
        room = tf.constant(room[::-1], tf.float32)
        shares = uniform(seed, [tf.shape(image)[0], 2])
        corner = tf.minimum(tf.floor(shares * (room + 1.0)), room)
        moved = _then(motion, offset=room / 2.0 - corner)
        return dataclasses.replace(moved, output_size=size)


def quarter_turns(motion: Motion, turns: Tensor) -> Motion:
    """`motion`, followed by quarter turns anti-clockwise, without rounding.

    Args:
        motion: Motion of square images.
        turns: Integer tensor of shape `(batch,)`, from 0 to 3.

    Raises:
        ValueError: If the images are not square.
    """
    height, width = motion.output_size
    if height != width:
        raise ValueError(
            "Expected square images for quarter turns. "
            f"Received: height={height}, width={width}"
        )
    # y points down, hence the signs.
    matrices = [
        [[1, 0], [0, 1]],
        [[0, 1], [-1, 0]],
        [[-1, 0], [0, -1]],
        [[0, -1], [1, 0]],
    ]
    return _then(motion, tf.gather(tf.constant(matrices, tf.float32), turns))


def _then(motion, matrix=None, offset=None, mirrored=None):
    """`motion` followed by one of the same size.

    `matrix` has shape `(batch, 2)`, a diagonal, or `(batch, 2, 2)`.
    """
    size = motion.output_size
    matrix = tf.ones_like(motion.offset) if matrix is None else matrix
    if matrix.shape.rank == 2:
        matrix = tf.linalg.diag(matrix)
    offset = tf.zeros_like(motion.offset) if offset is None else offset
    if mirrored is None:
        mirrored = tf.zeros_like(motion.mirrored)
    return motion.then(Motion(matrix, offset, mirrored, size, size))
