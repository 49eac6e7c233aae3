"""GLS: the product of the losses, and what its units do."""

import numpy as np
import pytest

import keras_mtl as mtl
from tests.weightings.samplers import evaluate


@pytest.mark.parametrize("losses", [[2.0], [2.0, 8.0], [0.1, 3.0, 40.0]])
def test_is_the_root_of_the_product(losses):
    """Chennupati et al., equation 2, and its slopes `GLS / (K L)`."""
    found, weights, _, _ = evaluate(mtl.weightings.GLS(), losses)
    expected = np.prod(losses) ** (1 / len(losses))
    assert found == pytest.approx(expected, rel=1e-9)
    slopes = expected / (len(losses) * np.array(losses))
    np.testing.assert_allclose(weights, slopes, rtol=1e-9)


def test_a_unit_changes_only_the_length_of_the_gradient():
    losses, units = np.array([0.3, 2.0, 5.0]), np.array([1e3, 1e-2, 7.0])
    value, weights, _, _ = evaluate(mtl.weightings.GLS(), losses)
    other, other_weights, _, _ = evaluate(mtl.weightings.GLS(), losses * units)
    factor = np.prod(units) ** (1 / 3)
    assert other == pytest.approx(factor * value)
    np.testing.assert_allclose(other_weights * units, factor * weights)


def test_many_small_losses_do_not_underflow():
    """Their product is 1e-640."""
    from tests.weightings.samplers import HEADS

    tasks = tuple(mtl.Task(f"t{i}", HEADS[0]) for i in range(64))
    found, weights, _, _ = evaluate(
        mtl.weightings.GLS(), np.full(64, 1e-5), tasks=tasks, dtype="float32"
    )
    assert found == pytest.approx(1e-5, rel=1e-4)
    np.testing.assert_allclose(weights, 1 / 64, rtol=1e-4)


def test_a_negative_loss_gets_no_weight():
    _, weights, _, _ = evaluate(mtl.weightings.GLS(), [-1.0, 2.0])
    assert weights[0] == 0
    assert np.isfinite(weights).all()
