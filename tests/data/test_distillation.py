"""Labels from another model, and the loss against them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from keras_mtl.data import distilled
from tests.asserts import error_with
from tests.training import problems


@pytest.fixture(scope="module")
def teacher():
    """Probabilities of three classes, two scaled values, yes or no."""
    tasks = problems.tasks()
    heads = mtl.heads
    tasks[0] = mtl.Task("kind", heads.Classification(3, one_hot=True), label="class")
    tasks[1] = mtl.Task(
        "price", heads.Regression(2, target_mean=5.0, target_std=2.0), missing=-9.0
    )
    return mtl.build_model(problems.backbone(), tasks)


def batch_of(teacher, y, tasks=None, weights=()):
    x, _ = problems.data(4)
    data = tf.data.Dataset.from_tensors((x, y, *weights))
    found = next(iter(distilled(data, teacher, tasks)))
    return teacher.predict_tasks(x, verbose=0), found


def test_labels_that_are_missing_are_predictions(teacher):
    price = np.array([[1.0, 2.0], [np.nan, 2.0], [-9.0, -9.0], [1.0, 1.0]], "float32")
    sold, mask = np.array([0.0, 1.0, 1.0, 0.0]), np.array([True, False, True, True])
    y = {"price": price, "sold": sold, "sold_mask": mask, "more": np.ones(4)}
    predicted, (_, found, weights) = batch_of(teacher, y, weights=[np.ones(4)])
    assert set(found) == {"class", "price", "sold", "more"}
    kind = predicted["kind"]["probabilities"]
    np.testing.assert_allclose(found["class"], kind, rtol=1e-5)
    seen = ~np.isnan(price) & (price != -9)
    wanted = np.where(seen, price, predicted["price"]["value"])
    np.testing.assert_allclose(found["price"], wanted, rtol=1e-5)
    wanted = np.where(mask, sold, predicted["sold"]["probability"])
    np.testing.assert_allclose(found["sold"][:, 0], wanted, rtol=1e-5)
    np.testing.assert_array_equal(weights, 1.0)


def test_only_the_chosen_tasks(teacher):
    _, (_, found) = batch_of(teacher, {"more": np.ones(4)}, ["sold"])
    assert set(found) == {"sold", "more"}


def test_errors(teacher):
    with error_with(ValueError, "`tasks`", "['class']"):
        batch_of(teacher, {"more": np.ones(4)}, ["class"])
    with error_with(ValueError, "dict by task", "Tensor"):
        batch_of(teacher, np.ones(4))
    with error_with(ValueError, "'kind'", "one_hot", "(4,)"):
        batch_of(teacher, {"class": np.ones(4, "int32")})


def test_loss_equals_numpy():
    """Hinton's: temperature on both sides, times T²."""
    rng = np.random.default_rng(0)
    teacher, student = rng.normal(size=(2, 5, 4))

    def softmax(z):
        return np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)

    for temperature in (1.0, 2.0, 5.0):
        loss = mtl.heads.DistillationLoss(temperature)
        found = loss.call(softmax(teacher), student)
        wanted = -softmax(teacher / temperature) * np.log(
            softmax(student / temperature)
        )
        np.testing.assert_allclose(found, temperature**2 * wanted.sum(-1), rtol=1e-5)
    plain = keras.losses.CategoricalCrossentropy(from_logits=True)
    found = mtl.heads.DistillationLoss(1.0)(softmax(teacher), student)
    np.testing.assert_allclose(found, plain(softmax(teacher), student), rtol=1e-5)
    copy = mtl.heads.DistillationLoss.from_config(loss.get_config())
    assert copy.temperature == 5.0
    with error_with(ValueError, "`temperature`", "0"):
        mtl.heads.DistillationLoss(0)


def test_an_old_task_is_kept_without_its_labels():
    """Learning without forgetting: the old task has no label in the new data."""
    x, y = problems.data(96)
    model = problems.model(("kind",))
    model.compile(keras.optimizers.Adam(0.02))
    model.fit(x, {"kind": y["kind"]}, epochs=20, batch_size=32, verbose=0)
    new = problems.tasks()[2]
    soft = mtl.Task(
        "kind",
        mtl.heads.Classification(3, one_hot=True),
        loss=mtl.heads.DistillationLoss(),
    )
    batches = tf.data.Dataset.from_tensor_slices((x, {"sold": y["sold"]})).batch(32)
    accuracy = []
    for tasks, data in (([new], batches), ([new, soft], distilled(batches, model))):
        more = mtl.continual.add_tasks(model, tasks)
        more.compile(keras.optimizers.Adam(0.02))
        more.fit(data, epochs=20, verbose=0)
        predicted = more.predict_tasks(x, verbose=0)
        accuracy.append(np.mean(predicted["kind"]["label"] == y["kind"]))
        assert np.mean(predicted["sold"]["label"] == y["sold"]) > 0.8
    assert accuracy[1] > accuracy[0]
    assert accuracy[1] > 0.8
