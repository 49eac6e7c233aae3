"""Mixed precision and loss scaling: the same step, and state that keeps in step."""

import keras
import numpy as np
import pytest

from tests.training import problems


@pytest.fixture
def policy(request):
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"], indirect=True)
@pytest.mark.parametrize("balancer", [None, "pcgrad", "mgda", "cagrad"])
def test_training_learns_and_outputs_are_not_half(policy, balancer):
    model = problems.model()
    model.compile(
        keras.optimizers.Adam(0.02), balancer=balancer, loss_weighting="uncertainty"
    )
    scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (policy == "mixed_float16")
    x, y = problems.data()
    logs = model.fit(x, y, batch_size=16, epochs=12, verbose=0).history
    for task in problems.TASKS:
        assert logs[f"{task}_loss"][-1] < logs[f"{task}_loss"][0]
    assert model(x[:2])["price"].dtype == "float32"


@pytest.mark.parametrize("balancer", ["pcgrad", "mgda", "cagrad"])
@pytest.mark.parametrize("scaling", ["dynamic", "static"])
def test_loss_scaling_changes_nothing(balancer, scaling, float64):
    """The Gram matrix is that of the unscaled gradients."""

    def train(optimizer):
        model = problems.model()
        keras.utils.set_random_seed(4)
        model.compile(optimizer, balancer=balancer, loss_weighting="uncertainty")
        x, y = problems.data()
        model.fit(x, y, batch_size=16, epochs=3, shuffle=False, verbose=0)
        return problems.weights(model), model.balancing_state

    weights, state = train(keras.optimizers.Adam(0.01))
    if scaling == "dynamic":
        scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01))
    else:
        scaled = keras.optimizers.Adam(0.01, loss_scale_factor=512.0)
    scaled_weights, scaled_state = train(scaled)
    assert problems.largest_difference(weights, scaled_weights) < 1e-12
    for key, value in state.items():
        np.testing.assert_allclose(scaled_state[key], value, atol=1e-12, err_msg=key)


@pytest.mark.parametrize("balancer", [None, "pcgrad"])
def test_an_overflow_skips_the_step_for_the_methods_too(balancer):
    """Float16 overflows at first: only applied steps count, everything is finite."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = problems.model()
        optimizer = keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(0.01), initial_scale=2.0**22
        )
        model.compile(optimizer, balancer=balancer, loss_weighting="uncertainty")
        x, y = problems.data()
        model.fit(x, y, batch_size=16, epochs=4, shuffle=False, verbose=0)
    finally:
        keras.config.set_dtype_policy("float32")
    applied = int(model.optimizer.iterations.numpy())
    assert 0 < applied < 12
    state = model.balancing_state
    assert state["step"] == applied
    assert float(model.optimizer.dynamic_scale.numpy()) < 2.0**22
    assert not state["nonfinite"].any()
    assert all(np.isfinite(v).all() for v in problems.weights(model).values())
    assert np.isfinite(state["loss_weights"]).all()
