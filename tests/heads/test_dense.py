"""Heads for dense prediction: the decoder, and labels that pixels lack."""

import contextlib

import keras
import numpy as np
import pytest
from keras import ops

import keras_mtl as mtl
from tests.heads import samples

SIZE = (6, 8)
ROWS = 6


def bilinear(x, size):
    """Interpolation of maps `(batch, h, w, c)` between pixel centres, per axis."""
    for axis, wanted in ((1, size[0]), (2, size[1])):
        length = x.shape[axis]
        places = (np.arange(wanted) + 0.5) * length / wanted - 0.5
        places = np.clip(places, 0, length - 1)
        low = np.floor(places).astype(int)
        high = np.minimum(low + 1, length - 1)
        shape = [-1 if a == axis else 1 for a in range(4)]
        share = (places - low).reshape(shape)
        x = x.take(low, axis) * (1 - share) + x.take(high, axis) * share
    return x


def problem(head, labels, **task):
    """A model of a map of 3×4 and one task; its inputs, raw outputs and labels."""
    inputs = keras.Input((3, 4, 2), name="image")
    features = {"map": keras.layers.Conv2D(5, 1, name="conv")(inputs)}
    net = keras.Model(inputs, features, name="net")
    model = mtl.build_model(net, [mtl.Task("t", head, **task)])
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 3, 4, 2)).astype("float32")
    return model, x, model.predict(x, verbose=0)["t"].astype("float64"), labels(rng)


def classes(rng):
    return rng.integers(0, 3, (ROWS, *SIZE))


def depths(rng):
    return 1 + 4 * rng.random((ROWS, *SIZE))


def missing_at(rng):
    """Some pixels of every image, and one image whole."""
    gone = rng.random((ROWS, *SIZE)) < 0.3
    gone[2] = True
    return gone


# === The decoder ===


@pytest.mark.parametrize(
    ("size", "units", "steps"),
    [
        ((3, 4), (), ["output"]),
        ((9, 7), (), ["output", "resize"]),
        ((12, 16), (6, 5), ["upsampling_0", "hidden_0", "upsampling_1", "hidden_1"]),
        ((9, 11), (6, 5), ["upsampling_0", "hidden_0", "hidden_1", "output", "resize"]),
        ((2, 2), (6,), ["hidden_0", "output", "resize"]),
    ],
)
def test_stages_of_the_decoder(size, units, steps):
    """A stage doubles the map as long as that does not exceed the size."""
    feature = keras.Input((3, 4, 5))
    head = mtl.heads.Segmentation(3, size, hidden_units=units)
    model = keras.Model(feature, head.connect(feature, {}, "t"))
    assert model.output.shape == (None, *size, 3)
    names = [layer.name.removeprefix("t_") for layer in model.layers[1:]]
    assert names == (steps if "output" in steps else [*steps, "output"])


def test_images_of_any_size():
    feature = keras.Input((None, None, 5))
    head = mtl.heads.Depth((8, 8), hidden_units=(4,))
    model = keras.Model(feature, head.connect(feature, {}, "t"))
    for side in (3, 9):
        found = model.predict(np.ones((2, side, side, 5)), verbose=0)
        assert found.shape == (2, 8, 8, 1)


def test_decoder_by_hand():
    """Doubled, convolved, once more per pixel, and resized."""
    feature = keras.Input((3, 4, 5))
    head = mtl.heads.RegressionMap((7, 9), units=2, hidden_units=(6,))
    model = keras.Model(feature, head.connect(feature, {}, "t"))
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    kernel, bias, last, last_bias = (np.asarray(w) for w in model.get_weights())
    x = rng.normal(size=(2, 3, 4, 5)).astype("float32")
    padded = np.pad(bilinear(x, (6, 8)), ((0, 0), (1, 1), (1, 1), (0, 0)))
    hidden = bias + sum(
        padded[:, i : i + 6, j : j + 8] @ kernel[i, j]
        for i in range(3)
        for j in range(3)
    )
    logits = np.maximum(hidden, 0) @ last[0, 0] + last_bias
    expected = bilinear(logits, (7, 9))
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_resize_keeps_the_dtype(dtype):
    layer = mtl.layers.ResizeMap((4, 6), dtype=dtype)
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 2)).astype("float32")
    found = layer(ops.cast(x, dtype))
    assert keras.backend.standardize_dtype(found.dtype) == dtype
    assert found.shape == layer.compute_output_shape(x.shape)
    atol = 1e-6 if dtype == "float32" else 0.05
    found = ops.convert_to_numpy(ops.cast(found, "float32"))
    np.testing.assert_allclose(found, bilinear(x, (4, 6)), atol=atol)
    assert mtl.layers.ResizeMap.from_config(layer.get_config()).size == (4, 6)


# === Labels that pixels lack ===


def with_missing(form, labels, gone):
    """The labels without those pixels, in one of the forms that say so."""
    if form == "ignore label":
        return {"t": np.where(gone, 255, labels)}, {"missing": 255}
    if form == "mask":
        return {"t": labels, "t_mask": ~gone}, {}
    return {"t": np.where(gone, np.nan, labels)}, {}


@pytest.mark.parametrize("form", ["ignore label", "mask", "nan"])
@pytest.mark.parametrize("column", [False, True], ids=["map", "map of one channel"])
def test_classes_of_some_pixels(form, column):
    head = mtl.heads.Segmentation(3, SIZE)
    rng = np.random.default_rng(1)
    gone = missing_at(rng)
    y, task = with_missing(form, classes(rng), gone)
    model, x, raw, _ = problem(head, classes, **task)
    labels = np.nan_to_num(y["t"], nan=0).astype(int)
    if column:
        y = {k: v[..., None] for k, v in y.items()}
    model.compile("sgd", metrics={"t": ["accuracy"]})
    logs = model.evaluate(x, y, batch_size=4, verbose=0, return_dict=True)
    kept = ~gone
    labels, raw = labels[kept], raw[kept]
    assert logs["t_loss"] == pytest.approx(
        samples.pixel_crossentropy(labels, raw), rel=1e-4
    )
    probabilities = samples.softmax(raw)
    assert logs["t_mean_iou"] == pytest.approx(
        samples.mean_iou(labels, probabilities), rel=1e-5
    )
    assert logs["t_accuracy"] == pytest.approx(
        (probabilities.argmax(axis=-1) == labels).mean(), rel=1e-5
    )


@pytest.mark.parametrize("form", ["ignore label", "mask", "nan"])
def test_depth_of_some_pixels(form):
    head = mtl.heads.Depth(SIZE, target_mean=3.0, target_std=2.0)
    rng = np.random.default_rng(1)
    gone, labels = missing_at(rng), depths(rng)
    y, task = with_missing(form, labels, gone)
    model, x, raw, _ = problem(head, depths, **task)
    model.compile("sgd")
    logs = model.evaluate(x, y, batch_size=4, verbose=0, return_dict=True)
    labels, raw = labels[~gone], raw[..., 0][~gone]
    errors = np.abs(3 + 2 * raw - labels)
    assert logs["t_loss"] == pytest.approx(errors.mean() / 2, rel=1e-4)
    assert logs["t_mae"] == pytest.approx(errors.mean(), rel=1e-4)
    assert logs["t_relative_error"] == pytest.approx((errors / labels).mean(), rel=1e-4)


def test_weights_of_classes_and_images():
    """A pixel weighs what its class and its image weigh; metrics may use both."""
    weight = {0: 0.5, 2: 3.0}
    model, x, raw, labels = problem(
        mtl.heads.Segmentation(3, SIZE), classes, class_weight=weight
    )
    accuracy = keras.metrics.SparseCategoricalAccuracy(name="weighted")
    model.compile("sgd", weighted_metrics={"t": [accuracy]})
    of_image = np.arange(1.0, ROWS + 1)
    logs = model.evaluate(
        x, {"t": labels}, sample_weight={"t": of_image}, verbose=0, return_dict=True
    )
    p = samples.softmax(raw)
    picked = np.take_along_axis(p, labels[..., None], axis=-1)[..., 0]
    weights = np.array([0.5, 1.0, 3.0])[labels] * of_image[:, None, None]
    assert logs["t_loss"] == pytest.approx((weights * -np.log(picked)).mean(), rel=1e-4)
    right = p.argmax(axis=-1) == labels
    assert logs["t_weighted"] == pytest.approx(
        (weights * right).sum() / weights.sum(), rel=1e-5
    )
    assert logs["t_mean_iou"] == pytest.approx(samples.mean_iou(labels, p), rel=1e-5)


def test_pixels_without_a_label_have_no_gradient():
    """Training sees only the others: whatever stands there, the step is the same."""
    after = []
    for filler in (0, 2):
        keras.utils.set_random_seed(0)
        model, x, _, labels = problem(mtl.heads.Segmentation(3, SIZE), classes)
        gone = missing_at(np.random.default_rng(1))
        model.compile(keras.optimizers.SGD(1.0))
        y = {"t": np.where(gone, filler, labels), "t_mask": ~gone}
        model.fit(x, y, batch_size=ROWS, verbose=0)
        after.append(model.get_weights())
    for one, other in zip(*after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_relative_error_leaves_zeros_out():
    metric = mtl.heads.RelativeError(name="abs_rel")
    labels = np.array([[[2.0], [0.0]], [[-4.0], [5.0]]])
    predicted = np.array([[[3.0], [7.0]], [[-3.0], [5.0]]])
    metric.update_state(labels, predicted)
    assert float(metric.result()) == pytest.approx((0.5 + 0.25 + 0.0) / 3)
    metric.reset_state()
    metric.update_state(labels, predicted, sample_weight=np.array([1.0, 3.0]))
    assert float(metric.result()) == pytest.approx((0.5 + 3 * 0.25) / 7)
    copy = mtl.heads.RelativeError.from_config(metric.get_config())
    assert copy.name == "abs_rel"


@pytest.mark.parametrize(
    ("labels", "units", "mean", "std"),
    [
        (np.array([[[1.0, 3.0]], [[np.nan, 5.0]]]), 1, 3.0, np.sqrt(8 / 3)),
        (np.array([[[[1.0, 7.0], [3.0, 7.0]]]]), 2, [2.0, 7.0], [1.0, 1.0]),
    ],
)
@pytest.mark.parametrize("kind", ["regression_map", "depth"])
def test_scaling_for_labels(kind, labels, units, mean, std):
    cls = dict(mtl.heads.registry.items())[kind]
    head = cls.for_labels(labels, hidden_units=(3,))
    assert (head.units, head.output_size) == (units, (1, 2))
    np.testing.assert_allclose(head.target_mean, mean)
    np.testing.assert_allclose(head.target_std, std)
    assert head.hidden_units == (3,)


def test_two_replicas_equal_one(two_replicas, float64):
    """Loss, mean IoU and depth errors of a global batch, with missing pixels."""

    def run(scope):
        keras.utils.set_random_seed(0)
        with scope:
            net = mtl.backbones.ConvNet(
                input_shape=(6, 8, 1), filters=(3,), batch_norm=False, units=2
            )
            tasks = [
                mtl.Task("kind", mtl.heads.Segmentation(3, SIZE), missing=255),
                mtl.Task("depth", mtl.heads.Depth(SIZE, hidden_units=(2,))),
            ]
            model = mtl.build_model(net, tasks)
            model.compile(keras.optimizers.SGD(0.1), balancer="pcgrad")
        rng = np.random.default_rng(0)
        x = rng.normal(size=(ROWS, 6, 8, 1))
        gone = missing_at(rng)
        y = {
            "kind": np.where(gone, 255, classes(rng)),
            "depth": np.where(gone, np.nan, depths(rng)),
        }
        history = model.fit(x, y, batch_size=ROWS, epochs=2, verbose=0, shuffle=False)
        return model.get_weights(), history.history

    one, logs = run(contextlib.nullcontext())
    two, other_logs = run(two_replicas.scope())
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10)
    for name, values in logs.items():
        np.testing.assert_allclose(values, other_logs[name], rtol=1e-6, err_msg=name)
