"""`TaskTensorBoard` and the report on a model that really balances."""

import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from keras_mtl.analysis import read_run
from keras_mtl.callbacks import TaskTensorBoard
from keras_mtl.plots import tags


def rows(num_rows):
    x = np.random.default_rng(0).normal(size=(num_rows, 4)).astype("float32")
    value = x.sum(axis=1)
    value[::3] = np.nan
    return x, {"kind": x.argmax(axis=1).astype("int32"), "value": value}


def compiled(**options):
    tasks = [
        mtl.Task("kind", mtl.heads.Classification(4)),
        mtl.Task("value", mtl.heads.Regression()),
    ]
    model = mtl.build_model(mtl.backbones.MLP(input_shape=(4,)), tasks)
    model.compile("adam", **options)
    return model


@pytest.mark.parametrize("replicas", [1, 2])
def test_what_is_read_back_is_what_the_model_says(tmp_path, replicas, request):
    strategy = tf.distribute.get_strategy()
    if replicas == 2:
        strategy = request.getfixturevalue("two_replicas")
    with strategy.scope():
        model = compiled(loss_weighting="uncertainty", balancer="pcgrad")
    history = model.fit(
        *rows(40),
        batch_size=16,
        epochs=2,
        validation_data=rows(16),
        callbacks=[TaskTensorBoard(tmp_path, update_freq=2)],
        verbose=0,
    ).history
    run, state = read_run(tmp_path), model.balancing_state
    assert run.task_names == model.task_names
    for task, metrics in run.scalars.items():
        for metric, curve in metrics.items():
            log = history[f"{task}_{metric}"], history[f"val_{task}_{metric}"]
            np.testing.assert_allclose(list(curve.values()), log, rtol=1e-6)
    for kind, key in tags.PER_TASK.items():
        np.testing.assert_allclose(run.weights[kind][-1], state[key], rtol=1e-6)
    np.testing.assert_allclose(run.cosine[-1], state["cosine"], rtol=1e-5)
    np.testing.assert_allclose(run.conflict_rate[-1], state["conflict_rate"])


def test_without_balancer(tmp_path):
    callback = TaskTensorBoard(tmp_path)
    compiled().fit(*rows(16), epochs=1, callbacks=[callback], verbose=0)
    run = read_run(tmp_path)
    assert set(run.weights) == {"loss_weight", "nonfinite"}
    assert run.cosine is None


@pytest.mark.parametrize("collapsed", [False, True])
def test_gates(tmp_path, read_events, collapsed):
    tasks = [
        mtl.Task("kind", mtl.heads.Classification(4)),
        mtl.Task("value", mtl.heads.Regression()),
    ]
    mmoe = mtl.architectures.MMoE(3, units=(4,))
    net = mtl.backbones.MLP(input_shape=(4,), units=(5,))
    model = mtl.build_model(net, tasks, architecture=mmoe)
    if collapsed:
        # The features of ReLU are positive: all gates choose the last expert.
        for name in ("kind", "value"):
            kernel = np.tile([0.0, 0.0, 50.0], (5, 1))
            model.get_layer(f"{name}_pooled_gate").set_weights([kernel])
            model.get_layer(f"{name}_pooled_gate").trainable = False
    net.get_layer("dense_0").bias.assign(np.ones(5))
    model.compile("adam")
    x, y = rows(40)
    callback = TaskTensorBoard(tmp_path, gate_inputs=x[:16])
    model.fit(x, y, epochs=2, callbacks=[callback], verbose=0)
    events = read_events(tmp_path / "train")
    for gate, experts in mtl.architectures.gate_weights(model, x[:16]).items():
        for expert, weight in experts.items():
            values = events[f"gates/{gate}/{expert}"]
            assert sorted(values) == [0, 1]
            assert float(values[1]) == pytest.approx(weight, abs=1e-5)
    idle = [float(value) for value in events["gates/unused_experts"].values()]
    assert idle == ([2.0, 2.0] if collapsed else [0.0, 0.0])
    *_, encoded = events["gates/weights"][1]
    assert tf.io.decode_png(encoded).shape[2] == 3


def test_gates_of_a_model_without(tmp_path):
    x, y = rows(16)
    callback = TaskTensorBoard(tmp_path, gate_inputs=x)
    with pytest.raises(ValueError, match="mixture of experts"):
        compiled().fit(x, y, callbacks=[callback], verbose=0)
