"""Tasks that are switched off, or count for more or less, while a model trains."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from tests.asserts import error_with
from tests.training import problems


def fit(model, epochs=1):
    x, y = problems.data(missing=["price"])
    return model.fit(x, y, batch_size=16, epochs=epochs, shuffle=False, verbose=0)


def compiled(optimizer="sgd", strategy=None, **kwargs):
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        model = problems.model()
        keras.utils.set_random_seed(5)
        model.compile(optimizer() if callable(optimizer) else optimizer, **kwargs)
    return model


def remembered(model, layer):
    """The variables of a layer, and the optimizer's of them."""
    found = [*model.variables, *model.optimizer.variables]
    return {v.path: np.asarray(v) for v in found if layer in v.path}


OPTIMIZERS = {
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "weight_decay": lambda: keras.optimizers.AdamW(0.02, weight_decay=0.1),
    "loss_scaling": lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.Adam(0.02)
    ),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_a_task_does_not_share_rests_while_it_is_switched_off(
    optimizer, float64, two_replicas
):
    """Momentum and weight decay too, balancing or not, on one device and on two."""
    # Neutral steps first, and steps that reuse weights, which are traces of their own.
    long = optimizer == "momentum"
    results = []
    for strategy in (None, two_replicas):
        model = compiled(
            OPTIMIZERS[optimizer],
            strategy,
            run_eagerly=strategy is None,  # sooner done than traced
            balancer="pcgrad",
            balancing=mtl.BalancingOptions(every=2 if long else 1),
            loss_weighting="uncertainty",
        )
        model.set_task_priorities({"kind": 1.0 if long else 2.0})
        fit(model)
        log_variances = model._step.state.weighting_variables["log_variances"]
        resting = remembered(model, "sold_output")
        others = remembered(model, "kind_output")
        before = np.asarray(log_variances)
        assert len(resting) > 2
        model.set_task_priorities({"sold": 0.0})
        logs = fit(model).history
        for path, value in remembered(model, "sold_output").items():
            np.testing.assert_array_equal(value, resting[path], err_msg=path)
        for path, value in remembered(model, "kind_output").items():
            assert np.any(value != others[path]), path
        moved = np.asarray(log_variances) != before
        np.testing.assert_array_equal(moved, [True, True, False])
        assert np.isnan(logs["sold_loss"]).all()
        model.set_task_priorities({"sold": 1.0})
        logs = fit(model).history
        assert np.isfinite(logs["sold_loss"]).all()
        assert np.any(remembered(model, "sold")["sold_output/bias"])
        results.append(problems.weights(model))
    assert problems.largest_difference(*results) < 1e-12


def test_a_priority_multiplies_the_loss_weight(float64):
    """And the neutral one changes nothing, to the last digit."""
    reference = compiled("adam", loss_weights={"price": 1.0, "kind": 3.0})
    model = compiled("adam")
    model.set_task_priorities({"price": 0.5, "kind": 3.0})
    assert model.task_priorities == {"kind": 3.0, "price": 0.5, "sold": 1.0}
    for each in (reference, model):
        fit(each)
    difference = problems.largest_difference(
        problems.weights(reference), problems.weights(model)
    )
    assert difference < 1e-15
    logs = model.evaluate(*problems.data(), verbose=0, return_dict=True)
    total = logs["kind_loss"] + 2 * logs["price_loss"] + logs["sold_loss"]
    np.testing.assert_allclose(logs["loss"], total, rtol=1e-12)


class Counted(mtl.weightings.LossWeighting):
    """The sum of the losses; counts how often it is traced."""

    traced = 0

    def objective(self, losses, active, variables, state, seed):
        self.traced += 1
        return keras.ops.sum(losses), state


def test_priorities_are_read_only_once_they_are_used(tmp_path):
    """The neutral step does not know them; later changes do not trace again."""
    weighting = Counted()
    model = compiled(loss_weighting=weighting)
    step = tf.function(model._step.train, autograph=False)
    handle = model._step.state.priorities.value.handle

    def reads():
        graph = step.get_concrete_function(problems.data()).graph
        return any(handle is external for external, _ in graph.captures)

    assert not reads()
    weighting.traced = 0
    fit(model)
    model.set_task_priorities({"sold": 1.0})
    fit(model)
    assert weighting.traced == 1
    for priority in (0.0, 2.0, 1.0):
        model.set_task_priorities({"sold": priority})
        fit(model)
    assert weighting.traced == 2
    step = tf.function(model._step.train, autograph=False)
    assert reads()
    model.set_task_priorities({"kind": 0.0})
    model.save_weights(tmp_path / "state.weights.h5")
    other = compiled(loss_weighting=Counted())
    fit(other)
    other.load_weights(tmp_path / "state.weights.h5")
    assert other.task_priorities == {"kind": 0.0, "price": 1.0, "sold": 1.0}
    assert np.isnan(fit(other).history["kind_loss"]).all()


def test_errors():
    model = problems.model()
    with error_with(ValueError, "compile"):
        model.set_task_priorities({"kind": 1.0})
    model.compile("sgd")
    with error_with(ValueError, "`priorities`", "['kinds']"):
        model.set_task_priorities({"kinds": 1.0})
    with error_with(ValueError, "`priorities`", "-1"):
        model.set_task_priorities({"kind": -1.0})
    with error_with(ValueError, "at least one task", "'kind': 0"):
        model.set_task_priorities({"kind": 0, "price": 0, "sold": 0})
