"""Backward and forward transfer, from the logs of `evaluate`."""

import numpy as np
import pytest

import keras_mtl as mtl
from tests.asserts import error_with
from tests.training import problems


@pytest.fixture(scope="module")
def models():
    """The old model, the extended one, and the new task alone; all compiled."""
    found = [problems.model(n) for n in (("kind", "price"), problems.TASKS, ("sold",))]
    for model in found:
        model.compile("sgd", run_eagerly=True)
    changed = found[1].get_layer("kind_output")
    changed.set_weights([2 * w for w in changed.get_weights()])
    return found


def test_report_equals_the_differences_of_evaluate(models):
    before, after, alone = models
    x, y = problems.data()
    report = mtl.analysis.transfer_report(before, after, (x, y), alone={"sold": alone})
    logs = [m.evaluate(x, y, verbose=0, return_dict=True) for m in models]
    for task, metric in (("kind", "loss"), ("kind", "accuracy"), ("price", "mae")):
        key = f"{task}_{metric}"
        expected = logs[1][key] - logs[0][key]
        np.testing.assert_allclose(report.backward[task][metric], expected, atol=1e-6)
    assert report.backward["kind"]["loss"] != 0
    # The backbone and the other heads have not changed.
    assert report.backward["price"] == {"loss": 0.0, "mae": 0.0}
    expected = logs[1]["sold_loss"] - logs[2]["sold_loss"]
    np.testing.assert_allclose(report.forward["sold"]["loss"], expected, atol=1e-6)
    assert set(report.forward) == {"sold"} and set(report.backward) < set(after.output)


def test_table():
    report = mtl.analysis.TransferReport(
        before={"kind": {"loss": 0.5, "accuracy": 0.9}},
        alone={"sold": {"auc": 0.5}},
        after={"kind": {"loss": 0.75, "accuracy": 0.8}, "sold": {"auc": 0.625}},
    )
    assert report.table(digits=2).rows == (
        ("backward", "kind", "loss", "0.50", "0.75", "+0.25"),
        ("backward", "kind", "accuracy", "0.90", "0.80", "-0.10"),
        ("forward", "sold", "auc", "0.50", "0.62", "+0.12"),
    )


def test_errors(models):
    before, after, alone = models
    with error_with(ValueError, "all tasks of `before`", "['sold']"):
        mtl.analysis.transfer_report(after, before, problems.data())
    with error_with(ValueError, "`alone` for task 'kind'", "['sold']"):
        mtl.analysis.transfer_report(
            before, after, problems.data(), alone={"kind": alone}
        )
