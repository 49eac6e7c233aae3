"""Tasks whose labels are made from the inputs: rotation, masking, denoising.

Each function adds one label to the batches, under the name of an ordinary `Task`.
Examples without any other label train the shared part all the same.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from keras_mtl.data.augmentation import Batch, ClassTarget, Transform, augment
from keras_mtl.data.augmentation.geometry import quarter_turns
from keras_mtl.data.augmentation.motion import identity
from keras_mtl.data.pipelines import EpochOrder
from keras_mtl.data.seeding import check_input, check_pairs, seeded_map, uniform
from keras_mtl.utils.checks import check_count, check_positive, check_share
from keras_mtl.utils.types import Tensor


@dataclasses.dataclass(frozen=True)
class QuarterTurns(Transform):
    """Turns each image by 0, 90, 180 or 270 degrees, which becomes a label.

    Args:
        name: Name of the new label: the number of quarter turns, anti-clockwise.
        unlabel: Names of labels that turned images lose, since they would be wrong (a
            turned 6 is a 9) or should be learnt from upright images.
    """

    name: str = "rotation"
    unlabel: tuple[str, ...] = ()

    def apply(self, batch: Batch, seed: Tensor) -> Batch:
        turns = tf.random.stateless_uniform(
            [batch.size], seed, 0, 4, tf.int32, alg="philox"
        )
        turned = batch.moved(quarter_turns(identity(batch.image), turns))
        turned = turned.unlabelled(self.unlabel, turns > 0)
        return turned.with_label(self.name, turns, ClassTarget())


def rotation(
    dataset: tf.data.Dataset,
    targets: Mapping[str, Any],
    *,
    name: str = "rotation",
    unlabel: Sequence[str] = (),
    **options,
) -> tf.data.Dataset:
    """Turns images by quarters; the label `name` says how often, from 0 to 3.

    It goes with `Task("rotation", heads.Classification(4))`. Other labels turn with
    their image. To turn after other changes, use `QuarterTurns` among the transforms
    of `augment`.

    Args:
        dataset: As in `augment`; the images are square.
        targets: As in `augment`.
        name: Name of the new label.
        unlabel: Names of labels that turned images lose.
        **options: `seed`, `epoch`, `image`, `fill` of `augment`.

    Returns:
        A `tf.data.Dataset` of `(x, y)` with one label more.

    Raises:
        ValueError: As `augment`, and for images that are not square.

    Example:
    >>> data = tf.data.Dataset.from_tensors((tf.ones((8, 4, 4, 1)), {}))
    >>> x, y = next(iter(rotation(data, {}, seed=1)))
    >>> sorted(set(y["rotation"].numpy().tolist()))
    [0, 1, 2, 3]

    Reference:
        - [Gidaris et al., 2018](https://arxiv.org/abs/1803.07728), section 3.1, where
          each image comes in all four rotations at once.
    """
    turns = QuarterTurns(name, tuple(unlabel))
    return augment(dataset, [turns], targets, **options)


def masking(
    dataset: tf.data.Dataset,
    *,
    name: str = "hidden",
    share: float = 0.3,
    patch: int = 1,
    fill: float = 0.0,
    feature: str | None = None,
    seed: int = 0,
    epoch: int | EpochOrder = 0,
) -> tf.data.Dataset:
    """Hides entries of the input; the label `name` is what was there.

    Labels are the hidden entries; the others are NaN, so that the loss runs over what
    could not be copied. The heads are `RegressionMap((height, width), channels)` for
    images and `Regression(columns)` for tables.

    Args:
        dataset: Batches `(x, y)` or `(x, y, sample_weight)`.
        name: Name of the new label.
        share: Probability that a patch is hidden.
        patch: Side of the hidden squares of an image, in pixels, which divides its
            height and width. 1 hides single pixels (all channels), or single entries
            of a table.
        fill: What the model sees there.
        feature: Name of the input, if `x` is a dict.
        seed: Integer `>= 0`.
        epoch: Number of the epoch, or the `EpochOrder` that `fit` has as a callback.

    Returns:
        A `tf.data.Dataset` with one label more.

    Raises:
        ValueError: If `share` is no share, or `patch` does not divide the image.

    Example:
    >>> data = tf.data.Dataset.from_tensors((tf.constant([[5.0, 6.0, 7.0]]), {}))
    >>> x, y = next(iter(masking(data, share=1.0)))
    >>> x.numpy().tolist(), y["hidden"].numpy().tolist()
    ([[0.0, 0.0, 0.0]], [[5.0, 6.0, 7.0]])

    Reference:
        - [He et al., 2022](https://arxiv.org/abs/2111.06377), section 3, for images;
          there the encoder does not see hidden patches at all.
    """
    check_share("share", share)
    check_count("patch", patch)

    def masked(clean, seeds):
        hidden = uniform(seeds, _patches(clean, patch)) < share
        if clean.shape.rank == 4:
            hidden = tf.repeat(tf.repeat(hidden, patch, axis=1), patch, axis=2)
        nothing = tf.cast(float("nan"), clean.dtype)
        seen = tf.where(hidden, tf.cast(fill, clean.dtype), clean)
        return seen, tf.where(hidden, clean, nothing)

    return _with_clean(dataset, masked, name, feature, seed, epoch)


def denoising(
    dataset: tf.data.Dataset,
    *,
    name: str = "clean",
    stddev: float = 0.1,
    feature: str | None = None,
    seed: int = 0,
    epoch: int | EpochOrder = 0,
) -> tf.data.Dataset:
    """Adds Gaussian noise to the input; the label `name` is the clean input.

    The heads are those of `masking`.

    Args:
        dataset: Batches `(x, y)` or `(x, y, sample_weight)`.
        name: Name of the new label.
        stddev: Positive standard deviation of the noise, in units of the input.
        feature: Name of the input, if `x` is a dict.
        seed: Integer `>= 0`.
        epoch: Number of the epoch, or the `EpochOrder` that `fit` has as a callback.

    Returns:
        A `tf.data.Dataset` with one label more.

    Raises:
        ValueError: If `stddev` is not positive.

    Example:
    >>> data = tf.data.Dataset.from_tensors((tf.ones((1, 2)), {}))
    >>> x, y = next(iter(denoising(data)))
    >>> y["clean"].numpy().tolist(), bool(tf.reduce_all(x != 1.0))
    ([[1.0, 1.0]], True)

    Reference:
        - [Vincent et al., 2008](https://doi.org/10.1145/1390156.1390294), section 2.3,
          which hides entries; noise is in their later work.
    """
    check_positive("stddev", stddev)

    def noisy(clean, seeds):
        noise = tf.random.stateless_normal(
            tf.shape(clean), seeds, stddev=stddev, dtype=clean.dtype, alg="philox"
        )
        return clean + noise, clean

    return _with_clean(dataset, noisy, name, feature, seed, epoch)


def _with_clean(dataset, corrupted, name, feature, seed, epoch):
    """The dataset with corrupted inputs and one label more.

    `corrupted(clean, seed) -> (input, label)`.
    """
    inputs, labels = check_pairs(dataset)
    check_input(inputs, feature)
    if name in labels:
        raise ValueError(
            f"Expected `name` to be free; the labels are {sorted(labels)}. Received: "
            f"name={name!r}"
        )

    @tf.autograph.experimental.do_not_convert
    def changed(seeds, x, y, *weights):
        seen, label = corrupted(x if feature is None else x[feature], seeds)
        x = seen if feature is None else {**x, feature: seen}
        return (x, {**y, name: label}, *weights)

    return seeded_map(dataset, changed, seed=seed, epoch=epoch)


def _patches(clean, patch):
    """Shape of the grid of patches of a batch."""
    shape = clean.shape
    if shape.rank == 4:
        sides = shape[1:3]
        if None in tuple(sides) or any(side % patch for side in sides):
            raise ValueError(
                "Expected `patch` to divide the height and the width of the images, "
                f"{tuple(sides)}. Received: patch={patch}"
            )
        return [tf.shape(clean)[0], *(side // patch for side in sides), 1]
    if patch > 1:
        raise ValueError(
            "Expected `patch` to be 1 for inputs that are no images. "
            f"Received: patch={patch}, shape={tuple(shape)}"
        )
    return tf.shape(clean)
