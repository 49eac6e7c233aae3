"""Random changes of images, with every label that follows them."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from keras_mtl.data.augmentation.batch import Batch, Transform
from keras_mtl.data.augmentation.geometry import Geometric
from keras_mtl.data.augmentation.map_targets import MaskTarget
from keras_mtl.data.augmentation.motion import identity
from keras_mtl.data.augmentation.targets import Target, registry
from keras_mtl.data.pipelines import EpochOrder
from keras_mtl.data.seeding import check_input, check_pairs, fold, seeded_map
from keras_mtl.task import MASK_SUFFIX
from keras_mtl.utils.checks import check_keys


def augment(
    dataset: tf.data.Dataset,
    transforms: Sequence[Transform],
    targets: Mapping[str, Any],
    *,
    seed: int = 0,
    epoch: int | EpochOrder = 0,
    image: str | None = None,
    fill: float = 0.0,
    mirrored_tasks: Sequence[tuple[str, str]] = (),
) -> tf.data.Dataset:
    """Changes the images of `(x, y)` batches at random, and keeps every label true.

    Labels that are missing stay missing. Motions that follow each other sample the
    image once. Everything that is drawn depends on `seed`, the epoch and the position
    of the batch only, so that a resumed run sees the same images.

    Keras' layers do not serve here. They draw from a counter that starts anew in each
    process; boxes are wrong in `RandomCrop` (x and y exchanged) and, as shares of the
    image, in `RandomRotation`; masks get the image's fill value from outside, not
    "not labelled"; `MixUp` gives one image two boxes. (keras 3.15)

    Args:
        dataset: Batches `(x, y)` or `(x, y, sample_weight)` of images of one size and
            a floating dtype (as `pairs` makes them); `y` is a dict. Weights stay as
            they are.
        transforms: Transforms, applied in this order.
        targets: The kind of every label in `y`: `"class"`, `"value"`, `"box"`,
            `"segmentation"`, `"map"`, or a target with arguments. Masks
            (`"<label>_mask"`) follow of themselves.
        seed: Integer `>= 0`.
        epoch: Number of the epoch, or the `EpochOrder` that `fit` has as a callback.
        image: Name of the image, if `x` is a dict.
        fill: Value of pixels from outside of the image.
        mirrored_tasks: Pairs of labels that change places in mirrored images, such as
            the boxes of a left and a right hand.

    Returns:
        A `tf.data.Dataset` of the same structure.

    Raises:
        ValueError: If a label has no kind or a kind no label, or shapes or dtypes
            cannot be right.

    Cost: on the CPU, in the input pipeline. Images and maps are sampled once for each
    run of motions.

    Example:
    >>> from keras_mtl.data.augmentation import Flip
    >>> x = tf.reshape(tf.range(8.0), (1, 2, 4, 1))
    >>> y = {"digit": [3], "box": [[0.0, 0.0, 0.5, 1.0]]}
    >>> data = tf.data.Dataset.from_tensor_slices((x, y)).batch(1)
    >>> flips = [Flip("horizontal", probability=1.0)]
    >>> data = augment(data, flips, {"digit": "class", "box": "box"}, seed=7)
    >>> x, y = next(iter(data))
    >>> x[0, 0, :, 0].numpy().tolist(), y["box"].numpy().tolist()
    ([3.0, 2.0, 1.0, 0.0], [[0.5, 0.0, 1.0, 1.0]])
    """
    inputs, labels = check_pairs(dataset)
    _check_images(check_input(inputs, image))
    kinds = _kinds(labels, targets, mirrored_tasks)
    pairs = tuple((one, other) for one, other in mirrored_tasks)

    @tf.autograph.experimental.do_not_convert
    def changed(seeds, x, y, *weights):
        pixels = x if image is None else x[image]
        batch = Batch(pixels, dict(y), kinds, fill, pairs)
        batch = apply(batch, transforms, seeds)
        x = batch.image if image is None else {**x, image: batch.image}
        return (x, batch.labels, *weights)

    return seeded_map(dataset, changed, seed=seed, epoch=epoch)


def apply(batch: Batch, transforms: Sequence[Transform], seed: Any) -> Batch:
    """The batch after all transforms; motions in a row become one."""
    motion = None
    for index, transform in enumerate(transforms):
        own = fold(seed, index)
        if isinstance(transform, Geometric):
            so_far = identity(batch.image) if motion is None else motion
            motion = transform.motion(batch.image, so_far, own)
            continue
        if motion is not None:
            batch, motion = batch.moved(motion), None
        batch = transform.apply(batch, own)
    return batch if motion is None else batch.moved(motion)


def _check_images(image):
    shape = image.shape
    if shape.rank != 4 or None in tuple(shape)[1:] or not image.dtype.is_floating:
        raise ValueError(
            "Expected batches of images of one size, of shape (batch, height, width, "
            f"channels) and a floating dtype. Received: shape={shape}, "
            f"dtype={image.dtype.name}. Batch the dataset and apply "
            "`keras_mtl.data.pairs` first"
        )


def _kinds(labels, targets, mirrored_tasks):
    """The target of every label."""
    names = list(labels)
    kinds = {name: registry.get(target) for name, target in targets.items()}
    check_keys("targets", kinds, names)
    for name in sorted(set(names) - set(kinds)):
        label = name.removesuffix(MASK_SUFFIX)
        if label == name or label not in names:
            raise ValueError(
                "Expected `targets` to say of every label how it follows the image "
                f"({registry.names()}). Received: targets={sorted(kinds)}, without "
                f"{name!r}. Use 'value' for what does not depend on the image's place"
            )
        kinds[name] = MaskTarget()
    for name, target in kinds.items():
        if not isinstance(target, Target):
            raise ValueError(
                "Expected `targets` to hold kinds of labels, "
                f"{registry.names()}. Received: {name}={target!r}"
            )
        target.check(name, labels[name])
    for pair in mirrored_tasks:
        check_keys("mirrored_tasks", pair, names)
    return kinds
