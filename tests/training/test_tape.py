"""The tape that all tasks pass together: what one pass after the other gives."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_mtl as mtl
from tests.training import problems

NUM_TASKS = 5


def tasks(count=NUM_TASKS):
    return [mtl.Task(f"t{i}", mtl.heads.Regression(2)) for i in range(count)]


def labels(rows, count=NUM_TASKS):
    rng = np.random.default_rng(1)
    floatx = keras.config.floatx()
    return {f"t{i}": rng.normal(size=(rows, 2)).astype(floatx) for i in range(count)}


def numbers(rows, *shape):
    return np.random.default_rng(0).normal(size=(rows, *shape)).astype("float64")


def chain():
    """Dense layers in a row, one without a bias."""
    x = keras.Input((6,))
    y = layers.Dense(20, "relu")(x)
    y = layers.Dense(24, "tanh", use_bias=False)(y)
    return keras.Model(x, layers.Dense(16)(y)), numbers(24, 6), 3


def skip():
    """An output that two layers use, dropout, and statistics of the batch."""
    x = keras.Input((6,))
    first = layers.Dense(20, "tanh")(x)
    y = layers.BatchNormalization()(layers.Dropout(0.3, seed=1)(first))
    y = layers.Add()([first, layers.Dense(20, "tanh")(y)])
    return keras.Model(x, layers.Dense(16)(y)), numbers(24, 6), 3


def twice():
    """A layer that is called twice, and its kernel in another place as well."""
    x = keras.Input((20,))
    layer = layers.Dense(20, "tanh")
    y = Transposed(layer)(layer(layer(x)))
    return keras.Model(x, layers.Dense(16)(y)), numbers(24, 20), 2


def normalised_softmax():
    """An activation that mixes the units, and losses of a layer's outputs."""
    x = keras.Input((6,))
    y = layers.Dense(20, "softmax", activity_regularizer="l2")(x)
    y = layers.Dense(20, kernel_regularizer="l1", kernel_constraint="max_norm")(y)
    return keras.Model(x, y), numbers(24, 6), 2


def sequences():
    """Matrices and batches of them, and the layer inside of a loop."""
    x = keras.Input((3, 8))
    layer = layers.Dense(8, "tanh")
    y = layers.TimeDistributed(layer)(layer(x))
    y = layers.Concatenate()([layers.GlobalMaxPooling1D()(y), layer(x[:, 0])])
    return keras.Model(x, layers.Dense(16)(y)), numbers(24, 3, 8), 2


def nested():
    """A model in the model, with an embedding below and outputs of two kinds."""
    tokens = keras.Input((4,), dtype="int32")
    y = layers.Flatten()(layers.Embedding(30, 4)(tokens))
    inner = keras.Sequential([keras.Input((16,)), layers.Dense(20, "tanh")])
    y = layers.Dense(16, "tanh")(inner(y))
    rows = np.random.default_rng(0).integers(0, 30, (24, 4)).astype("int32")
    return keras.Model(tokens, y), rows, 2


@keras.saving.register_keras_serializable(package="tests")
class Transposed(layers.Layer):
    """Multiplies by the transposed kernel of another layer."""

    def __init__(self, other, **kwargs):
        super().__init__(**kwargs)
        self.other = other

    def call(self, inputs):
        return keras.ops.matmul(inputs, keras.ops.transpose(self.other.kernel))


BACKBONES = [chain, skip, twice, normalised_softmax, sequences, nested]


def train(make, engine, batch=8, balancer="cagrad", optimizer=None, **arguments):
    """Weights and logs after six steps; how many layers the tape is cut at."""
    keras.utils.set_random_seed(3)
    backbone, x, _ = make()
    balancing = arguments.pop("balancing", {})
    model = mtl.build_model(backbone, tasks())
    model.compile(
        optimizer or keras.optimizers.Adam(0.01),
        balancer=balancer,
        balancing=mtl.BalancingOptions(engine=engine, **balancing),
        **arguments,
    )
    data = tf.data.Dataset.from_tensor_slices((x, labels(len(x))))
    data = data.batch(batch, drop_remainder=arguments.pop("static", False))
    logs = model.fit(data, epochs=2, verbose=0).history
    weights = dict(enumerate(problems.weights(model).values()))  # Names differ.
    return weights, logs, len(model._step.cut)


def assert_same(make, tolerance=1e-12, **arguments):
    weights, logs, cut = train(make, "auto", **arguments)
    expected, expected_logs, uncut = train(make, "unrolled", **arguments)
    assert (cut, uncut) == (make()[2], 0)
    assert problems.largest_difference(weights, expected) < tolerance
    for key, values in expected_logs.items():
        np.testing.assert_allclose(logs[key], values, rtol=tolerance, err_msg=key)


@pytest.mark.parametrize("batch", [4, 24], ids=["few rows", "many rows"])
@pytest.mark.parametrize("make", BACKBONES)
def test_every_kind_of_model(make, batch, float64):
    """Four rows are cheaper by the factors, 24 by the kernels' gradients."""
    assert_same(make, batch=batch)


@pytest.mark.parametrize("balancer", ["pcgrad", "modo", "graddrop", "moco"])
def test_every_kind_of_balancer(balancer, float64):
    assert_same(chain, balancer=balancer)


@pytest.mark.parametrize(
    "balancing",
    [
        {"scope": "layers"},
        {"every": 2, "start_after": 1},
        {"head_gradients": "balanced"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options(balancing, float64):
    assert_same(chain, balancing=balancing)


@pytest.mark.parametrize("way", ["jit_compile", "run_eagerly"])
def test_compilers(way, float64):
    assert_same(chain, balancer="pcgrad", **{way: True})


def test_loss_scaling(float64):
    scaled = keras.optimizers.Adam(0.01, loss_scale_factor=256.0)
    weights, _, _ = train(chain, "auto", optimizer=scaled)
    expected, _, _ = train(chain, "unrolled")
    assert problems.largest_difference(weights, expected) < 1e-12


@pytest.mark.parametrize("batch", [4, 16])
@pytest.mark.parametrize("bad", ["inputs", "labels"])
def test_what_is_not_finite_stays_out(bad, batch, float64):
    """An input makes all tasks inactive, a label one."""

    def make():
        backbone, x, cut = chain()
        if bad == "inputs":
            x[3, 2] = np.inf
        return backbone, x, cut

    def spoilt(engine):
        keras.utils.set_random_seed(3)
        backbone, x, _ = make()
        y = labels(len(x))
        if bad == "labels":
            y["t1"][3, 0] = np.inf
        model = mtl.build_model(backbone, tasks())
        options = mtl.BalancingOptions(engine=engine)
        model.compile("adam", balancer="cagrad", balancing=options)
        model.fit(x, y, batch_size=batch, epochs=1, shuffle=False, verbose=0)
        weights = dict(enumerate(problems.weights(model).values()))
        return weights, model.balancing_state["nonfinite"]

    weights, counts = spoilt("auto")
    assert all(np.isfinite(w).all() for w in weights.values())
    np.testing.assert_array_equal(counts, [bad == "inputs", 1, *[bad == "inputs"] * 3])
    expected, _ = spoilt("unrolled")
    assert problems.largest_difference(weights, expected) < 1e-12


def products_of(batch, units, count):
    """Shapes of the matrix products in a traced step."""
    keras.utils.set_random_seed(0)
    x = keras.Input((units,), batch_size=batch)
    model = mtl.build_model(keras.Model(x, layers.Dense(units)(x)), tasks(count))
    model.compile("sgd", balancer="mgda")
    rows = np.zeros((batch or 8, units), "float32")
    data = tf.data.Dataset.from_tensors((rows, labels(len(rows), count)))
    step = tf.function(model.train_step, autograph=False)
    graph = step.get_concrete_function(next(iter(data))).graph
    return [
        tuple(op.outputs[0].shape)
        for op in graph.get_operations()
        if op.type == "MatMul"
    ]


@pytest.mark.parametrize(("batch", "units", "formed"), [(4, 32, 1), (64, 32, 6)])
def test_the_cheaper_way_is_taken(batch, units, formed):
    """With few rows one gradient of the kernel is formed, that of the update."""
    assert products_of(batch, units, 6).count((units, units)) == formed


def test_layers_are_as_they_were_after_an_error():
    class Failing(layers.Layer):
        def call(self, inputs, training=None):
            if training:
                raise RuntimeError("a layer of the user")
            return inputs

    x = keras.Input((6,))
    layer = layers.Dense(8)
    model = mtl.build_model(keras.Model(x, Failing()(layer(x))), tasks())
    model.compile("sgd", balancer="mgda")
    with pytest.raises(RuntimeError, match="a layer of the user"):
        model.train_on_batch(numbers(4, 6), labels(4))
    assert "call" not in vars(layer)
    assert model(numbers(4, 6))["t0"].shape == (4, 2)


def test_only_plain_dense_layers_are_cut():
    @keras.saving.register_keras_serializable(package="tests")
    class Scaled(layers.Dense):
        def call(self, inputs, training=None):
            return 2.0 * super().call(inputs)

    with_lora = layers.Dense(8)
    x = keras.Input((6,))
    y = layers.Dense(8, name="plain")(with_lora(Scaled(8)(x)))
    model = mtl.build_model(keras.Model(x, y), tasks())
    with_lora.enable_lora(2)
    model.compile("sgd", balancer="mgda")
    assert [layer.name for layer in model._step.cut] == ["plain"]
    model.train_on_batch(numbers(4, 6), labels(4))


def test_several_replicas_are_not_cut(two_replicas):
    with two_replicas.scope():
        model = problems.model()
        model.compile("sgd", balancer="mgda")
    assert model._step.cut == []
