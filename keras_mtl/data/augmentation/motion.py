"""How the points of a batch of images move: one affine map per example."""

import dataclasses

import tensorflow as tf

from keras_mtl.utils.types import Tensor


@dataclasses.dataclass(frozen=True)
class Motion:
    """`out = matrix · in + offset`, in pixels of the image from its centre.

    Coordinates are continuous, x first: the edges of pixels are at whole numbers from
    the image's border, their centres half-way. Measured from the centre, flips and
    quarter turns have no rounding at all.

    Attributes:
        matrix: Float32 tensor of shape `(batch, 2, 2)`.
        offset: Float32 tensor of shape `(batch, 2)`.
        mirrored: Boolean tensor of shape `(batch,)`: where left and right have been
            exchanged.
        input_size: `(height, width)` of the images, in pixels.
        output_size: The same after the motion.

    Example:
    >>> flip = Motion(
    ...     tf.constant([[[-1.0, 0.0], [0.0, 1.0]]]), tf.zeros((1, 2)),
    ...     tf.constant([True]), (4, 8), (4, 8))
    >>> flip.corners(tf.constant([[0.0, 0.25, 0.25, 0.5]]))[0, 0].numpy().tolist()
    [1.0, 0.25]
    """

    matrix: Tensor
    offset: Tensor
    mirrored: Tensor
    input_size: tuple[int, int]
    output_size: tuple[int, int]

    def then(self, other: "Motion") -> "Motion":
        """This motion followed by another one."""
        offset = tf.linalg.matvec(other.matrix, self.offset) + other.offset
        return Motion(
            other.matrix @ self.matrix,
            offset,
            tf.math.logical_xor(self.mirrored, other.mirrored),
            self.input_size,
            other.output_size,
        )

    @property
    def scale(self) -> Tensor:
        """Factor by which lengths grow, of shape `(batch,)`."""
        return tf.sqrt(tf.abs(_determinant(self.matrix)))

    def corners(self, boxes: Tensor) -> Tensor:
        """The four moved corners of each box, in order around it.

        Args:
            boxes: Corners `x1, y1, x2, y2` as shares of width and height, shape
                `(batch, 4)`.

        Returns:
            Points of shape `(batch, 4, 2)` as shares of the new width and height.
        """
        x1, y1, x2, y2 = tf.unstack(tf.cast(boxes, tf.float32), axis=-1)
        points = tf.stack([x1, y1, x2, y1, x2, y2, x1, y2], axis=-1)
        points = tf.reshape(points, (-1, 4, 2)) - 0.5
        points *= tf.constant(self.input_size[::-1], tf.float32)
        points = tf.matmul(points, self.matrix, transpose_b=True)
        points += self.offset[:, None]
        return points / tf.constant(self.output_size[::-1], tf.float32) + 0.5

    def sampled(self, maps: Tensor, interpolation: str, fill: float) -> Tensor:
        """The moved maps; they may be smaller or larger than the image.

        Args:
            maps: Tensor of shape `(batch, height, width, channels)`.
            interpolation: `"nearest"` or `"bilinear"`.
            fill: Value of what comes from outside.

        Returns:
            Tensor of the same rank and dtype.

        Raises:
            ValueError: If the size of the moved map is not whole.
        """
        size = tf.constant(tuple(maps.shape)[2:0:-1], tf.float32)
        ratio = size / tf.constant(self.input_size[::-1], tf.float32)
        new_size = [
            self._new_side(side, axis) for axis, side in enumerate(maps.shape[1:3])
        ]
        # `D A⁻¹ D⁻¹` with `D = diag(ratio)` maps new points of the map to old ones.
        back = _inverse(self.matrix) * ratio[:, None] / ratio
        centre = (tf.constant(new_size[::-1], tf.float32) - 1.0) / 2.0
        start = (size - 1.0) / 2.0 - tf.linalg.matvec(
            back, centre + self.offset * ratio
        )
        rows = tf.concat([back, start[..., None]], axis=-1)
        zeros = tf.zeros_like(start)
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=maps,
            transforms=tf.concat([tf.reshape(rows, (-1, 6)), zeros], axis=-1),
            output_shape=new_size,
            fill_value=float(fill),
            interpolation=interpolation.upper(),
            fill_mode="CONSTANT",
        )

    def _new_side(self, side, axis):
        new, rest = divmod(side * self.output_size[axis], self.input_size[axis])
        if rest:
            raise ValueError(
                f"A map with a side of {side} beside an image of "
                f"{self.input_size[axis]} pixels cannot be cut to match "
                f"{self.output_size[axis]} pixels. Expected the size of a crop to "
                "leave whole pixels of every map"
            )
        return new


def identity(image: Tensor) -> Motion:
    """No motion at all, for images of shape `(batch, height, width, channels)`."""
    batch = tf.shape(image)[0]
    size = tuple(image.shape[1:3])
    return Motion(
        tf.eye(2, batch_shape=[batch]),
        tf.zeros((batch, 2)),
        tf.zeros((batch,), tf.bool),
        size,
        size,
    )


def _determinant(matrix):
    a, b, c, d = tf.unstack(tf.reshape(matrix, (-1, 4)), axis=-1)
    return a * d - b * c


def _inverse(matrix):
    """Without factorisation, hence exact for flips and quarter turns."""
    a, b, c, d = tf.unstack(tf.reshape(matrix, (-1, 4)), axis=-1)
    adjugate = tf.reshape(tf.stack([d, -b, -c, a], axis=-1), (-1, 2, 2))
    return adjugate / _determinant(matrix)[:, None, None]
