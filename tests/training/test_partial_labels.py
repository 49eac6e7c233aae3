"""Missing labels and values that are not finite leave the other tasks alone."""

import functools

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from tests.training import problems

METHODS = {
    "plain": {},
    "uncertainty": {"loss_weighting": "uncertainty"},
    "pcgrad": {"balancer": "pcgrad"},
    "mgda": {"balancer": "mgda"},
    "cagrad": {"balancer": "cagrad"},
    "every": {"balancer": "pcgrad", "balancing": mtl.BalancingOptions(every=2)},
}


def train(model, x, y, epochs=3, **compile_arguments):
    keras.utils.set_random_seed(5)
    model.compile(keras.optimizers.Adam(0.02), **compile_arguments)
    history = model.fit(x, y, batch_size=16, epochs=epochs, shuffle=False, verbose=0)
    return problems.weights(model), history.history


@pytest.fixture(scope="module")
def two_tasks():
    """By method: weights and logs of a training without the last task."""

    @functools.cache
    def trained(method):
        x, y = problems.data()
        return train(problems.model(("kind", "price")), x, y, **METHODS[method])

    return trained


# `test_every_method.py` has all methods without labels, and switched off.
@pytest.mark.parametrize("method", ["plain", "uncertainty", "cagrad", "every"])
@pytest.mark.parametrize("how", ["nan", "absent", "mask", "weight", "priority"])
def test_a_task_without_labels_is_as_if_it_were_not_there(
    method, how, float64, two_tasks
):
    """The last task has no label: the others train as in a model without it."""
    x, y = problems.data()
    without, without_logs = two_tasks(method)
    weights = None
    if how == "nan":
        y["sold"] = np.full_like(y["sold"], np.nan)
    elif how == "absent":
        del y["sold"]
    elif how == "mask":
        y["sold_mask"] = np.zeros(len(x), bool)
    elif how == "weight":
        weights = {"sold": np.zeros(len(x))}
    model = problems.model()
    before = problems.weights(model)
    keras.utils.set_random_seed(5)
    model.compile(keras.optimizers.Adam(0.02), **METHODS[method])
    if how == "priority":
        model.set_task_priorities({"sold": 0.0})
    logs = model.fit(
        x, y, sample_weight=weights, batch_size=16, epochs=3, shuffle=False, verbose=0
    ).history
    after = problems.weights(model)
    for path, value in without.items():
        np.testing.assert_allclose(after[path], value, atol=1e-13, err_msg=path)
    for path in set(after) - set(without):
        np.testing.assert_array_equal(after[path], before[path], err_msg=path)
    for key, values in without_logs.items():
        np.testing.assert_allclose(logs[key], values, atol=1e-12, err_msg=key)
    for key in set(logs) - set(without_logs):
        # Never a perfect-looking 0: with zero weights Keras' loss is a true 0.
        assert np.all(np.isnan(logs[key])), key


def test_masks_nan_and_missing_mean_the_same(float64):
    """Three ways to leave out the same labels."""
    x, full = problems.data()
    gone = np.random.default_rng(0).random(len(x)) < 0.5
    results = []
    for how in ("nan", "missing", "mask"):
        y = {k: v.copy() for k, v in full.items()}
        changes = {}
        if how == "nan":
            y["price"][gone] = np.nan
            y["kind"] = y["kind"].astype("float64")
            y["kind"][gone] = np.nan
        elif how == "missing":
            y["price"][gone], y["kind"][gone] = -9.0, -1
            changes = {"kind": {"missing": -1}, "price": {"missing": -9.0}}
        else:
            y["price_mask"], y["kind_mask"] = ~gone, ~gone
        results.append(train(problems.model(**changes), x, y, balancer="mgda"))
    for weights, logs in results[1:]:
        assert problems.largest_difference(weights, results[0][0]) < 1e-12
        for key, values in logs.items():
            np.testing.assert_allclose(values, results[0][1][key], atol=1e-12)


def test_the_denominator_is_the_number_of_labelled_elements(float64):
    """Loss and metric equal those of the labelled rows alone; entries count alone."""
    x, y = problems.data()
    y["price"][:20] = np.nan
    y["price"][20:30, 1] = np.nan
    model = problems.model()
    model.compile("sgd")
    logs = model.evaluate(x, y, batch_size=len(x), verbose=0, return_dict=True)
    predicted = model.predict(x, verbose=0)["price"]
    seen = ~np.isnan(y["price"])
    expected = np.mean((predicted - y["price"])[seen] ** 2)
    np.testing.assert_allclose(logs["price_loss"], expected, rtol=1e-12)
    rows = seen.all(axis=1)
    mae = np.abs(predicted - y["price"])[rows].mean()
    np.testing.assert_allclose(logs["price_mae"], mae, rtol=1e-6)


def test_logs_are_means_over_rows_not_over_batches(float64):
    """50 rows by 16: the last batch has two rows and must not count like sixteen."""
    x, y = problems.data(50)
    model = problems.model()
    model.compile("sgd")
    by_16 = model.evaluate(x, y, batch_size=16, verbose=0, return_dict=True)
    at_once = model.evaluate(x, y, batch_size=50, verbose=0, return_dict=True)
    for key, value in at_once.items():
        np.testing.assert_allclose(by_16[key], value, rtol=1e-6, err_msg=key)


@pytest.fixture(scope="module")
def second_batch_unlabelled():
    """By method: weights of a training in which that batch lacks a task's labels."""

    @functools.cache
    def trained(method):
        x, y = problems.data()
        y["price"][16:32] = np.nan
        model = problems.model()
        weights, _ = train(model, x, y, epochs=1, **METHODS[method])
        assert not model.balancing_state["nonfinite"].any()
        return weights

    return trained


@pytest.mark.parametrize(
    ("bad", "method", "jit_compile"),
    [(np.inf, m, jit) for m in ("plain", "uncertainty", "every") for jit in (0, 1)]
    + [(np.inf, "pcgrad", 0), (1e300, "plain", 0), (1e300, "every", 1)],
)
def test_a_task_that_is_not_finite_is_left_out_of_that_step(
    bad, method, jit_compile, float64, second_batch_unlabelled
):
    """Everything stays finite, the others train on, and it is counted."""
    x, y = problems.data()
    y["price"][20, 0] = bad  # in the second of three batches; 1e300² overflows
    model = problems.model()
    weights, logs = train(
        model, x, y, epochs=1, jit_compile=bool(jit_compile), **METHODS[method]
    )
    assert all(np.isfinite(w).all() for w in weights.values())
    assert all(np.isfinite(v).all() for v in logs.values())
    np.testing.assert_array_equal(model.balancing_state["nonfinite"], [0, 1, 0])
    expected = second_batch_unlabelled(method)
    assert problems.largest_difference(weights, expected) < 1e-12


@pytest.mark.parametrize(
    ("task", "label", "method", "jit_compile"),
    [
        ("kind", 3, "plain", False),
        ("kind", -1, "pcgrad", True),
        ("sold", 2, "plain", True),
        ("sold", -1, "modo", False),
    ],
)
def test_a_label_out_of_range_leaves_its_task_out_of_that_step(
    task, label, method, jit_compile, float64
):
    """On every device alike, also where TensorFlow would raise or read the label."""
    options = {"balancer": "modo"} if method == "modo" else METHODS[method]
    x, y = problems.data()
    y[task][21] = label  # in the second of three batches
    model = problems.model()
    weights, logs = train(model, x, y, epochs=1, jit_compile=jit_compile, **options)
    assert all(np.isfinite(v).all() for v in logs.values())
    counted = model.balancing_state["nonfinite"]
    np.testing.assert_array_equal(counted, [task == name for name in problems.TASKS])
    y[f"{task}_mask"] = ~np.isin(np.arange(len(x)), np.arange(16, 32))
    model = problems.model()
    expected, _ = train(model, x, y, epochs=1, **options)
    assert problems.largest_difference(weights, expected) < 1e-12
    assert not model.balancing_state["nonfinite"].any()


def test_a_label_out_of_range_with_weight_zero_counts_for_nothing(float64):
    x, y = problems.data()
    y["sold"][21] = -1
    model = problems.model()
    model.compile("sgd")
    counted = np.arange(len(x)) != 21
    model.fit(x, y, sample_weight={"sold": counted}, verbose=0)
    assert not model.balancing_state["nonfinite"].any()


@keras.saving.register_keras_serializable(package="tests")
class RootLoss(keras.losses.Loss):
    """Finite everywhere, with an infinite slope at zero."""

    def call(self, y_true, y_pred):
        return keras.ops.sum(keras.ops.sqrt(keras.ops.abs(y_pred - y_true) * 0.0), -1)


@pytest.mark.parametrize("method", ["plain", "mgda"])
def test_a_finite_loss_with_a_gradient_that_is_not(method, float64):
    x, y = problems.data()
    model = problems.model(price={"loss": RootLoss()})
    weights, _ = train(model, x, y, epochs=1, **METHODS[method])
    assert all(np.isfinite(w).all() for w in weights.values())
    np.testing.assert_array_equal(model.balancing_state["nonfinite"], [0, 3, 0])


@pytest.mark.parametrize("jit_compile", [False, True])
def test_raise_stops_after_the_step_and_names_the_task(jit_compile):
    x, y = problems.data()
    y["price"][20, 0] = np.inf
    model = problems.model()
    model.compile(
        "adam",
        balancer="pcgrad",
        jit_compile=jit_compile,
        balancing=mtl.BalancingOptions(on_nonfinite="raise"),
    )
    with pytest.raises(FloatingPointError, match=r"\['price'\].*training step 2"):
        model.fit(x, y, batch_size=16, shuffle=False, verbose=0)
    assert all(np.isfinite(w).all() for w in problems.weights(model).values())


def test_training_without_any_label_is_an_error_after_the_first_epoch():
    x, y = problems.data()
    y = {"price": np.full_like(y["price"], np.nan)}
    model = problems.model()
    model.compile("adam")
    with pytest.raises(ValueError, match="label for at least one task"):
        model.fit(x, y, verbose=0)
