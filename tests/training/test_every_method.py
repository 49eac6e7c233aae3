"""Every registered method in `fit`: two replicas give what one device gives."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from tests.training import test_replicas

COUNTS = {"kind": 30, "price": 12, "sold": 48}
# What some methods need to be told, or bring their numbers into a range where
# rounding does not grow (SDMGrad's own steps do not settle).
CONFIGS = {
    "dtp": {"metrics": dict.fromkeys(COUNTS, "kind_accuracy")},
    "data_based": {"counts": COUNTS},
    "sdmgrad": {"learning_rate": 0.2},
}
BALANCERS = mtl.balancers.registry.names()
WEIGHTINGS = mtl.weightings.registry.names()


def trained(strategy, kind, name):
    method = {"class_name": name, "config": CONFIGS.get(name, {})}
    return test_replicas.train(
        strategy,
        lambda: keras.optimizers.Adam(0.02),
        rows=27,
        epochs=2,
        validate=name == "validation_adaptive",
        **{kind: method},
    )


@pytest.mark.parametrize(
    ("kind", "name"),
    [("balancer", name) for name in BALANCERS]
    + [("loss_weighting", name) for name in WEIGHTINGS],
)
def test_two_replicas_equal_one(kind, name, float64, two_replicas):
    """Uneven batches, partial labels, sample weights, validation."""
    one = trained(tf.distribute.get_strategy(), kind, name)
    two = trained(two_replicas, kind, name)
    test_replicas.assert_same(one, two)
    logs = one[1]
    assert np.all(np.isfinite(logs["loss"]))
    state, other = (
        {**r[0]._step.state.balancer_state, **r[0]._step.state.weighting_state}
        for r in (one, two)
    )
    for key, value in state.items():
        np.testing.assert_allclose(
            np.asarray(value), np.asarray(other[key]), atol=1e-10, err_msg=key
        )
