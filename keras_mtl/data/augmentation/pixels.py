"""Changes of the pixels' values: cut-out, mix-up, any function of the image."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from keras_mtl.data.augmentation.batch import Batch, Transform
from keras_mtl.data.augmentation.map_targets import inside
from keras_mtl.data.seeding import fold, uniform
from keras_mtl.utils.checks import check_positive, check_share
from keras_mtl.utils.types import Tensor


@dataclasses.dataclass(frozen=True)
class Pixels(Transform):
    """Any change of the image that leaves every label true: light, noise, blur.

    Args:
        function: `function(image, seed) -> image` on one image of shape
            `(height, width, channels)`, as TensorFlow's `tf.image.stateless_random_…`
            have it.

    Example:
    >>> light = Pixels(lambda image, seed:
    ...     tf.image.stateless_random_brightness(image, 0.2, seed))
    """

    function: Callable[[Tensor, Tensor], Tensor]

    def apply(self, batch: Batch, seed: Tensor) -> Batch:
        seeds = tf.map_fn(
            lambda row: fold(seed, row),
            tf.range(batch.size),
            fn_output_signature=seed.dtype,
        )
        image = tf.map_fn(
            lambda pair: self.function(*pair),
            (batch.image, seeds),
            fn_output_signature=batch.image.dtype,
        )
        image = tf.ensure_shape(image, batch.image.shape)
        return dataclasses.replace(batch, image=image)


@dataclasses.dataclass(frozen=True)
class CutOut(Transform):
    """Covers one rectangle of each image.

    Classes and values stay. Covered pixels of maps are not labelled, and neither is a
    box of which less than its `min_visible` can be seen.

    Args:
        low: Smallest side, as a share of the image's.
        high: Largest side. Width and height are drawn each for itself; the whole
            rectangle is inside of the image.
        fill: Value of covered pixels.
        probability: Share of the examples that are covered.

    Reference:
        - [DeVries & Taylor, 2017](https://arxiv.org/abs/1708.04552); there the square
          may reach over the border.
    """

    low: float = 0.1
    high: float = 0.4
    fill: float = 0.0
    probability: float = 1.0

    def __post_init__(self):
        for name in ("low", "high", "probability"):
            check_share(name, getattr(self, name))
        if self.low > self.high:
            raise ValueError(f"Expected `low` <= `high`. Received: {self}")

    def apply(self, batch: Batch, seed: Tensor) -> Batch:
        draws = uniform(seed, [batch.size, 5])
        sides = self.low + (self.high - self.low) * draws[:, :2]
        sides = tf.where(draws[:, 4:] < self.probability, sides, 0.0)
        corner = (1.0 - sides) * draws[:, 2:4]
        patch = tf.concat([corner, corner + sides], axis=-1)
        covered = inside(patch, batch.image.shape[1:3])[..., None]
        image = tf.where(covered, tf.cast(self.fill, batch.image.dtype), batch.image)
        batch = batch.changed(lambda target, value: target.covered(value, patch))
        return dataclasses.replace(batch, image=image)


@dataclasses.dataclass(frozen=True)
class MixUp(Transform):
    """Mixes each image with the next one of the batch.

    `image = share · image + (1 - share) · next`, with `share ~ Beta(alpha, alpha)`.
    Class targets become distributions, mixed in the same way (they need
    `num_classes`, and heads with `one_hot=True`), as do values. Where a label cannot
    be mixed, or one of the two is missing, there is none: boxes, and pixels whose
    classes differ.

    The batch must be in random order. In a last batch of one example, the next one
    is itself.

    Args:
        alpha: Positive number; the smaller, the less equal the shares.
        probability: Share of the examples that are mixed.

    Reference:
        - [Zhang et al., 2018](https://arxiv.org/abs/1710.09412), equation 2. There
          one share is drawn for the whole batch.
    """

    alpha: float = 0.2
    probability: float = 1.0

    def __post_init__(self):
        check_positive("alpha", self.alpha)
        check_share("probability", self.probability)

    def apply(self, batch: Batch, seed: Tensor) -> Batch:
        gammas = tf.random.stateless_gamma([batch.size, 2], fold(seed, 0), self.alpha)
        share = tf.math.divide_no_nan(gammas[:, 0], tf.reduce_sum(gammas, axis=-1))
        mixed = uniform(fold(seed, 1), [batch.size]) < self.probability
        share = tf.where(mixed, share, 1.0)
        of_image = tf.cast(share[:, None, None, None], batch.image.dtype)
        image = of_image * batch.image + (1.0 - of_image) * _next(batch.image)
        batch = batch.changed(
            lambda target, value: target.mixed(value, _next(value), share)
        )
        return dataclasses.replace(batch, image=image)


def _next(tensor):
    return tf.roll(tensor, -1, axis=0)
