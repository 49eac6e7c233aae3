"""Preference vectors: shares over the active tasks, lengths checked early."""

import numpy as np
import pytest
from keras import ops

import keras_mtl as mtl
from keras_mtl.balancers.preference import preference_shares
from tests.asserts import error_with
from tests.balancers import samplers

NAMES = ("upgrad", "dualproj", "aligned_mtl", "config")


@pytest.mark.parametrize(
    ("preference", "active", "expected"),
    [
        (None, [1, 1, 1, 1], [0.25, 0.25, 0.25, 0.25]),
        (None, [1, 0, 1, 0], [0.5, 0, 0.5, 0]),
        ([1, 2, 3, 2], [1, 1, 1, 1], [0.125, 0.25, 0.375, 0.25]),
        ([1, 2, 3, 2], [1, 0, 1, 0], [0.25, 0, 0.75, 0]),
        ([1, 0, 0, 2], [0, 1, 1, 0], [0, 0.5, 0.5, 0]),
        (None, [0, 0, 0, 0], [0, 0, 0, 0]),
    ],
)
def test_shares(preference, active, expected):
    found = preference_shares(preference, ops.array(active, "bool"), "float64")
    np.testing.assert_allclose(found, expected, atol=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_length_is_found_before_the_first_step(name):
    balancer = mtl.balancers.get(
        {"class_name": name, "config": {"preference": [1.0, 2.0]}}
    )
    assert balancer.init_state(2) == {}
    with error_with(ValueError, "`preference`", "3 in all", "2 entries"):
        balancer.init_state(3)


@pytest.mark.parametrize("name", NAMES)
def test_equal_preferences_are_the_default(name):
    J, active = samplers.conflicting(4), [True, True, False, True]
    plain = mtl.balancers.get(name)
    equal = mtl.balancers.get({"class_name": name, "config": {"preference": [2] * 4}})
    np.testing.assert_allclose(
        samplers.weights(equal, J, active=active),
        samplers.weights(plain, J, active=active),
        rtol=1e-12,
    )


@pytest.mark.parametrize("name", NAMES)
def test_an_inactive_task_leaves_the_preferences_of_the_others(name):
    J, active = samplers.conflicting(3), np.array([True, False, True])
    both, two = (
        mtl.balancers.get({"class_name": name, "config": {"preference": p}})
        for p in ([1, 5, 3], [1, 3])
    )
    found = samplers.weights(both, J, active=active)
    assert found[1] == 0
    np.testing.assert_allclose(
        found[active], samplers.weights(two, J[active]), atol=1e-9
    )


@pytest.mark.parametrize("name", NAMES)
def test_preferred_tasks_are_all_inactive(name):
    balancer = mtl.balancers.get(
        {"class_name": name, "config": {"preference": [1, 0, 0]}}
    )
    found = samplers.weights(
        balancer, samplers.conflicting(3), active=[False, True, True]
    )
    # Then nothing is preferred: the others still train.
    equal = samplers.weights(
        mtl.balancers.get(name), samplers.conflicting(3), active=[False, True, True]
    )
    np.testing.assert_allclose(found, equal, atol=1e-12)
