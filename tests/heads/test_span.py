"""Spans: which tokens may be in one, which is the best, what labels cannot be."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from tests.heads.samples import overlap, softmax, spans

ROWS, TOKENS = 6, 5
ALLOWED = np.array(
    [
        [0, 1, 1, 1, 1],
        [1, 1, 1, 1, 1],
        [0, 0, 1, 1, 0],
        [1, 0, 1, 0, 1],
        [0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0],
    ],
    bool,
)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    series = keras.Input((TOKENS, 3), name="series")
    shared = keras.layers.Dense(4, activation="tanh")(series)
    net = keras.Model(series, {"sequence": shared})
    task = mtl.Task("answer", mtl.heads.SpanExtraction(2), missing=-1)
    model = mtl.build_model(net, [task])
    for variable in model.trainable_variables:
        variable.assign(3 * np.random.default_rng(1).normal(size=variable.shape))
    model.compile("sgd", run_eagerly=True)
    return model


def inputs():
    rng = np.random.default_rng(2)
    series = rng.normal(size=(ROWS, TOKENS, 3)).astype("float32")
    return {"series": series, "span_mask": ALLOWED}


def test_excluded_tokens(model):
    """They have no probability, and no span begins, ends or is there."""
    raw = model.predict(inputs(), verbose=0)["answer"]
    p = softmax(np.swapaxes(raw, 1, 2).astype("float64"))
    some = ALLOWED.any(axis=1)
    assert p[some].transpose(0, 2, 1)[~ALLOWED[some]].max() == 0.0
    served = model.predict_tasks(inputs(), verbose=0)["answer"]
    first, last, probability = spans(raw.astype("float64")[some], 2)
    assert served["start"].tolist() == [*first, -1]
    assert served["end"].tolist() == [*last, -1]
    expected = [*probability, 0.0]
    np.testing.assert_allclose(served["probability"], expected, rtol=1e-4, atol=1e-7)


def test_losses_and_metrics_leave_missing_labels_out(model):
    labels = np.array([[1, 2], [0, 4], [-1, -1], [2, 4], [4, 4], [-1, -1]])
    raw = model.predict(inputs(), verbose=0)["answer"].astype("float64")
    logs = model.evaluate(inputs(), {"answer": labels}, verbose=0, return_dict=True)
    there = labels[:, 0] >= 0
    log_p = np.log(softmax(np.swapaxes(raw[there], 1, 2)) + 1e-300)
    picked = np.take_along_axis(log_p, labels[there][..., None], axis=-1)
    found = np.stack(spans(raw[there], 2)[:2], axis=-1)
    expected = {
        "answer_loss": -picked.mean(),
        "answer_exact_match": (found == labels[there]).all(axis=1).mean(),
        "answer_overlap_f1": overlap(labels[there], found),
    }
    for key, value in expected.items():
        assert logs[key] == pytest.approx(value, rel=1e-4)


@pytest.mark.parametrize("label", [[2, 1], [0, 5], [1, 1], [-2, 2]])
def test_labels_that_cannot_be(model, label):
    """Ends before it begins, outside of the text, at an excluded token."""
    labels = np.array([[2, 3]] * ROWS)
    labels[3] = label
    x = {**inputs(), "span_mask": np.ones_like(ALLOWED)}
    x["span_mask"][3, 1] = False
    before = model.balancing_state["nonfinite"]
    model.train_on_batch(x, {"answer": labels})
    assert (model.balancing_state["nonfinite"] - before).tolist() == [1]
    for variable in model.trainable_variables:
        assert np.all(np.isfinite(variable))


def test_no_overlap_where_no_span_is_found():
    metric = mtl.heads.SpanOverlap()
    metric.update_state(
        np.array([[0, 1], [3, 4]]), np.array([[-1, -1], [4, 4]], "float32")
    )
    assert float(metric.result()) == pytest.approx((0 + 2 / 3) / 2)
