"""STCH: its equation, its bounds, its limits, and a curved front."""

import numpy as np
import pytest
import scipy.optimize
import scipy.special

import keras_mtl as mtl
from tests.weightings.samplers import evaluate

LOSSES = np.array([0.5, 3.0, 2.0])


def stch(**config):
    return mtl.weightings.STCH(**config)


@pytest.mark.parametrize("mu", [1e-3, 0.1, 1.0, 50.0])
@pytest.mark.parametrize("preference", [None, [1.0, 2.0, 5.0]])
@pytest.mark.parametrize("ideal", [None, {"t0": 0.2, "t2": -1.0}])
def test_equation_9(mu, preference, ideal):
    share = np.array(preference or [1.0, 1.0, 1.0])
    share /= share.sum()
    gaps = LOSSES - [(ideal or {}).get(name, 0.0) for name in ("t0", "t1", "t2")]
    exponents = share * gaps / mu
    found, weights, _, _ = evaluate(
        stch(mu=mu, preference=preference, ideal=ideal), LOSSES
    )
    assert found == pytest.approx(mu * scipy.special.logsumexp(exponents))
    np.testing.assert_allclose(
        weights, share * scipy.special.softmax(exponents), atol=1e-15
    )


def test_by_hand():
    """`λ = ½`, μ = ½: `½ log(e² + e⁴)`."""
    found, weights, _, _ = evaluate(stch(mu=0.5), [2.0, 4.0])
    assert found == pytest.approx(0.5 * np.log(np.exp(2) + np.exp(4)))
    np.testing.assert_allclose(weights, 0.5 / (1 + np.exp([2.0, -2.0])))


@pytest.mark.parametrize("mu", [1e-4, 1e-2, 1.0, 100.0])
def test_lies_between_the_maximum_and_mu_log_k_above(mu):
    """Lin et al., proposition 3.4: a uniform smooth approximation of the maximum."""
    for seed in range(20):
        losses = np.random.default_rng(seed).exponential(size=3)
        found = evaluate(stch(mu=mu), losses)[0]
        assert losses.max() / 3 - 1e-12 <= found
        assert found <= losses.max() / 3 + mu * np.log(3) + 1e-12


def test_limits():
    """The worst task alone for a small μ, the preferences for a large one."""
    np.testing.assert_allclose(evaluate(stch(mu=1e-4), LOSSES)[1], [0, 1 / 3, 0])
    preference = [1.0, 2.0, 5.0]
    weights = evaluate(stch(mu=1e8, preference=preference), LOSSES)[1]
    np.testing.assert_allclose(weights, np.array(preference) / 8 / 3, rtol=1e-6)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_reaches_points_of_a_concave_front(share):
    """On `L₁² + L₂² = 1` every weighted sum ends at a corner; STCH does not.

    The minimiser is where the preferred losses meet: `λ₁ L₁ = λ₂ L₂`.
    """
    weighting = stch(mu=1e-3, preference=[share, 1 - share])

    def value(angle):
        return evaluate(weighting, [np.sin(angle), np.cos(angle)])[0]

    best = scipy.optimize.minimize_scalar(
        value, bounds=(0.0, np.pi / 2), method="bounded", options={"xatol": 1e-5}
    ).x
    meeting = np.arctan((1 - share) / share)
    assert abs(best - meeting) < 5e-3
    linear = [share * np.sin(a) + (1 - share) * np.cos(a) for a in (0.0, np.pi / 2)]
    assert min(linear) < share * np.sin(best) + (1 - share) * np.cos(best)
