"""Missing labels become what the copy is sure of; the others do not change."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from keras_mtl.callbacks import PseudoLabels

SIDE, ROWS = 4, 30
INPUTS = np.random.default_rng(0).normal(size=(ROWS, SIDE, SIDE, 1)).astype("float32")


def tasks():
    heads = mtl.heads
    return [
        mtl.Task("digit", heads.Classification(3), missing=-1),
        mtl.Task("soft", heads.Classification(3, one_hot=True)),
        mtl.Task("sick", heads.BinaryClassification()),
        mtl.Task("tags", heads.MultiLabelClassification(2)),
        mtl.Task("surface", heads.Segmentation(3, (SIDE, SIDE)), missing=255),
        mtl.Task("masked", heads.Classification(3)),
        mtl.Task("absent", heads.Classification(3)),
        mtl.Task("depth", heads.Regression()),
    ]


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    net = mtl.backbones.ConvNet(input_shape=(SIDE, SIDE, 1), filters=(4,))
    return mtl.build_model(net, tasks())


def labels():
    """Half of the labels are missing; those that are there are of class 1."""
    missing = np.arange(ROWS) % 2 == 0
    ones = np.ones(ROWS, "float32")
    pixels = np.ones((ROWS, SIDE, SIDE), "int32")
    pixels[:, 0] = 255
    return {
        "digit": np.where(missing, -1, 1),
        "soft": np.where(missing[:, None], np.nan, np.eye(3)[np.ones(ROWS, int)]),
        "sick": np.where(missing, np.nan, ones),
        "tags": np.where([True, False], np.nan, np.ones((ROWS, 2))),
        "surface": pixels,
        "masked": np.ones(ROWS, "int32"),
        "masked_mask": ~missing,
        "depth": np.where(missing, np.nan, ones),
    }


def dataset(y=None):
    y = labels() if y is None else y
    return tf.data.Dataset.from_tensor_slices((INPUTS, y)).batch(ROWS)


def confidences(served):
    """How sure the model is of each label, by task."""
    sure = {
        name: served[name]["probabilities"].max(axis=-1)
        for name in ("digit", "soft", "surface", "masked", "absent")
    }
    yes = {"sick": served["sick"]["probability"]}
    yes["tags"] = served["tags"]["probabilities"]
    return sure | {name: np.maximum(p, 1.0 - p) for name, p in yes.items()}


def test_labels_are_those_of_the_model_where_it_is_sure(model):
    before, served = labels(), model.predict_tasks(INPUTS, verbose=0)
    found = confidences(served)
    thresholds = {name: float(np.median(sure)) for name, sure in found.items()}
    sure = {name: found[name] >= threshold for name, threshold in thresholds.items()}
    pseudo = PseudoLabels(model, thresholds)
    x, y = next(iter(pseudo.filled(dataset())))
    y = {name: value.numpy() for name, value in y.items()}
    np.testing.assert_array_equal(x, INPUTS)
    np.testing.assert_array_equal(y["depth"], before["depth"])
    missing = np.arange(ROWS) % 2 == 0

    def expected(name, there, value):
        """Class 1 where there is a label, else the guess or `value`."""
        assert 0 < (sure[name] & ~there).sum() < (~there).sum()
        guess = served[name]["probabilities"].argmax(axis=-1)
        return np.where(there, 1, np.where(sure[name], guess, value))

    np.testing.assert_array_equal(y["digit"], expected("digit", ~missing, -1))
    surface = expected("surface", before["surface"] == 1, 255)
    np.testing.assert_array_equal(y["surface"], surface)
    soft = expected("soft", ~missing, -1)
    rows = np.where((soft >= 0)[:, None], np.eye(3)[soft], np.nan)
    np.testing.assert_array_equal(y["soft"], rows)
    np.testing.assert_array_equal(y["masked"], expected("masked", ~missing, 1))
    np.testing.assert_array_equal(y["masked_mask"], sure["masked"] | ~missing)
    absent = expected("absent", np.zeros(ROWS, bool), -1)
    np.testing.assert_array_equal(y["absent_mask"], sure["absent"])
    np.testing.assert_array_equal(y["absent"][sure["absent"]], absent[sure["absent"]])

    guess = np.where(sure["sick"], served["sick"]["probability"] >= 0.5, np.nan)
    np.testing.assert_array_equal(y["sick"], np.where(missing, guess, 1.0))
    guess = np.where(sure["tags"], served["tags"]["probabilities"] >= 0.5, np.nan)
    np.testing.assert_array_equal(y["tags"][:, 0], guess[:, 0])
    np.testing.assert_array_equal(y["tags"][:, 1], 1.0)


def test_the_copy_follows_the_model_at_the_start_of_epochs_only(model):
    first = model.get_weights()
    pseudo = PseudoLabels(model, {"digit": 0.0}, start_epoch=1)
    data = pseudo.filled(dataset())

    def filled():
        return next(iter(data))[1]["digit"].numpy()

    np.testing.assert_array_equal(filled(), labels()["digit"])
    pseudo.on_epoch_begin(0)
    np.testing.assert_array_equal(filled(), labels()["digit"])
    pseudo.on_epoch_begin(1)
    early = filled()
    assert (early >= 0).all()
    # Variances stay positive.
    model.set_weights([-value if (value < 0).any() else value for value in first])
    np.testing.assert_array_equal(filled(), early)
    pseudo.on_epoch_begin(2)
    late = model.predict_tasks(INPUTS, verbose=0)["digit"]["label"]
    assert (late[::2] != early[::2]).any()
    np.testing.assert_array_equal(filled()[::2], late[::2])
    model.set_weights(first)


def test_fit_trains_on_filled_labels():
    """The class is the sign of an input; half of the labels suffice for all."""
    x = np.random.default_rng(1).normal(size=(200, 2)).astype("float32")
    sign = (x[:, 0] > 0).astype("int32")
    y = {"sign": np.where(np.arange(200) % 2 == 0, -1, sign)}
    task = mtl.Task("sign", mtl.heads.Classification(2), missing=-1)
    model = mtl.build_model(mtl.backbones.MLP(input_shape=(2,), units=(8,)), [task])
    model.compile(keras.optimizers.Adam(0.02))
    pseudo = PseudoLabels(model, {"sign": 0.8}, start_epoch=1)
    order = mtl.data.EpochOrder(seed=1)
    train = pseudo.filled(order.batches((x, y), 10))
    model.fit(train, epochs=12, callbacks=[order, pseudo], shuffle=False, verbose=0)
    filled = np.concatenate([batch[1]["sign"].numpy() for batch in train])
    inputs = np.concatenate([batch[0].numpy() for batch in train])
    there = filled >= 0
    assert there.mean() > 0.7
    assert (filled[there] == (inputs[there, 0] > 0)).mean() > 0.95


def test_bad_arguments(model, two_replicas):
    for thresholds, words in [
        ({"digits": 0.9}, "`thresholds`.*digits"),
        ({"digit": 2.0}, "`thresholds`"),
        ({"depth": 0.9}, "'depth' with Regression"),
    ]:
        with pytest.raises(ValueError, match=words):
            PseudoLabels(model, thresholds)
    with two_replicas.scope(), pytest.raises(ValueError, match="scope"):
        PseudoLabels(model, {"digit": 0.9})
    pseudo = PseudoLabels(model, {"masked": 0.9})
    y = labels()
    del y["masked_mask"]
    with pytest.raises(ValueError, match="no label can be missing"):
        pseudo.filled(dataset(y))
