"""Every registered method in `fit`, on replicas and with a task without labels."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from tests.training import problems, test_replicas

COUNTS = {"kind": 30, "price": 12, "sold": 48}
# What some methods need to be told, or bring their numbers into a range where
# rounding does not grow (SDMGrad's own steps do not settle).
CONFIGS = {
    "dtp": {"metrics": dict.fromkeys(COUNTS, "kind_accuracy")},
    "data_based": {"counts": COUNTS},
    "sdmgrad": {"learning_rate": 0.2},
}
# Two tasks are too few for the default, which with two active ones drops none.
OF_TWO_TASKS = {"trimmed_mean": {"trim_number": 0}}
METHODS = [("balancer", name) for name in mtl.balancers.registry.names()]
METHODS += [("loss_weighting", name) for name in mtl.weightings.registry.names()]


@pytest.mark.parametrize(("kind", "name"), METHODS)
def test_two_replicas_equal_one(kind, name, float64, two_replicas):
    """Uneven batches, partial labels, sample weights, validation."""
    one, two = test_replicas.both(
        two_replicas,
        lambda: keras.optimizers.Adam(0.02),
        rows=27,
        validate=name == "validation_adaptive",
        **{kind: {"class_name": name, "config": CONFIGS.get(name, {})}},
    )
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


@pytest.mark.parametrize(("kind", "name"), METHODS)
def test_a_task_without_any_label_is_as_if_it_were_not_there(kind, name, float64):
    """The other variables are those of the run without it; also if switched off."""

    def train(names, labels=None, off=()):
        config = {
            key: {n: v for n, v in value.items() if n in names}
            if isinstance(value, dict)
            else value
            for key, value in CONFIGS.get(name, {}).items()
        }
        if len(names) == 2:
            config |= OF_TWO_TASKS.get(name, {})
        x, y = problems.data()
        y = {n: v for n, v in y.items() if n in names} | (labels or {})
        model = problems.model(names)
        start = problems.weights(model)
        keras.utils.set_random_seed(5)
        method = {"class_name": name, "config": config}
        # Three epochs of one batch: eager steps take less time than tracing.
        model.compile(keras.optimizers.Adam(0.02), run_eagerly=True, **{kind: method})
        model.set_task_priorities(dict.fromkeys(off, 0.0))
        validation = (x, y) if name == "validation_adaptive" else None
        model.fit(
            x,
            y,
            batch_size=48,
            epochs=3,
            shuffle=False,
            verbose=0,
            validation_data=validation,
        )
        return start, problems.weights(model)

    _, expected = train(("kind", "price"))
    runs = {
        "no label": train(problems.TASKS, {"sold": np.full(48, np.nan)}),
        "switched off": train(problems.TASKS, off=["sold"]),
    }
    for how, (start, found) in runs.items():
        for path, value in found.items():
            wanted = expected.get(path, start[path])
            message = f"{how}: {path}"
            np.testing.assert_allclose(value, wanted, atol=1e-11, err_msg=message)
