"""Losses and layers that heads bring: boxes and ordered classes."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_mtl as mtl
from tests.heads import samples

# === Boxes ===

# name, two boxes, IoU, GIoU
BOXES = [
    ("equal", [0, 0, 1, 1], [0, 0, 1, 1], 1, 1),
    ("half", [0, 0, 1, 1], [0, 0, 0.5, 1], 1 / 2, 1 / 2),
    ("nested", [0, 0, 1, 1], [0.25, 0.25, 0.75, 0.75], 1 / 4, 1 / 4),
    ("shifted", [0, 0, 2, 2], [1, 0, 3, 2], 1 / 3, 1 / 3),
    ("corner", [0, 0, 2, 2], [1, 1, 3, 3], 1 / 7, 1 / 7 - 2 / 9),
    ("touching", [0, 0, 1, 1], [1, 0, 2, 1], 0, 0),
    ("disjoint", [0, 0, 1, 1], [2, 0, 3, 1], 0, -1 / 3),
    ("far", [0, 0, 1, 1], [9, 9, 10, 10], 0, -0.98),
]


@pytest.mark.parametrize(
    ("one", "other", "iou", "giou"), [b[1:] for b in BOXES], ids=[b[0] for b in BOXES]
)
@pytest.mark.parametrize("swap", [False, True])
def test_boxes_by_hand(one, other, iou, giou, swap):
    a, b = (
        np.array([box], "float64") for box in ((other, one) if swap else (one, other))
    )
    assert samples.giou(a[0], b[0]) == pytest.approx((iou, giou))
    found = mtl.heads.intersection_over_union(ops.array(a), ops.array(b))
    np.testing.assert_allclose(found, [iou], atol=1e-6)
    for weight in (0.0, 2.0):
        loss = mtl.heads.BoxLoss(l1_weight=weight, dtype="float64")
        expected = 1 - giou + weight * np.abs(a - b).mean()
        np.testing.assert_allclose(loss(a, b), expected, atol=1e-6)


def test_random_boxes_equal_the_algorithm():
    rng = np.random.default_rng(0)
    a, b = samples.boxes(rng, 200), samples.boxes(rng, 200)
    expected = [samples.giou(*pair) for pair in zip(a, b, strict=True)]
    loss = mtl.heads.BoxLoss(l1_weight=0.0, reduction=None, dtype="float64")
    np.testing.assert_allclose(loss(a, b), [1 - g for _, g in expected], atol=1e-5)
    found = mtl.heads.intersection_over_union(ops.array(a), ops.array(b))
    np.testing.assert_allclose(found, [i for i, _ in expected], atol=1e-5)


@pytest.mark.parametrize(
    ("true", "predicted"),
    [
        ([0.2, 0.2, 0.4, 0.4], [0.3, 0.3, 0.3, 0.3]),
        ([0.3, 0.3, 0.3, 0.3], [0.2, 0.2, 0.4, 0.4]),
        ([0.3, 0.3, 0.3, 0.3], [0.3, 0.3, 0.3, 0.3]),
        ([0.3, 0.3, 0.3, 0.3], [0.5, 0.5, 0.5, 0.5]),
        ([0.3, 0.1, 0.3, 0.9], [0.1, 0.5, 0.9, 0.5]),
        ([0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]),
        ([0.0, 0.0, 1e-4, 1e-4], [0.9, 0.9, 0.9001, 0.9001]),
    ],
)
def test_boxes_without_area_have_a_finite_slope(true, predicted):
    predicted = tf.constant([predicted], "float32")
    with tf.GradientTape() as tape:
        tape.watch(predicted)
        loss = mtl.heads.BoxLoss()(tf.constant([true], "float32"), predicted)
    slope = tape.gradient(loss, predicted)
    assert np.isfinite(loss)
    assert np.all(np.isfinite(slope))


def test_the_slope_leads_disjoint_boxes_together():
    box = tf.constant([[0.7, 0.7, 0.9, 0.9]])
    true = tf.constant([[0.1, 0.1, 0.3, 0.3]])
    loss = mtl.heads.BoxLoss(l1_weight=0.0)
    first = float(loss(true, box))
    for _ in range(30):
        with tf.GradientTape() as tape:
            tape.watch(box)
            value = loss(true, box)
        box = box - 0.02 * tape.gradient(value, box)
    assert float(loss(true, box)) < first - 0.1


def test_mean_iou_leaves_weights_out_as_told():
    metric = mtl.heads.BoxIoU()
    assert metric.name == "iou"
    a = np.array([[0, 0, 1, 1], [0, 0, 1, 1]], "float32")
    b = np.array([[0, 0, 0.5, 1], [0, 0, 1, 1]], "float32")
    metric.update_state(a, b)
    assert float(metric.result()) == pytest.approx(0.75)
    metric.reset_state()
    metric.update_state(a, b, sample_weight=[1, 0])
    assert float(metric.result()) == pytest.approx(0.5)


def test_corners_are_ordered_whatever_the_logits():
    head = mtl.heads.BoundingBox()
    feature = keras.Input((4,))
    model = keras.Model(feature, head.connect(feature, {}, "box"))
    box = model.predict(100 * np.random.default_rng(0).normal(size=(50, 4)), verbose=0)
    assert np.all(box[:, :2] <= box[:, 2:])
    served = head.serving(ops.array([[-0.1, 0.2, 0.5, 1.2]]))["box"]
    np.testing.assert_allclose(served, [[0.0, 0.2, 0.5, 1.0]])


# === Ordered classes ===


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_ordinal_loss_equals_the_sum_of_its_terms(scale):
    rng = np.random.default_rng(0)
    logits = scale * -np.sort(-rng.normal(size=(30, 4)), axis=1)
    labels = rng.integers(0, 5, 30)
    found = mtl.heads.OrdinalCrossentropy(dtype="float64")(labels, logits)
    assert float(found) == pytest.approx(samples.ordinal_loss(labels, logits), rel=1e-7)


def test_ordinal_loss_by_hand():
    """Class 1 of 3 at logits 0: above class 0 with ½, above class 1 with ½."""
    found = mtl.heads.OrdinalCrossentropy()(np.array([1]), np.zeros((1, 2)))
    assert float(found) == pytest.approx(np.log(2), rel=1e-6)


def test_ordinal_loss_is_finite_for_large_logits():
    logits = tf.constant([[1e4, -1e4], [-1e4, -1e4]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = mtl.heads.OrdinalCrossentropy()(tf.constant([0, 2]), logits)
    assert np.isfinite(loss)
    assert np.all(np.isfinite(tape.gradient(loss, logits)))


def test_thresholds_increase_in_training_too():
    layer = mtl.layers.OrderedThresholds(4)
    x = np.random.default_rng(0).normal(size=(20, 1))
    layer.build(x.shape)
    for steps in (-50.0, -1.0, 0.0, 3.0):
        layer.steps.assign(np.linspace(steps, steps + 1, 3))
        logits = ops.convert_to_numpy(layer(x))
        assert logits.shape == (20, 4) == layer.compute_output_shape(x.shape)
        assert np.all(np.diff(logits, axis=1) <= 0)
    np.testing.assert_allclose(
        logits[:, 0], x[:, 0] - ops.convert_to_numpy(layer.first)
    )


@pytest.mark.parametrize("num_classes", [3, 5, 10])
def test_every_class_can_be_the_label_before_training(num_classes):
    layer = mtl.layers.OrderedThresholds(num_classes - 1)
    scores = np.linspace(-30, 30, 600, dtype="float32")[:, None]
    served = mtl.heads.Ordinal(num_classes).serving(layer(scores))
    labels = ops.convert_to_numpy(served["label"])
    assert set(labels.tolist()) == set(range(num_classes))
    assert np.all(np.diff(labels) >= 0)
    # As many scores on either side of the middle.
    np.testing.assert_array_equal(labels[::-1], num_classes - 1 - labels)


def test_probabilities_of_ordered_classes():
    """They sum to 1 and none is negative, extreme scores included."""
    layer = mtl.layers.OrderedThresholds(5)
    scores = np.concatenate([np.linspace(-100, 100, 2001), [-1e4, 1e4]])[:, None]
    layer.build(scores.shape)
    for steps in (-20.0, -3.0, 0.0, 5.0):
        layer.steps.assign(np.full(4, steps))
        found = mtl.heads.Ordinal(6).activate(layer(scores.astype("float32")))
        found = ops.convert_to_numpy(found)
        assert found.shape == (2003, 6)
        assert found.min() >= 0
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    "part",
    [
        mtl.heads.BoxLoss(l1_weight=3.0, name="boxes"),
        mtl.heads.BoxIoU(name="overlap"),
        mtl.heads.OrdinalCrossentropy(name="ordered"),
        mtl.layers.OrderedThresholds(7, name="thresholds"),
    ],
    ids=lambda part: type(part).__name__,
)
def test_configuration_round_trip(part):
    serialised = json.loads(json.dumps(keras.saving.serialize_keras_object(part)))
    copy = keras.saving.deserialize_keras_object(serialised)
    assert type(copy) is type(part)
    assert copy.get_config() == part.get_config()


def test_wrong_weight_of_the_corners():
    with pytest.raises(ValueError, match="Expected `l1_weight` to be a number >= 0"):
        mtl.heads.BoxLoss(l1_weight=-1)


# === Classes ===


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_smoothed_indices_equal_keras_smoothed_distributions(share):
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(0, 4, 9), rng.normal(size=(9, 4))
    loss = mtl.heads.SmoothedCrossentropy(share, reduction=None, dtype="float64")
    expected = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=share, reduction=None, dtype="float64"
    )(np.eye(4)[labels], logits)
    np.testing.assert_allclose(loss(labels, logits), expected, atol=1e-12)
    task = mtl.Task("kind", mtl.heads.Classification(4), loss=loss)
    copy = mtl.Task.from_config(json.loads(json.dumps(task.get_config())))
    np.testing.assert_allclose(copy.loss(labels, logits), expected, rtol=1e-5)


def test_a_share_above_one_is_an_error():
    with pytest.raises(ValueError, match=r"`label_smoothing`.*1\.5"):
        mtl.heads.SmoothedCrossentropy(1.5)
