"""Cut-out and mix-up: what stays labelled, and as what."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from keras_mtl.data.augmentation import BoxTarget, ClassTarget, CutOut, MixUp, Pixels
from keras_mtl.data.augmentation.map_targets import MaskTarget, inside
from keras_mtl.data.augmentation.pipeline import apply
from tests.data import pictures


def cut(fill=7.0, **options):
    return apply(pictures.batch(), [CutOut(fill=fill, **options)], pictures.seed_of(3))


def with_classes(**options):
    """The batch whose class target can be mixed."""
    batch = pictures.batch()
    kinds = {**batch.targets, "digit": ClassTarget(num_classes=10)}
    return dataclasses.replace(batch, targets=kinds, **options)


def test_covered_pixels_lose_their_labels_and_only_they():
    made = cut()
    images, labels = pictures.arrays()
    covered = made.image.numpy()[..., 0] == 7.0
    shares = covered.mean(axis=(1, 2))
    assert (shares > 0.05**2).all() and (shares < 0.45**2).all()
    for row in covered:
        rows, columns = np.nonzero(row)
        assert np.ptp(rows) + 1 == len(set(rows)) and row.sum() == (
            (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        )
    np.testing.assert_array_equal(made.image, np.where(covered[..., None], 7.0, images))
    np.testing.assert_array_equal(
        made.labels["surface"], np.where(covered, 255, labels["surface"])
    )
    np.testing.assert_array_equal(
        made.labels["depth"], np.where(covered, np.nan, labels["depth"])
    )
    for name in ("digit", "stroke"):
        np.testing.assert_array_equal(made.labels[name], labels[name])


def test_no_cut_at_probability_zero():
    np.testing.assert_array_equal(cut(probability=0.0).image, pictures.arrays()[0])


@pytest.mark.parametrize(
    ("patch", "labelled"),
    [
        ([0.0, 0.0, 0.1, 0.1], True),
        ([0.0, 0.0, 0.69, 1.0], True),
        ([0.0, 0.0, 0.71, 1.0], False),
        ([0.0, 0.0, 1.0, 1.0], False),
    ],
)
def test_a_box_that_is_covered(patch, labelled):
    """The box is the image; 0.3 of it must be seen."""
    box = tf.constant([[0.0, 0.0, 1.0, 1.0]])
    made = BoxTarget(0.3).covered(box, tf.constant([patch]))
    np.testing.assert_array_equal(made, box if labelled else [[np.nan] * 4])


def test_pixels_of_a_box_by_hand():
    made = inside(tf.constant([[0.25, 0.5, 0.75, 1.0]]), (2, 4))
    np.testing.assert_array_equal(made, [[[0, 0, 0, 0], [0, 1, 1, 0]]])


def test_mixed_labels_have_the_share_of_their_image():
    batch = with_classes()
    made = apply(batch, [MixUp(alpha=1.0)], pictures.seed_of(3))
    images, labels = pictures.arrays()
    digit = made.labels["digit"].numpy()
    assert digit.shape == (4, 10)
    for row, (one, other) in enumerate([(3, 8), (8, 0)]):
        share = digit[row, one]
        assert 0.0 < share < 1.0
        np.testing.assert_allclose(digit[row, other], 1.0 - share, rtol=1e-5)
        mixed = share * images[row] + (1.0 - share) * images[row + 1]
        np.testing.assert_allclose(made.image[row], mixed, atol=1e-6)
        stroke = (
            share * labels["stroke"][row] + (1.0 - share) * labels["stroke"][row + 1]
        )
        np.testing.assert_allclose(made.labels["stroke"][row], stroke, rtol=1e-5)
        surface, following = labels["surface"][row : row + 2]
        expected = np.where(surface == following, surface, 255)
        np.testing.assert_array_equal(made.labels["surface"][row], expected)
    # The third is mixed with one without labels, the fourth has none itself.
    for name in ("digit", "stroke", "depth"):
        assert np.isnan(made.labels[name][2:]).all()
    np.testing.assert_array_equal(made.labels["surface"][2:], 255)
    assert np.isnan(made.labels["box"]).all()


def test_unmixed_images_keep_their_labels():
    made = apply(with_classes(), [MixUp(probability=0.0)], pictures.seed_of(3))
    images, labels = pictures.arrays()
    np.testing.assert_array_equal(made.image, images)
    expected = np.eye(10)[labels["digit"]]
    expected[3] = np.nan
    np.testing.assert_array_equal(made.labels["digit"], expected)
    for name in ("box", "surface", "depth", "stroke"):
        np.testing.assert_array_equal(made.labels[name], labels[name])


def test_any_stateless_function_of_the_image():
    def lighter(image, seed):
        return tf.image.stateless_random_brightness(image, 0.5, seed)

    made = apply(pictures.batch(), [Pixels(lighter)], pictures.seed_of(0))
    added = made.image - pictures.arrays()[0]
    per_image = added[:, 0, 0, 0].numpy()
    expected = np.broadcast_to(per_image[:, None, None, None], added.shape)
    np.testing.assert_allclose(added, expected, atol=1e-6)
    assert len(set(per_image.tolist())) == 4


def test_masks_are_mixed_too():
    mask = tf.constant([True, True, False])
    other = tf.constant([True, False, True])
    made = MaskTarget().mixed(mask, other, tf.constant([0.5, 0.5, 1.0]))
    np.testing.assert_array_equal(made, [True, False, False])


def test_shares_have_the_mean_and_spread_of_their_beta_distribution():
    images = tf.ones((4000, 1, 1, 1)) * tf.range(4000.0)[:, None, None, None] % 2.0
    batch = dataclasses.replace(pictures.batch(), image=images, labels={})
    made = apply(batch, [MixUp(alpha=0.5)], pictures.seed_of(0)).image
    # Rows 0 and 1 are mixed: odd rows show the share, even ones the rest.
    shares = made[1::2, 0, 0, 0].numpy()
    assert abs(shares.mean() - 0.5) < 0.03
    assert abs(shares.var() - 1.0 / (4.0 * 2.0)) < 0.01


def test_mix_up_asks_for_the_number_of_classes():
    with pytest.raises(ValueError, match="`num_classes`"):
        apply(pictures.batch(), [MixUp()], pictures.seed_of(0))


@pytest.mark.parametrize(
    "make",
    [
        lambda: CutOut(0.5, 0.4),
        lambda: CutOut(high=2.0),
        lambda: CutOut(probability=-1.0),
        lambda: MixUp(0.0),
        lambda: MixUp(probability=2.0),
        lambda: ClassTarget(num_classes=1),
    ],
)
def test_bad_transforms(make):
    with pytest.raises(ValueError, match="Expected"):
        make()
