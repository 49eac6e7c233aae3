"""The fused update takes the steps of Keras' own, with Keras' variables."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl.training.update import adjusted_update

OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(0.02),
    "betas": lambda: keras.optimizers.Adam(0.02, 0.5, 0.9, epsilon=1e-3),
    "adamw": lambda: keras.optimizers.AdamW(0.02, weight_decay=0.1),
    "clipped": lambda: keras.optimizers.Adam(0.02, global_clipnorm=0.1),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.02)),
    "schedule": lambda: keras.optimizers.Adam(
        keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    ),
}


def variables_after(make, fused, steps=20, sparse=False):
    """Variables and optimizer state after some steps, and the operations used."""
    rng = np.random.default_rng(0)
    dtype = keras.config.floatx()
    variables = [
        keras.Variable(rng.normal(size=shape).astype(dtype), name=f"v{len(shape)}")
        for shape in ((7, 3), (3,))
    ]
    optimizer = make()
    optimizer.build(variables)

    @tf.function(autograph=False)
    def step(gradients):
        if sparse:
            rows = tf.constant([1, 4, 5])
            gradients = [tf.IndexedSlices(gradients[0][:3], rows, (7, 3)), gradients[1]]
        if fused:
            with adjusted_update(optimizer, fused=True):
                optimizer.apply(gradients, variables)
        else:
            optimizer.apply(gradients, variables)

    gradients = [rng.normal(size=v.shape).astype(dtype) for v in variables]
    for _ in range(steps):
        step([tf.constant(g) for g in gradients])
        gradients = [g * rng.uniform(0.5, 1.5) for g in gradients]
    used = {
        op.type for op in step.get_concrete_function(gradients).graph.get_operations()
    }
    values = [np.asarray(v, "float64") for v in variables + optimizer.variables]
    return values, used


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_equals_keras(name, float64):
    expected, _ = variables_after(OPTIMIZERS[name], fused=False)
    found, used = variables_after(OPTIMIZERS[name], fused=True)
    if name != "scaled":  # There it is in a branch, a graph of its own.
        assert "ResourceApplyAdam" in used
    for value, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-10, atol=1e-12)


def test_in_float32_it_is_off_by_the_rounding_of_beta_2():
    (kernel, *_), _ = variables_after(OPTIMIZERS["adam"], fused=False)
    (fused, *_), _ = variables_after(OPTIMIZERS["adam"], fused=True)
    assert 0 < np.abs(kernel - fused).max() < 1e-5


class Halved(keras.optimizers.Adam):
    """An optimizer with an update of its own."""

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate / 2)


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.optimizers.Adam(0.02, amsgrad=True),
        lambda: keras.optimizers.SGD(0.02, momentum=0.9),
        lambda: Halved(0.02),
    ],
)
def test_other_optimizers_are_left_to_keras(make):
    expected, _ = variables_after(make, fused=False)
    found, used = variables_after(make, fused=True)
    assert "ResourceApplyAdam" not in used
    for value, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(value, wanted)


def test_sparse_gradients_are_left_to_keras(float64):
    expected, _ = variables_after(OPTIMIZERS["adam"], fused=False, sparse=True)
    found, used = variables_after(OPTIMIZERS["adam"], fused=True, sparse=True)
    assert "ResourceApplyAdam" in used  # of the other variable
    for value, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-10, atol=1e-12)


def test_the_optimizer_has_its_own_update_again():
    optimizer = keras.optimizers.Adam()
    with adjusted_update(optimizer, fused=True):
        assert "update_step" in vars(optimizer)
    assert "update_step" not in vars(optimizer)
