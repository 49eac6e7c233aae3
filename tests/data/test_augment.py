"""`augment` as a pipeline: draws, structures, errors; and what Keras' layers do."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl.data import EpochOrder, augment
from keras_mtl.data.augmentation import (
    BoxTarget,
    ClassTarget,
    Crop,
    CutOut,
    Flip,
    MixUp,
    Rotate,
    Scale,
    Shift,
)
from tests.data import pictures


def dataset(batch_size=2):
    return tf.data.Dataset.from_tensor_slices(pictures.arrays()).batch(batch_size)


def images_of(data):
    return np.concatenate([x.numpy() for x, _ in data])


def test_draws_are_a_function_of_seed_epoch_and_position():
    def made(seed=1, epoch=0):
        chain = [Shift(0.4)]
        data = augment(dataset(), chain, pictures.KINDS, seed=seed, epoch=epoch)
        assert data.cardinality() == 2
        return images_of(data)

    first = made()
    keras.utils.set_random_seed(5)
    np.testing.assert_array_equal(made(), first)
    for other in (made(seed=2), made(epoch=1), np.roll(first, 2, axis=0)):
        assert np.abs(other - first).max() > 0.1


def test_fit_sees_what_the_epoch_has():
    order = EpochOrder(seed=3)
    images, labels = pictures.arrays()
    chain = [Shift(0.4)]
    data = order.batches((images, labels), 2)
    train = augment(data, chain, pictures.KINDS, seed=1, epoch=order).prefetch(2)
    seen = []

    class Recorder(keras.Model):
        def train_step(self, data):
            tf.numpy_function(seen.append, [data[0]], [])
            return {"loss": tf.constant(0.0)}

    model = Recorder()
    model.compile()
    model.built = True
    model.fit(train, epochs=3, callbacks=[order], verbose=0, shuffle=False)
    for epoch in range(3):
        order.epoch = epoch
        expected = augment(data, chain, pictures.KINDS, seed=1, epoch=epoch)
        got = np.concatenate(seen[2 * epoch : 2 * epoch + 2])
        np.testing.assert_array_equal(got, images_of(expected))
    assert np.abs(np.concatenate(seen[:2]) - np.concatenate(seen[2:4])).max() > 0.1


def test_inputs_of_a_dict_and_weights_pass():
    images, labels = pictures.arrays()
    x = {"picture": images, "age": np.arange(4.0)}
    weights = {"digit": np.arange(4.0)}
    labels["box_mask"] = np.array([True, False, True, False])
    data = tf.data.Dataset.from_tensor_slices((x, labels, weights)).batch(4)
    chain = [Flip("horizontal", 1.0)]
    data = augment(data, chain, pictures.KINDS, image="picture")
    x, y, weights = next(iter(data))
    np.testing.assert_array_equal(x["picture"], images[:, :, ::-1])
    np.testing.assert_array_equal(x["age"], np.arange(4.0))
    np.testing.assert_array_equal(y["box_mask"], [True, False, True, False])
    np.testing.assert_array_equal(weights["digit"], np.arange(4.0))


def test_dtypes_stay():
    images, labels = pictures.arrays()
    labels = {name: value.astype("float64") for name, value in labels.items()}
    labels["digit"] = labels["digit"].astype("int64")
    labels["surface"] = labels["surface"].astype("uint8")
    data = tf.data.Dataset.from_tensor_slices((images.astype("float64"), labels))
    kinds = {**pictures.KINDS, "digit": ClassTarget(num_classes=10)}
    data = data.batch(4)
    chain = [Flip(), Rotate(20.0), Scale(0.7, 1.3), Crop(40, 60), CutOut()]
    made = augment(data, chain, kinds)
    shapes = {name: spec.shape[1:] for name, spec in made.element_spec[1].items()}
    assert shapes["surface"] == shapes["depth"] == (40, 60)
    spec = {name: part.dtype for name, part in data.element_spec[1].items()}
    assert {n: part.dtype for n, part in made.element_spec[1].items()} == spec
    assert made.element_spec[0].dtype == tf.float64
    mixed = augment(data, [MixUp()], kinds).element_spec[1]
    assert mixed.pop("digit").dtype == tf.float32
    assert all(part.dtype == spec[name] for name, part in mixed.items())
    next(iter(made))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"targets": {"digit": "class"}}, "`targets`.*without 'box'"),
        ({"targets": {**pictures.KINDS, "x": "box"}}, "`targets`.*'x'"),
        ({"targets": {**pictures.KINDS, "box": "bax"}}, "bax"),
        ({"targets": {**pictures.KINDS, "box": 3}}, "kinds of labels"),
        ({"targets": {**pictures.KINDS, "digit": "box"}}, "\\(2,\\) axes.*digit"),
        ({"transforms": [Crop(99, 9)]}, "at most"),
        ({"mirrored_tasks": [("box", "bax")]}, "`mirrored_tasks`.*'bax'"),
        ({"dataset": dataset().unbatch()}, "shape=\\(48, 64, 1\\)"),
        ({"dataset": dataset().map(lambda x, y: x)}, "element_spec"),
        ({"seed": -1}, "`seed`"),
        ({"epoch": -1}, "`epoch`"),
    ],
)
def test_bad_arguments(options, words):
    options = {
        "dataset": dataset(),
        "transforms": [Shift()],
        "targets": pictures.KINDS,
        **options,
    }
    with pytest.raises(ValueError, match=words):
        augment(**options)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Flip("diagonal"),
        lambda: Flip(probability=2.0),
        lambda: Rotate(-1.0),
        lambda: Scale(2.0, 1.0),
        lambda: Scale(0.0),
        lambda: Shift(1.5),
        lambda: Crop(0, 3),
        lambda: BoxTarget(2.0),
    ],
)
def test_bad_transforms(make):
    with pytest.raises(ValueError, match="Expected"):
        make()


def test_keras_own_layers_would_not():
    """The traps that this package is for; if this fails, Keras changed."""
    images, box = pictures.rectangles()[:1], pictures.BOXES[:1]
    shares = (box / pictures.SIDES)[:, None]

    def made(layer, boxes):
        boxes = {"boxes": boxes, "labels": np.zeros((1, 1))}
        data = layer({"images": images, "bounding_boxes": boxes}, training=True)
        return data["images"].numpy()[0], data["bounding_boxes"]["boxes"][0, 0].numpy()

    crop = keras.layers.RandomCrop(36, 40, seed=0, bounding_box_format="xyxy")
    image, got = made(crop, box[:, None])
    assert np.abs(got - pictures.tight_box(image)).max() > 1.0
    turn = keras.layers.RandomRotation(
        (0.05, 0.05), fill_mode="constant", bounding_box_format="rel_xyxy"
    )
    image, got = made(turn, shares)
    assert np.abs(got * pictures.SIDES - pictures.tight_box(image)).max() > 2.0
    shift = keras.layers.RandomTranslation(0.3, 0.3, seed=0)
    data = tf.data.Dataset.from_tensors(images).map(shift)
    assert np.abs(next(iter(data)) - next(iter(data))).max() > 0.1
