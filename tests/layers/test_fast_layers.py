"""The faster layers give what Keras' own give."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import layers
from tests.layers.fast_cases import CASES, MAIN, Case, inputs, outcome, pair


def assert_same(ours, stock, tolerance=1e-5):
    assert ours.keys() == stock.keys()
    for key in ours:
        for a, b in zip(ours[key], stock[key], strict=True):
            assert (a is None) == (b is None)
            if a is None:
                continue
            assert a.dtype == b.dtype
            a, b = (np.asarray(tf.cast(t, "float64")) for t in (a, b))
            scale = max(1.0, np.abs(b).max())
            np.testing.assert_allclose(a / scale, b / scale, 0, tolerance, err_msg=key)


@pytest.mark.parametrize("name", CASES)
def test_equals_stock(name):
    case = CASES[name]
    ours, stock = pair(case, "float32")
    assert (type(ours).falls_back(ours) is not None) == case.falls_back
    for training in (True, False):
        tensors = inputs(case, "float32")
        found = [outcome(layer, case, tensors, training) for layer in (ours, stock)]
        assert_same(*found)


@pytest.mark.parametrize("name", MAIN)
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [("float64", 1e-12), ("mixed_bfloat16", 2e-2), ("mixed_float16", 2e-3)],
)
def test_other_precisions(name, dtype, tolerance):
    case = MAIN[name]
    tensors = inputs(case, "float64" if dtype == "float64" else "float32")
    found = [outcome(layer, case, tensors) for layer in pair(case, dtype)]
    assert_same(*found, tolerance)


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "XLA"])
@pytest.mark.parametrize("name", MAIN)
def test_in_a_graph_of_any_batch(name, jit):
    case = MAIN[name]
    found = []
    for layer in pair(case, "float32"):
        tensors = inputs(case, "float32")
        signature = [tf.TensorSpec([None, *t.shape[1:]], t.dtype) for t in tensors]

        def run(*given, layer=layer):
            return outcome(layer, case, list(given))

        compiled = tf.function(run, signature, autograph=False, jit_compile=jit)
        found.append(compiled(*tensors))
        # XLA takes no dynamic batch, and so its spec has none.
        outputs = compiled.get_concrete_function().structured_outputs["outputs"]
        assert outputs[0].shape[1:] == found[-1]["outputs"][0].shape[1:]
    assert_same(*found)


def _passes(layer, case, tensors):
    """Two backward passes of one tape, and the gradient of their gradients."""
    arguments = {"training": True} if case.kind == "BatchNormalization" else {}
    with tf.GradientTape() as outer:
        outer.watch(tensors)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(tensors)
            outputs = layer(*tensors, **arguments)
            totals = [
                tf.reduce_sum(f(outputs) * tf.cos(outputs[:1]))
                for f in (tf.sin, tf.square)
            ]
        first = [g for t in totals for g in tape.gradient(t, tensors)]
        penalty = tf.add_n([tf.reduce_sum(g**2) for g in first])
    return {"first": first, "second": outer.gradient(penalty, tensors)}


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("name", MAIN)
def test_several_passes_and_second_order(name, graph):
    case = MAIN[name]
    # In double precision the fused normalisation would fall back.
    dtype, tolerance = ("float32", 1e-5) if name == "norm" else ("float64", 1e-9)
    tensors = inputs(case, dtype)
    found = []
    for layer in pair(case, dtype):

        def run(layer=layer):
            return _passes(layer, case, tensors)

        found.append((tf.function(run, autograph=False) if graph else run)())
    assert_same(*found, tolerance)


def test_frozen_norm_is_inference():
    case = MAIN["norm"]
    ours, stock = pair(case, "float32")
    ours.trainable = stock.trainable = False
    before = [v.numpy() for v in ours.weights]
    tensors = inputs(case, "float32")
    assert_same(*[outcome(layer, case, tensors) for layer in (ours, stock)])
    for variable, value in zip(ours.weights, before, strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize("synchronized", [False, True])
def test_replicas(two_replicas, synchronized):
    case = Case("BatchNormalization", (4, 3, 5, 6), {"synchronized": synchronized})
    tensors = [inputs(Case(case.kind, (2, 3, 5, 6)), "float32")[0] * f for f in (1, 3)]
    with two_replicas.scope():
        both = pair(case, "float32")
    found = []
    for layer in both:
        values = two_replicas.experimental_distribute_values_from_function(
            lambda context: tensors[context.replica_id_in_sync_group]
        )

        @tf.function(autograph=False)
        def run(values, layer=layer):
            call = two_replicas.run(lambda x: layer(x, training=True), (values,))
            return two_replicas.experimental_local_results(call)

        outputs = run(values)
        moved = [v.value for v in layer.non_trainable_variables]
        updated = [tf.convert_to_tensor(v) for v in moved]
        found.append({"outputs": outputs, "updated": updated})
    assert_same(*found)


def test_padding_reaches_attention():
    """Keras' masks come with the tensors, and go on with the outputs."""
    tokens = tf.constant([[1, 2, 0], [3, 0, 0]])
    found = []
    for module in (layers, keras.layers):
        keras.utils.set_random_seed(5)
        x = keras.layers.Embedding(4, 6, mask_zero=True)(tokens)
        y = module.LayerNormalization()(x)
        outputs = module.MultiHeadAttention(2, 4)(y, y)
        masks = [keras.src.backend.get_keras_mask(t) for t in (y, outputs)]
        found.append({"outputs": [outputs], "masks": masks})
    assert_same(*found)


def _model(module):
    x = keras.Input((4, 6))
    y = module.MultiHeadAttention(2, 4, name="attention")(x, x)
    y = module.LayerNormalization(name="layer_norm")(y)
    y = module.EinsumDense("abc,cd->abd", (None, 5), bias_axes="d", name="dense")(y)
    return keras.Model(x, module.BatchNormalization(name="norm")(y))


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_files_go_both_ways(tmp_path, suffix):
    ours, stock = _model(layers), _model(keras.layers)
    assert [v.path for v in ours.weights] == [v.path for v in stock.weights]
    x = tf.random.normal((3, 4, 6))
    for source, target in ((ours, stock), (stock, ours)):
        for variable in source.weights:
            variable.assign(tf.random.uniform(variable.shape))
        path = tmp_path / f"model{suffix}"
        source.save(path) if suffix == ".keras" else source.save_weights(path)
        target.load_weights(path)
        np.testing.assert_allclose(target(x), source(x), atol=1e-5)
    ours.save(tmp_path / "ours.keras")
    loaded = keras.saving.load_model(tmp_path / "ours.keras")
    assert [type(a) for a in loaded.layers] == [type(a) for a in ours.layers]
    np.testing.assert_allclose(loaded(x), ours(x), atol=1e-6)


def test_configuration_is_that_of_stock():
    for name, case in MAIN.items():
        ours, stock = (layer.get_config() for layer in pair(case, "float32"))
        assert ours.pop("name") and stock.pop("name"), name
        assert ours == stock
