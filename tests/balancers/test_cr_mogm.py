"""CR-MOGM: running means of the weights of any balancer."""

import json

import keras
import numpy as np
import pytest
from keras import ops

import keras_mtl as mtl
from tests.balancers import samplers


class MGDAOfTwo(mtl.balancers.Balancer):
    """The closed form for two tasks, which is quick."""

    def weights(self, gram, losses, active, state, seed):
        first = gram[1, 1] - gram[0, 1]
        first = ops.clip(first / (first + gram[0, 0] - gram[0, 1]), 0.0, 1.0)
        return ops.stack([first, 1.0 - first]), state


def make(inner, **config):
    return mtl.balancers.CRMOGM(inner, **config)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.9])
@pytest.mark.parametrize(
    "inner", ["mgda", "pcgrad", "gradnorm", "gradvac", "modo", "cr_mogm"]
)
def test_running_means_of_the_balancers_weights(inner, alpha):
    """Of the inner balancer run on its own, with its own state."""
    balancer, own = make(inner, alpha=alpha), mtl.balancers.get(inner)
    state = own_state = expected = None
    for seed in range(5):
        J = samplers.conflicting(3, seed=seed)
        found, state = samplers.step(balancer, J, seed=seed, state=state)
        new, own_state = samplers.step(own, J, seed=seed, state=own_state)
        expected = new if seed == 0 else alpha * expected + (1 - alpha) * new
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_by_hand():
    """MGDA's weights are (¾, ¼), then (¼, ¾); alpha ½ gives (½, ½)."""
    balancer = make("mgda", alpha=0.5)
    first, state = samplers.step(balancer, np.diag([1.0, 3**0.5]))
    second, _ = samplers.step(balancer, np.diag([3**0.5, 1.0]), state=state)
    np.testing.assert_allclose(first, [0.75, 0.25], atol=1e-6)
    np.testing.assert_allclose(second, [0.5, 0.5], atol=1e-6)


def test_the_mean_of_a_late_task_starts_with_its_first_weight():
    balancer, J = make("mgda", alpha=0.9), np.eye(2)
    _, state = samplers.step(balancer, J, active=[True, False])
    assert np.isnan(state["task_weights"][1])
    found, _ = samplers.step(balancer, J, state=state)
    np.testing.assert_allclose(found, [0.95, 0.5], atol=1e-9)


def test_smooth_weights_do_not_depend_on_the_noise_of_the_step():
    """The bias that MGDA has with noisy gradients, and that the averages remove.

    Two tasks with the same mean gradient `g`, and noise: MGDA favours the gradient
    that came out short, so that its mean update is shorter than `g`.
    """
    rng = np.random.default_rng(0)
    mean = np.array([1.0, 0.0, 0.0])
    own = samplers.compiled_step(MGDAOfTwo())
    smoothed = samplers.compiled_step(make(MGDAOfTwo(), alpha=0.98))
    state, lengths = None, []
    for _ in range(400):
        J = mean + rng.normal(size=(2, 3))
        weights, state = smoothed(J, state=state)
        lengths.append([(own(J)[0] @ J)[0], (weights @ J)[0]])
    plain, smooth = np.mean(lengths[50:], axis=0)
    assert plain < 0.8
    assert abs(smooth - 1.0) < 0.12


def test_batch_parts_are_those_of_the_balancer():
    assert make("mgda").batch_parts == 1
    assert make("modo").batch_parts == 2


def test_configuration_nests_the_balancer():
    balancer = make(
        {"class_name": "cr_mogm", "config": {"balancer": "sdmgrad", "alpha": 0.1}}
    )
    serialised = keras.saving.serialize_keras_object(balancer)
    copy = keras.saving.deserialize_keras_object(json.loads(json.dumps(serialised)))
    assert copy.get_config() == balancer.get_config()
    assert copy.alpha == 0.9
    assert copy.balancer.alpha == 0.1
    assert type(copy.balancer.balancer) is mtl.balancers.SDMGrad
    again = type(balancer).from_config(balancer.get_config())
    assert again.get_config() == balancer.get_config()


def test_an_instance_is_taken_as_it_is():
    inner = mtl.balancers.CAGrad(c=0.25)
    assert make(inner).balancer is inner
    assert set(make(inner).init_state(2)) == {"task_weights"}
    assert set(make("gradvac").init_state(2)) == {"task_weights", "GradVac_target"}
