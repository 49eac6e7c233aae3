"""Labels made from the inputs, and that ordinary tasks learn from them."""

import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from keras_mtl.data import augment, self_supervised
from tests.data import pictures

SIDE = 8


def images(number=40):
    rng = np.random.default_rng(0)
    return rng.normal(size=(number, SIDE, SIDE, 1)).astype("float32")


def dataset(y, x=None):
    x = images() if x is None else x
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(len(x))


def only(data):
    return next(iter(data))


def test_rotation_is_told_and_labels_turn_along():
    boxes = np.tile([[0.0, 0.0, 0.5, 0.25]], (40, 1)).astype("float32")
    y = {"digit": np.arange(40) % 10, "box": boxes}
    data = self_supervised.rotation(
        dataset(y), {"digit": "class", "box": "box"}, unlabel=["digit"], seed=2
    )
    x, y = only(data)
    turns = y["rotation"].numpy()
    assert np.bincount(turns, minlength=4).min() > 3
    by_hand = [[0, 0, 0.5, 0.25], [0, 0.5, 0.25, 1]]
    by_hand += [[0.5, 0.75, 1, 1], [0.75, 0, 1, 0.5]]
    for row, k in enumerate(turns):
        np.testing.assert_array_equal(x[row], np.rot90(images()[row], k))
        np.testing.assert_allclose(y["box"][row], by_hand[k], atol=1e-6)
        assert int(y["digit"][row]) == (-1 if k else row % 10)


def test_rotation_needs_squares_and_a_free_name():
    data = tf.data.Dataset.from_tensor_slices(pictures.arrays()).batch(4)
    with pytest.raises(ValueError, match="square"):
        self_supervised.rotation(data, pictures.KINDS)
    data = dataset({"rotation": np.zeros(40, "int32")})
    with pytest.raises(ValueError, match="free"):
        self_supervised.rotation(data, {"rotation": "class"})
    with pytest.raises(ValueError, match="`unlabel`"):
        self_supervised.rotation(dataset({}), {}, unlabel=["digit"])


@pytest.mark.parametrize("patch", [1, 4])
def test_masked_pixels_are_the_labels(patch):
    data = self_supervised.masking(dataset({}), patch=patch, fill=9.0, seed=1)
    x, y = only(data)
    clean, x, hidden = images(), x.numpy(), y["hidden"].numpy()
    masked = ~np.isnan(hidden)
    np.testing.assert_array_equal(x, np.where(masked, 9.0, clean))
    np.testing.assert_array_equal(hidden[masked], clean[masked])
    assert 0.15 < masked.mean() < 0.45
    squares = masked.reshape(40, SIDE // patch, patch, SIDE // patch, patch)
    assert (squares.min(axis=(2, 4)) == squares.max(axis=(2, 4))).all()


def test_tables_and_named_inputs():
    x = {"table": images().reshape(40, -1), "other": np.arange(40)}
    data = tf.data.Dataset.from_tensor_slices((x, {})).batch(40)
    data = self_supervised.masking(data, feature="table", share=1.0)
    data = self_supervised.denoising(data, feature="table", stddev=2.0)
    x, y = only(data)
    np.testing.assert_array_equal(y["hidden"], images().reshape(40, -1))
    np.testing.assert_array_equal(y["clean"], np.zeros((40, SIDE * SIDE)))
    np.testing.assert_array_equal(x["other"], np.arange(40))
    assert abs(np.std(x["table"]) - 2.0) < 0.1


def test_draws_are_a_function_of_seed_and_epoch():
    for make in (self_supervised.masking, self_supervised.denoising):
        one, again = (only(make(dataset({}), seed=1))[0] for _ in range(2))
        np.testing.assert_array_equal(one, again)
        for options in ({"seed": 2}, {"seed": 1, "epoch": 1}):
            assert (only(make(dataset({}), **options))[0] != one).numpy().any()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: self_supervised.masking(dataset({}), share=2.0), "`share`"),
        (lambda: self_supervised.masking(dataset({}), patch=3), "patch=3"),
        (lambda: self_supervised.denoising(dataset({}), stddev=0.0), "`stddev`"),
        (lambda: self_supervised.masking(dataset({}), feature="a"), "Received: 'a'"),
        (lambda: self_supervised.masking(dataset({"hidden": [0] * 40})), "`name`"),
    ],
)
def test_bad_arguments(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_they_are_ordinary_tasks():
    """A few steps with labels, rotation and masking: each task's loss is finite."""
    y = {"digit": np.where(np.arange(40) < 30, -1, np.arange(40) % 10)}
    data = dataset(y)
    turns = self_supervised.QuarterTurns(unlabel=("digit",))
    data = augment(data, [turns], {"digit": "class"}, seed=1)
    data = self_supervised.masking(data, patch=2, seed=2)
    tasks = [
        mtl.Task("digit", mtl.heads.Classification(10), missing=-1),
        mtl.Task("rotation", mtl.heads.Classification(4)),
        mtl.Task("hidden", mtl.heads.RegressionMap((SIDE, SIDE))),
    ]
    net = mtl.backbones.ConvNet(input_shape=(SIDE, SIDE, 1), filters=(4,))
    model = mtl.build_model(net, tasks)
    model.compile("adam")
    history = model.fit(data, epochs=2, verbose=0).history
    losses = [history[f"{task.name}_loss"] for task in tasks]
    assert np.isfinite(losses).all()
    assert all(second < first for first, second in losses[1:])
