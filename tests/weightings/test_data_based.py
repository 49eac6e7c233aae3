"""Data-based weights: shares by hand, and statistics of labels."""

import numpy as np
import pytest

import keras_mtl as mtl
from tests.asserts import error_with
from tests.weightings.samplers import TASKS, evaluate


def test_inverse_shares_by_hand():
    """Shares ½, ¼, ¼: inverses 2, 4, 4 of 10, times 3."""
    weighting = mtl.weightings.DataBased(counts={"t0": 100, "t2": 50, "t1": 50})
    _, weights, _, _ = evaluate(weighting, [1.0, 1.0, 1.0])
    np.testing.assert_allclose(weights, [0.6, 1.2, 1.2])
    _, weights, _, _ = evaluate(weighting, [1.0, 1.0, 1.0], [True, True, False])
    np.testing.assert_allclose(weights, [2 / 3, 4 / 3, 0])


def test_a_constant_prediction_costs_the_same_for_every_task():
    """The best constant prediction has the entropy of the labels as its loss."""
    entropies = {"t0": np.log(2), "t1": np.log(10), "t2": 0.3}
    weighting = mtl.weightings.DataBased(entropies=entropies)
    losses = np.array(list(entropies.values()))
    _, weights, _, _ = evaluate(weighting, losses)
    weighted = weights * losses
    np.testing.assert_allclose(weighted, weighted[0])
    assert weights.sum() == pytest.approx(3)


@pytest.mark.parametrize("factor", [1, 10**9])
def test_only_ratios_count(factor):
    counts = {"t0": 100 * factor, "t1": 200 * factor, "t2": 400 * factor}
    _, weights, _, _ = evaluate(mtl.weightings.DataBased(counts), [1.0, 1.0, 1.0])
    np.testing.assert_allclose(weights, np.array([4, 2, 1]) * 3 / 7)


LABELS = {
    "kind": np.array([0, 2, 2, -1, 2, -1]),
    "price": np.array([[1.0, 2.0], [np.nan, 1.0], [0.5, 0.5]] * 2),
    "sold": np.array([0.0, 1.0, np.nan, 1.0, 0.0, 1.0]),
    "sold_mask": np.array([1, 1, 1, 1, 1, 0], bool),
}
LABELLED = [
    mtl.Task("a", mtl.heads.Classification(3), label="kind", missing=-1),
    mtl.Task("price", mtl.heads.Regression(2)),
    mtl.Task("sold", mtl.heads.BinaryClassification()),
]


def test_label_counts():
    found = mtl.weightings.label_counts(LABELS, LABELLED)
    assert found == {"a": 4, "price": 4, "sold": 4}
    mtl.weightings.DataBased(counts=found).init(LABELLED)


def test_label_entropies():
    found = mtl.weightings.label_entropies(LABELS, [LABELLED[0], LABELLED[2]])
    shares = np.array([1 / 4, 3 / 4])
    assert found["a"] == pytest.approx(-(shares * np.log(shares)).sum())
    assert found["sold"] == pytest.approx(np.log(2))


def test_label_entropies_of_one_hot_labels():
    task = mtl.Task("a", mtl.heads.Classification(4))
    found = mtl.weightings.label_entropies({"a": np.eye(4)}, [task])
    assert found["a"] == pytest.approx(np.log(4))


def test_label_entropies_of_values():
    with error_with(ValueError, "classes", "'price'"):
        mtl.weightings.label_entropies(LABELS, LABELLED)


def test_a_task_without_any_spread_is_an_error():
    entropies = mtl.weightings.label_entropies(
        {"t0": np.zeros(5, int)}, [mtl.Task("t0", TASKS[1].head)]
    )
    with error_with(ValueError, "`entropies`", "> 0"):
        mtl.weightings.DataBased(entropies=entropies)
