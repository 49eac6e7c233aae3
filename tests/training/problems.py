"""Small multi-task problems that the tests of the step share."""

import keras
import numpy as np

import keras_mtl as mtl

TASKS = ("kind", "price", "sold")


def tasks(**changes):
    """A classification, a vector regression and a binary task."""
    return [
        mtl.Task("kind", mtl.heads.Classification(3), **changes.get("kind", {})),
        mtl.Task(
            "price",
            mtl.heads.Regression(2),
            loss_weight=2.0,
            **changes.get("price", {}),
        ),
        mtl.Task(
            "sold",
            mtl.heads.BinaryClassification(),
            metrics=["accuracy"],
            **changes.get("sold", {}),
        ),
    ]


def backbone(**kwargs):
    return mtl.backbones.MLP(
        input_shape=(6,), units=(8, 8), activation="tanh", **kwargs
    )


def model(names=TASKS, **changes):
    """A model of the named tasks with the same initial weights for each name."""
    keras.utils.set_random_seed(1)
    built = mtl.build_model(
        backbone(), [t for t in tasks(**changes) if t.name in names]
    )
    rng = np.random.default_rng(2)
    start = {}
    for name in ("mlp", *TASKS):
        start[name] = [rng.normal(size=64 * 8) for _ in range(4)]
    counters = dict.fromkeys(start, 0)
    for variable in built.trainable_variables:
        owner = next((n for n in TASKS if variable.path.startswith(n)), "mlp")
        values = start[owner][counters[owner]]
        counters[owner] += 1
        size = int(np.prod(variable.shape))
        variable.assign(0.5 * values[:size].reshape(variable.shape))
    return built


def data(rows=48, seed=3, missing=()):
    """Inputs and labels; a share of the labels of the `missing` tasks is left out."""
    rng = np.random.default_rng(seed)
    dtype = keras.config.floatx()
    x = rng.normal(size=(rows, 6)).astype(dtype)
    price = x[:, :2] - x[:, 2:4] + 0.1 * rng.normal(size=(rows, 2))
    y = {
        "kind": (x[:, 0] > 0).astype("int64") + (x[:, 1] > 0),
        "price": price.astype(dtype),
        "sold": (x[:, 0] + x[:, 4] < 0).astype(dtype),
    }
    for name in missing:
        gone = rng.random(rows) < 0.4
        y[name] = y[name].copy()
        y[name][gone] = -1 if name == "kind" else np.nan
    return x, y


def weights(model):
    """All variables of the model by path, as float64."""
    return {v.path: np.asarray(v, "float64") for v in model.variables}


def largest_difference(one, other):
    assert one.keys() == other.keys()
    return max(np.abs(one[k] - other[k]).max() for k in one)
