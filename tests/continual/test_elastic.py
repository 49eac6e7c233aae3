"""Elastic weight consolidation against NumPy on a linear model."""

import keras
import numpy as np

import keras_mtl as mtl
from keras_mtl.continual import add_tasks, fisher_information, protect
from tests.asserts import error_with
from tests.training import problems

PRICE = mtl.Task("price", mtl.heads.Regression())
KERNEL, BIAS = "price_output/kernel", "price_output/bias"


def linear(**layer):
    inputs = keras.Input((2,))
    outputs = keras.layers.Dense(2, use_bias=False, name="shared", **layer)(inputs)
    return mtl.build_model(keras.Model(inputs, {"pooled": outputs}), [PRICE])


def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(7, 2)), rng.normal(size=7)


def test_fisher_information_equals_numpy(float64):
    """Squares of 2 r ∂(a·Wx + b); a missing label counts as a zero gradient."""
    model = linear()
    x, y = rows()
    y[3] = np.nan
    w, a, b = (np.asarray(v) for v in model.trainable_variables)
    r = np.nan_to_num((x @ w @ a)[:, 0] + b - y)
    squares = {
        "shared/kernel": (2 * r[:, None, None] * x[:, :, None] * a[None, :, 0]) ** 2,
        KERNEL: (2 * r[:, None, None] * (x @ w)[:, :, None]) ** 2,
        BIAS: (2 * r[:, None]) ** 2,
    }
    found = fisher_information(model, (x, {"price": y}))
    assert found.keys() == squares.keys()
    for path, value in squares.items():
        np.testing.assert_allclose(found[path], value.mean(axis=0), err_msg=path)
    first = fisher_information(model, (x, {"price": y}), num_examples=2)
    np.testing.assert_allclose(first[BIAS], squares[BIAS][:2].mean(axis=0))


def test_the_penalty_and_its_gradient_equal_numpy(float64):
    """Beside a regulariser of the layer; two calls add up; also once traced."""
    model = linear(kernel_regularizer=keras.regularizers.L2(0.1))
    model.compile(keras.optimizers.SGD(0.01))
    x, y = rows()
    data = x, {"price": y}

    start = model.get_weights()
    w = next(v for v in model.weights if v.path == "shared/kernel")

    def penalty():
        logs = model.evaluate(*data, verbose=0, return_dict=True)
        return logs["loss"] - logs["price_loss"]

    def step():
        model.set_weights(start)
        model.fit(*data, batch_size=7, verbose=0)
        return np.array(w)

    first = np.array(w)
    np.testing.assert_allclose(penalty(), 0.1 * np.sum(first**2))
    plain = step()
    stiff = np.array([[1.0, 2.0], [3.0, 0.0]])
    for center, strength in ((first, 4.0), (first + 1.0, 1.0)):
        w.assign(center)
        protect(model, {"shared/kernel": stiff}, strength=strength)
    w.assign(first + 3.0)
    anchors = 0.5 * np.sum(4.0 * stiff * 3.0**2 + stiff * 2.0**2)
    np.testing.assert_allclose(penalty(), anchors + 0.1 * np.sum((first + 3) ** 2))
    # At the start only the second one pulls, with `stiff * 1`.
    np.testing.assert_allclose(step(), plain + 0.01 * stiff)


def test_an_old_task_is_forgotten_less():
    """The same further training with and without the penalty."""
    x, y = problems.data(96)
    old = {"kind": y["kind"]}
    model = problems.model(("kind",))
    model.compile(keras.optimizers.Adam(0.02))
    model.fit(x, old, epochs=20, batch_size=32, verbose=0)
    importance = fisher_information(model, (x, old), num_examples=48)
    losses = []
    for strength in (None, 200.0):
        more = add_tasks(model, problems.tasks()[2:])
        if strength is not None:
            protect(more, importance, strength=strength)
        more.compile(keras.optimizers.Adam(0.02))
        more.fit(x, {"sold": y["sold"]}, epochs=20, batch_size=32, verbose=0)
        report = mtl.analysis.transfer_report(model, more, (x, y))
        losses.append(report.backward["kind"]["loss"])
    assert losses[1] < 0.5 * losses[0]


def test_errors():
    model = linear()
    with error_with(ValueError, "`strength`", "0"):
        protect(model, {}, strength=0)
    with error_with(ValueError, "`importance`", "'other'", "price_output/kernel"):
        protect(model, {"other": np.zeros(2)}, strength=1.0)
    with error_with(ValueError, "`importance`", "(3,)"):
        protect(model, {BIAS: np.zeros(3)}, strength=1.0)
    with error_with(ValueError, "`num_examples`", "0"):
        fisher_information(model, rows(), num_examples=0)
