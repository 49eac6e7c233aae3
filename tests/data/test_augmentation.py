"""Labels after random motions are those that the pixels show."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from keras_mtl.data.augmentation import (
    BoxTarget,
    ClassTarget,
    Crop,
    Flip,
    MapTarget,
    Rotate,
    Scale,
    SegmentationTarget,
    Shift,
    ValueTarget,
)
from keras_mtl.data.augmentation.geometry import quarter_turns
from keras_mtl.data.augmentation.motion import identity
from keras_mtl.data.augmentation.pipeline import apply
from tests.data import pictures

CHAINS = {
    "flip": [Flip("horizontal"), Flip("vertical")],
    "rotate": [Rotate(40.0)],
    "scale": [Scale(0.5, 2.0)],
    "shift": [Shift(0.4)],
    "crop": [Crop(36, 40)],
    "all": [Flip(), Rotate(20.0), Scale(0.7, 1.3), Shift(0.2), Crop(40, 60)],
}
chains = pytest.mark.parametrize("chain", CHAINS.values(), ids=list(CHAINS))
SEEDS = range(4)


def moved(chain, seed=0, **options):
    return apply(pictures.batch(**options), chain, pictures.seed_of(seed))


def motion_of(chain, seed):
    """The motion that a chain draws, in float64, for the brute-force oracle."""
    image = pictures.batch().image
    motion = identity(image)
    for index, transform in enumerate(chain):
        own = tf.random.experimental.stateless_fold_in(
            pictures.seed_of(seed), index, alg="philox"
        )
        motion = transform.motion(image, motion, own)
    return motion


def old_places(motion, row, fine=1):
    """Index of the old pixel (x, y) that each new one shows, not rounded."""
    (old_height, old_width), (height, width) = motion.input_size, motion.output_size
    x, y = ((np.arange(side * fine) + 0.5) / fine for side in (width, height))
    x, y = np.meshgrid(x, y)
    new = np.stack([x - width / 2, y - height / 2], axis=-1)
    matrix = motion.matrix[row].numpy().astype("float64")
    old = (new - motion.offset[row].numpy()) @ np.linalg.inv(matrix).T
    return old + np.array([old_width, old_height]) / 2 - 0.5


@chains
@pytest.mark.parametrize("seed", SEEDS)
def test_boxes_are_where_the_pixels_are(chain, seed):
    """Against a drawing of the moved rectangle with 64 points per pixel."""
    made, motion = moved(chain, seed), motion_of(chain, seed)
    height, width = motion.output_size
    boxes = made.labels["box"].numpy() * [width, height, width, height]
    assert np.isnan(boxes[3]).all()
    for row, (x1, y1, x2, y2) in enumerate(pictures.BOXES[:3]):
        x, y = np.moveaxis(old_places(motion, row, fine=8) + 0.5, -1, 0)
        drawn = (x > x1) & (x < x2) & (y > y1) & (y < y2)
        tight = pictures.tight_box(drawn[..., None]) / 8.0
        if np.isnan(boxes[row]).any():
            whole = (x2 - x1) * (y2 - y1) * motion.scale[row].numpy() ** 2
            assert drawn.sum() / 64.0 < 0.45 * whole
        else:
            np.testing.assert_allclose(boxes[row], tight, atol=0.3)


@pytest.mark.parametrize("chain", ["flip", "crop"])
def test_boxes_are_those_of_the_images_pixels(chain):
    """Whole pixels move to whole pixels, so the image itself tells, exactly."""
    made = moved(CHAINS[chain], 1)
    height, width = made.image.shape[1:3]
    boxes = made.labels["box"].numpy() * [width, height, width, height]
    labelled = ~np.isnan(boxes).any(axis=-1)
    assert labelled.any()
    for image, box in zip(made.image[labelled], boxes[labelled], strict=True):
        np.testing.assert_allclose(box, pictures.tight_box(image.numpy()), atol=1e-4)
        assert set(np.unique(image)) <= {0.0, 1.0}


@chains
@pytest.mark.parametrize("seed", SEEDS)
def test_maps_equal_brute_force(chain, seed):
    made, motion = moved(chain, seed), motion_of(chain, seed)
    _, labels = pictures.arrays()
    for row in range(4):
        places = old_places(motion, row)
        nearest = np.rint(places).astype(int)
        x, y = nearest[..., 0], nearest[..., 1]
        within = (x >= 0) & (x < pictures.WIDTH) & (y >= 0) & (y < pictures.HEIGHT)
        x, y = np.where(within, x, 0), np.where(within, y, 0)
        expected = np.where(within, labels["surface"][row, y, x], 255)
        # Half-way between two pixels either may be taken.
        clear = (np.abs(places - np.floor(places) - 0.5) > 1e-3).all(axis=-1)
        got = made.labels["surface"][row].numpy()
        np.testing.assert_array_equal(got[clear], expected[clear])

        depth = made.labels["depth"][row].numpy()
        plane = 1.0 + places.sum(axis=-1) / 100.0
        there = ~np.isnan(depth)
        np.testing.assert_allclose(depth[there], plane[there], atol=1e-4)
        neighbours = within & ((places >= 5.01).any(axis=-1))
        deep = (places > 0.01).all(axis=-1)
        deep &= (places < np.array([pictures.WIDTH, pictures.HEIGHT]) - 1.01).all(-1)
        assert there[neighbours & deep].all() == (row < 3)
        assert not there[~within].any()


@chains
def test_missing_labels_stay_missing_and_classes_stay(chain):
    labels = moved(chain).labels
    np.testing.assert_array_equal(labels["digit"], [3, 8, 0, -1])
    np.testing.assert_array_equal(labels["stroke"], [2.0, 3.0, 4.0, np.nan])
    assert np.isnan(labels["box"][3]).all()
    assert np.isnan(labels["depth"][3]).all()
    np.testing.assert_array_equal(labels["surface"][3], 255)


def test_flipped_boxes_by_hand():
    chain = [Flip("horizontal", 1.0), Flip("vertical", 1.0)]
    box = moved(chain).labels["box"][0]
    expected = [20 / 64, 18 / 48, 44 / 64, 36 / 48]
    np.testing.assert_allclose(box, expected, atol=1e-6)


@pytest.mark.parametrize("axis", ["horizontal", "vertical"])
def test_flip_twice_is_identity(axis):
    flip = Flip(axis, 1.0)
    once = moved([flip])
    twice = apply(once, [flip], pictures.seed_of(0))
    images, labels = pictures.arrays()
    np.testing.assert_array_equal(
        once.image, np.flip(images, axis=-2 - (axis[0] == "v"))
    )
    np.testing.assert_array_equal(twice.image, images)
    for name, label in labels.items():
        np.testing.assert_allclose(twice.labels[name], label, atol=1e-6)
    np.testing.assert_array_equal(twice.labels["depth"], labels["depth"])


def test_quarter_turns_are_exact():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(4, 7, 7, 2)).astype("float32")
    turned = quarter_turns(identity(tf.constant(images)), tf.range(4))
    made = turned.sampled(tf.constant(images), "bilinear", 0.0)
    for turns in range(4):
        np.testing.assert_array_equal(made[turns], np.rot90(images[turns], turns))


def test_a_map_of_another_size_moves_with_its_image():
    """A map of half the size holds the means of two by two pixels."""
    target = SegmentationTarget()
    motion = motion_of([Flip("horizontal", 1.0), Crop(24, 32)], 1)
    image = pictures.rectangles(pictures.BOXES // 8 * 8)
    small = tf.constant(image[:, ::2, ::2, 0].astype("int32"))
    # A window at odd pixels lies half-way between those of the small map.
    even = dataclasses.replace(motion, offset=tf.round(motion.offset / 2) * 2)
    large = target.moved(tf.constant(image[..., 0].astype("int32")), even).numpy()
    made = target.moved(small, even)
    assert made.shape == (4, 12, 16)
    np.testing.assert_array_equal(made, large[:, ::2, ::2])


@pytest.mark.parametrize(
    ("min_visible", "labelled"), [(0.5, True), (0.51, False)], ids=["half", "more"]
)
def test_a_box_that_leaves_the_image(min_visible, labelled):
    """A shift by half of the box's width to the left."""
    motion = identity(pictures.batch().image)
    motion = dataclasses.replace(motion, offset=tf.constant([[-10.0, 0.0]] * 4))
    boxes = BoxTarget(min_visible).moved(pictures.batch().labels["box"], motion)
    expected = [0, 0, 10 / 64, 16 / 48] if labelled else [np.nan] * 4
    np.testing.assert_allclose(boxes[1], expected, atol=1e-6)


def test_a_box_outside_is_never_labelled():
    motion = identity(pictures.batch().image)
    motion = dataclasses.replace(motion, offset=tf.constant([[-100.0, 0.0]] * 4))
    boxes = BoxTarget(0.0).moved(pictures.batch().labels["box"], motion)
    assert np.isnan(boxes).all()


def test_values_grow_with_their_power():
    chain = [Scale(2.0, 2.0)]
    motion = motion_of(chain, 0)
    value = tf.constant([1.0, 3.0, 5.0, np.nan])
    made = ValueTarget(power=2).moved(value, motion)
    np.testing.assert_allclose(made, [4.0, 12.0, 20.0, np.nan], rtol=1e-5)
    maps = tf.ones((4, pictures.HEIGHT, pictures.WIDTH, 2))
    np.testing.assert_allclose(MapTarget(power=-1).moved(maps, motion), 0.5, rtol=1e-5)


def test_values_with_a_missing_value_of_their_own():
    """Depth of 0 means nothing measured, and is neither scaled nor blended."""
    target = MapTarget(power=-1, missing=0)
    maps = np.full((4, pictures.HEIGHT, pictures.WIDTH), 6.0, "float32")
    maps[:, :, :10] = 0.0
    made = target.moved(tf.constant(maps), motion_of([Scale(2.0, 2.0)], 0)).numpy()
    assert set(np.unique(made)) == {np.float32(3.0)}
    made = target.moved(tf.constant(maps), motion_of([Scale(0.5, 0.5)], 0)).numpy()
    assert set(np.unique(made.round(3))) == {0.0, 12.0}
    value, other = tf.constant([6.0, 0.0, 6.0]), tf.constant([2.0, 2.0, 0.0])
    mixed = ValueTarget(missing=0).mixed(value, other, tf.constant([0.5, 0.5, 1.0]))
    np.testing.assert_array_equal(mixed, [4.0, 0.0, 6.0])


def test_sides_change_in_mirrored_images():
    batch = pictures.batch()
    side = tf.constant([0, 1, 2, -1])
    hand = tf.constant(pictures.BOXES / pictures.SIDES)
    pair = tf.constant([[0.0, 0.0, 0.5, 0.5]] * 4)
    batch = dataclasses.replace(
        batch,
        labels={"side": side, "left": hand, "right": pair},
        targets={
            "side": ClassTarget(swap=((0, 1),)),
            "left": BoxTarget(),
            "right": BoxTarget(),
        },
        mirrored_tasks=(("left", "right"),),
    )
    made = apply(batch, [Flip("horizontal", 1.0)], pictures.seed_of(0)).labels
    np.testing.assert_array_equal(made["side"], [1, 0, 2, -1])
    np.testing.assert_allclose(made["left"], [[0.5, 0.0, 1.0, 0.5]] * 4)
    np.testing.assert_allclose(made["right"][1], [44 / 64, 0, 1, 16 / 48], atol=1e-6)
    upside = apply(batch, [Flip("vertical", 1.0)], pictures.seed_of(0)).labels
    np.testing.assert_array_equal(upside["side"], side)
    turned = [Flip("horizontal", 1.0), Rotate(10.0), Flip("horizontal", 1.0)]
    twice = apply(batch, turned, pictures.seed_of(0)).labels
    np.testing.assert_array_equal(twice["side"], side)


def test_a_chain_samples_once():
    """Out and in again loses nothing."""
    there, back = Shift(1.0), Shift(1.0)
    motion = motion_of([there, back], 0)
    still = dataclasses.replace(motion, offset=tf.zeros_like(motion.offset))
    made = pictures.batch().moved(still)
    np.testing.assert_array_equal(made.image, pictures.arrays()[0])
