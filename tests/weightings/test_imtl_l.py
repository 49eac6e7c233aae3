"""IMTL-L: by hand, its closed form, and what units do to it."""

import numpy as np
import pytest

import keras_mtl as mtl
from tests.weightings.samplers import evaluate


def test_by_hand():
    """`2 L₁ - log 2 + L₂ + ½ L₃ + log 2`."""
    scales = {"scales": np.log([2.0, 1.0, 0.5])}
    found, weights, gradients, _ = evaluate(
        mtl.weightings.IMTLL(), [3.0, 5.0, 8.0], variables=scales
    )
    assert found == pytest.approx(6 + 5 + 4)
    np.testing.assert_allclose(weights, [2, 1, 0.5])
    np.testing.assert_allclose(gradients["scales"], [5, 4, 3])


@pytest.mark.parametrize("losses", [[0.1, 1.0, 10.0], [1e-4, 1e4, 1.0]])
def test_at_its_minimum_all_weighted_losses_are_one(losses):
    best = -np.log(losses)
    lowest, weights, gradients, _ = evaluate(
        mtl.weightings.IMTLL(), losses, variables={"scales": best}
    )
    np.testing.assert_allclose(gradients["scales"], 0, atol=1e-12)
    np.testing.assert_allclose(weights * losses, 1)
    for shift in np.random.default_rng(0).normal(size=(20, 3)):
        nearby = {"scales": best + shift}
        found = evaluate(mtl.weightings.IMTLL(), losses, variables=nearby)[0]
        assert found > lowest


def test_units_cancel():
    """A loss in another unit: other scales at the minimum, the same weighted loss."""
    losses, units = np.array([0.2, 3.0, 7.0]), np.array([10.0, 0.5, 2.0])
    for factor in (np.ones(3), units):
        variables = {"scales": -np.log(losses * factor)}
        _, weights, _, _ = evaluate(
            mtl.weightings.IMTLL(), losses * factor, variables=variables
        )
        np.testing.assert_allclose(weights * factor, 1 / losses)
