"""Balancing on features, in groups of layers, and with sparse gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from keras_mtl.balancers import Balancer
from tests.asserts import error_with
from tests.balancers import samplers
from tests.training import problems
from tests.training.test_step import one_step, task_gradients


class Recording(Balancer):
    """Task weights that tell the Gram matrix: one over each norm."""

    def weights(self, gram, losses, active, state, seed):
        norms = keras.ops.sqrt(keras.ops.diagonal(gram))
        return keras.ops.divide_no_nan(keras.ops.ones_like(norms), norms), state


def options(**kwargs):
    return mtl.BalancingOptions(**kwargs)


# === Features ===


def literal_feature_step(model, x, y, balancer):
    """The update by the paper: task gradients on the features, then the chain rule."""
    trunk = next(layer for layer in model.layers if layer.name == "mlp")
    with tf.GradientTape(persistent=True) as tape:
        features = trunk(x, training=True)["pooled"]
        losses = []
        for task in model.tasks:
            outputs = features
            for layer in model.layers:
                if layer.name.startswith(task.name):
                    outputs = layer(outputs)
            labels = task.head.prepare_labels(tf.convert_to_tensor(y[task.name]))
            losses.append(task.loss_weight * task.head.default_loss()(labels, outputs))
    Z = np.stack([tape.gradient(loss, features).numpy().ravel() for loss in losses])
    weights, _ = balancer.weights(
        keras.ops.array(Z @ Z.T),
        keras.ops.ones(len(Z)),
        np.ones(len(Z), bool),
        {},
        None,
    )
    weights = np.asarray(weights)
    seed = tf.constant((weights @ Z).reshape(features.shape))
    variables = trunk.trainable_variables
    found = tape.gradient(features, [v.value for v in variables], output_gradients=seed)
    return {v.path: g.numpy() for v, g in zip(variables, found, strict=True)}, Z


@pytest.mark.parametrize("balancer", [Recording(), mtl.balancers.MGDA()])
def test_feature_scope_is_the_chain_rule_from_the_features(balancer, float64):
    x, y = problems.data()
    model = problems.model()
    expected, Z = literal_feature_step(model, x, y, balancer)
    literal = task_gradients(model, x, y)
    found = one_step(
        model, x, y, balancer=balancer, balancing=options(scope="features")
    )
    for path, gradient in expected.items():
        np.testing.assert_allclose(found[path], gradient, atol=1e-12, err_msg=path)
    for gradients in literal:
        for path in set(gradients) - set(expected):
            np.testing.assert_allclose(found[path], gradients[path], atol=1e-12)
    np.testing.assert_allclose(
        model.balancing_state["gradient_norms"], np.linalg.norm(Z, axis=1)
    )


def live_operations(model, x, y):
    """Operations of one training step that its effects depend on."""

    @tf.function(autograph=False)
    def step(x, y):
        model._step.train((x, y))

    graph = step.get_concrete_function(x, y).graph
    stack = [*graph.control_outputs, *(t.op for t in graph.outputs)]
    seen = set()
    while stack:
        operation = stack.pop()
        if operation not in seen:
            seen.add(operation)
            stack += [t.op for t in operation.inputs] + operation.control_inputs
    return seen


def backward_passes(balancing):
    """How many gradients of the first kernel (6 × 8) one step computes."""
    model = problems.model()
    model.compile("sgd", balancer="mgda", balancing=balancing)
    return sum(
        op.type == "MatMul" and op.outputs[0].shape == (6, 8)
        for op in live_operations(model, *problems.data(16))
    )


def test_feature_scope_goes_backward_through_the_shared_part_once():
    assert backward_passes(options(scope="features")) == 1
    assert backward_passes(options()) == 3


@pytest.mark.parametrize("change", ["nan", "inf", "absent"])
def test_feature_scope_leaves_a_task_out_as_if_it_were_not_there(change, float64):
    x, y = problems.data(16)
    balancing = options(scope="features")
    expected = one_step(
        problems.model(("kind", "price")), x, y, balancer="mgda", balancing=balancing
    )
    y["sold"] = np.full_like(y["sold"], {"inf": np.inf}.get(change, np.nan))
    if change == "absent":
        del y["sold"]
    found = one_step(problems.model(), x, y, balancer="mgda", balancing=balancing)
    for path, gradient in expected.items():
        np.testing.assert_allclose(found[path], gradient, atol=1e-12, err_msg=path)


def test_regularisers_count_under_feature_scope(float64):
    def build():
        keras.utils.set_random_seed(0)
        inputs = keras.Input((6,))
        hidden = keras.layers.Dense(
            8, kernel_regularizer="l2", activation="tanh", name="hidden"
        )(inputs)
        return mtl.build_model(keras.Model(inputs, hidden), problems.tasks())

    x, y = problems.data()
    for scope in ("features", "parameters"):
        model = build()
        model.compile("sgd", balancer=Ones(), balancing=options(scope=scope))
        history = model.fit(x, y, shuffle=False, verbose=0).history
        found = (problems.weights(model), history["loss"])
        if scope == "features":
            expected = found
    assert problems.largest_difference(expected[0], found[0]) < 1e-12
    assert expected[1] == pytest.approx(found[1])


class Ones(Balancer):
    def weights(self, gram, losses, active, state, seed):
        return keras.ops.cast(active, gram.dtype), state


def two_feature_backbone():
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(8, name="low")(inputs)
    return keras.Model(
        inputs, {"pooled": hidden, "other": keras.layers.Dense(8, name="high")(hidden)}
    )


def test_features_that_not_all_tasks_share_are_an_error():
    tasks = [
        mtl.Task("a", mtl.heads.Regression()),
        mtl.Task("b", mtl.heads.Regression(), feature="other"),
    ]
    model = mtl.build_model(two_feature_backbone(), tasks)
    with error_with(ValueError, "scope='features'", "Task.feature", "['a', 'b']"):
        model.compile("sgd", balancer="mgda", balancing=options(scope="features"))
    model.compile("sgd", balancer="mgda")


def hand_built(kind):
    """Models whose tasks do not share one cut."""
    keras.utils.set_random_seed(0)
    x = keras.Input((6,))
    trunk = keras.layers.Dense(8, activation="tanh", name="trunk")(x)
    head = keras.layers.Dense(1, name="head_a")
    other = keras.layers.Dense(1, name="head_b")
    if kind == "cascade":  # The head of b sees what a says.
        a = head(trunk)
        b = other(keras.layers.Concatenate()([trunk, a]))
    elif kind == "one from another":
        second = keras.layers.Dense(8, name="second")(trunk)
        a = head(keras.layers.Concatenate()([trunk, second]))
        b = other(second)
    elif kind == "shared in the heads":
        tied = keras.layers.Dense(8, name="tied")
        a, b = head(tied(trunk)), other(tied(keras.layers.Rescaling(-1)(trunk)))
    else:  # A head sees the input, too.
        a = head(keras.layers.Concatenate()([trunk, x]))
        b = other(trunk)
    tasks = [mtl.Task(n, mtl.heads.Regression(), metrics=[]) for n in "ab"]
    return mtl.MultiTaskModel(x, {"a": a, "b": b}, tasks=tasks)


@pytest.mark.parametrize("kind", ["cascade", "one from another", "shared in the heads"])
def test_models_without_a_cut_are_an_error(kind):
    with error_with(ValueError, "scope='features'", "Received: features"):
        hand_built(kind).compile(
            "sgd", balancer="mgda", balancing=options(scope="features")
        )


def test_a_head_may_see_the_input_besides_the_features(float64):
    """With weights of 1 the update is that of the plain step."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16, 6))
    y = {name: rng.normal(size=(16, 1)) for name in "ab"}
    found = one_step(
        hand_built("input in a head"),
        *(x, y),
        balancer=Ones(),
        balancing=options(scope="features"),
    )
    expected = one_step(hand_built("input in a head"), x, y)
    assert problems.largest_difference(found, expected) < 1e-12


class Large(Balancer):
    """Task weights that float16 does not hold."""

    def weights(self, gram, losses, active, state, seed):
        return 1e6 * keras.ops.cast(active, gram.dtype), state


def test_task_weights_may_be_beyond_float16():
    """Features of a mixed precision model are float16."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = problems.model()
        model.compile(
            keras.optimizers.SGD(1e-2),
            balancer=Large(),
            balancing=options(scope="features"),
            loss_weights=dict.fromkeys(problems.TASKS, 1e-6),
        )
        before = problems.weights(model)
        model.fit(*problems.data(), epochs=2, verbose=0)
        after = problems.weights(model)
    finally:
        keras.config.set_dtype_policy("float32")
    assert all(np.all(np.isfinite(w)) for w in after.values())
    assert np.any(before["dense_0/kernel"] != after["dense_0/kernel"])


# === Tasks that do not reach everything that is shared ===


def partial_model():
    """Tasks a and b share a network, c has one of its own."""
    keras.utils.set_random_seed(0)
    shared = problems.backbone(name="shared")
    alone = mtl.backbones.MLP(input_shape=(6,), units=(8,), name="alone")
    tasks = [mtl.Task(n, mtl.heads.Regression(), metrics=[]) for n in "abc"]
    return mtl.build_model({"a": shared, "b": shared, "c": alone}, tasks)


@pytest.mark.parametrize("name", ["mgda", "cagrad", "upgrad", "krum", "pcgrad"])
@pytest.mark.parametrize("heads", ["task", "balanced"])
def test_a_task_that_shares_nothing_has_no_part_in_balancing(name, heads, float64):
    rng = np.random.default_rng(0)
    x = {"features": rng.normal(size=(16, 6))}
    y = {n: rng.normal(size=(16, 1)) for n in "abc"}
    model = partial_model()
    literal = task_gradients(model, x, y)
    balancing = options(head_gradients=heads)
    found = one_step(model, x, y, balancer=name, balancing=balancing)
    weights = model.balancing_state["task_weights"]
    assert weights[2] == 1
    shared = [path for path in literal[0] if path in literal[1]]
    J = np.stack([np.concatenate([g[p].ravel() for p in shared]) for g in literal[:2]])
    alone = samplers.weights(mtl.balancers.get(name), J)
    np.testing.assert_allclose(weights[:2], alone, rtol=1e-9)
    for path in literal[2]:
        np.testing.assert_allclose(found[path], literal[2][path], atol=1e-12)


def test_a_group_is_balanced_by_the_tasks_that_reach_it(float64):
    keras.utils.set_random_seed(0)
    x = keras.Input((6,))
    low = keras.layers.Dense(8, name="low")(x)
    high = keras.layers.Dense(8, name="high")(low)
    tasks = [mtl.Task(n, mtl.heads.Regression(), metrics=[]) for n in "abc"]
    heads = [keras.layers.Dense(1, name=f"head_{n}") for n in "abc"]
    outputs = {"a": heads[0](low), "b": heads[1](high), "c": heads[2](high)}
    model = mtl.MultiTaskModel(x, outputs, tasks=tasks)
    rng = np.random.default_rng(0)
    y = {n: rng.normal(size=(16, 1)) for n in "abc"}
    found = one_step(
        model,
        *(rng.normal(size=(16, 6)), y),
        balancer="mgda",
        balancing=options(scope="layers"),
    )
    assert np.abs(found["high/kernel"]).max() > 0
    weights = model.balancing_state["group_task_weights"][1]
    assert weights[0] == 1  # as it was
    assert weights[1:].sum() == pytest.approx(1)


# === Groups of layers ===


@pytest.mark.parametrize(
    "scope",
    ["layers", {"low": ["dense_0"], "high": ["dense_1"]}, {"low": ["dense_0"]}],
    ids=["layers", "two", "rest"],
)
def test_groups_have_task_weights_of_their_own(scope, float64):
    x, y = problems.data()
    model = problems.model()
    paths = [v.path for v in model.trainable_variables if v.path.startswith("dense")]
    layers = list(dict.fromkeys(p.split("/")[-2] for p in paths))
    literal = task_gradients(model, x, y)
    found = one_step(model, x, y, balancer=Recording(), balancing=options(scope=scope))
    weights = []
    for layer in layers:
        own = [p for p in paths if p.split("/")[-2] == layer]
        J = np.stack([np.concatenate([g[p].ravel() for p in own]) for g in literal])
        weights.append(1 / np.linalg.norm(J, axis=1))
        update = np.concatenate([found[p].ravel() for p in own])
        np.testing.assert_allclose(update, weights[-1] @ J, atol=1e-12)
    state = model.balancing_state
    np.testing.assert_allclose(state["group_task_weights"], weights)
    np.testing.assert_allclose(state["task_weights"], np.mean(weights, axis=0))


class Counting(Balancer):
    """Counts its calls in a state."""

    def init_state(self, num_tasks):
        return {"norms": np.zeros(num_tasks)}

    def weights(self, gram, losses, active, state, seed):
        norms = state["norms"] + keras.ops.cast(
            keras.ops.diagonal(gram), state["norms"].dtype
        )
        return keras.ops.cast(active, gram.dtype), {"norms": norms}


def test_groups_have_states_of_their_own():
    model = problems.model()
    model.compile("sgd", balancer=Counting(), balancing=options(scope="layers"))
    for _ in range(2):
        model.train_on_batch(*problems.data())
    norms = np.asarray(model._step.state.balancer_state["norms"])
    assert norms.shape == (2, 3)
    assert np.all(norms > 0)
    assert np.unique(norms).size == 6


@pytest.mark.parametrize(
    ("scope", "parts"),
    [
        ({"low": ["nothing"]}, ["`scope`", "['nothing']", "dense"]),
        ({"a": ["dense_0"], "b": ["dense_0"]}, ["two groups"]),
    ],
)
def test_wrong_groups_are_an_error_at_compile(scope, parts):
    model = problems.model()
    with error_with(ValueError, *parts):
        model.compile("sgd", balancer="mgda", balancing=options(scope=scope))


@pytest.mark.parametrize(
    "scope", ["layer", {}, {"a": []}, {"a": "dense"}, {"a": [1]}, 3]
)
def test_wrong_scopes_are_an_error_at_construction(scope):
    with error_with(ValueError, "`scope`", "Received"):
        options(scope=scope)


def test_groups_cannot_be_reused():
    with error_with(ValueError, "`every=1`", "every=3", "'layers'"):
        problems.model().compile(
            "sgd", balancer="mgda", balancing=options(scope="layers", every=3)
        )


# === Sparse gradients ===


def text_model(seed=0):
    """Two tasks on the mean of embeddings, each token of a batch several times."""
    keras.utils.set_random_seed(seed)
    tokens = keras.Input((5,), dtype="int32", name="tokens")
    embedded = keras.layers.Embedding(1000, 4, name="embedding")(tokens)
    hidden = keras.layers.Dense(4, activation="tanh", name="hidden")(embedded)
    pooled = keras.layers.GlobalAveragePooling1D()(hidden)
    tasks = [
        mtl.Task("a", mtl.heads.Regression()),
        mtl.Task("b", mtl.heads.Regression(2)),
    ]
    return mtl.build_model(keras.Model(tokens, pooled), tasks)


def text_data(rows=24):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 30, (rows, 5)).astype("int32")
    dtype = keras.config.floatx()
    return x, {
        "a": rng.normal(size=(rows, 1)).astype(dtype),
        "b": rng.normal(size=(rows, 2)).astype(dtype),
    }


def test_sparse_gradients_give_what_dense_ones_give(float64):
    """Under XLA they are dense."""
    x, y = text_data()
    found = one_step(text_model(), x, y, balancer=Recording())
    dense = one_step(text_model(), x, y, balancer=Recording(), jit_compile=True)
    assert np.abs(found["embedding/embeddings"]).max() > 0
    for path, gradient in dense.items():
        np.testing.assert_allclose(found[path], gradient, atol=1e-12, err_msg=path)


def test_sparse_gradients_are_not_made_dense():
    """No tensor of the size of the embedding, apart from the optimizer's."""
    model = text_model()
    model.compile("sgd", balancer="mgda")
    x, y = text_data()

    large = [
        op.type
        for op in live_operations(model, x, y)
        for output in op.outputs
        if output.shape.rank is not None and 1000 in output.shape.as_list()
    ]
    assert set(large) <= {"ReadVariableOp"}


def test_sparse_gradients_of_two_replicas_equal_those_of_one(float64, two_replicas):
    x, y = text_data(23)
    results = []
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        with strategy.scope():
            model = text_model()
            model.compile(keras.optimizers.Adam(0.05), balancer=Recording())
        model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
        results.append(problems.weights(model))
    assert problems.largest_difference(*results) < 1e-12


@pytest.mark.parametrize("num_tasks", [2, 9])
def test_a_variable_with_sparse_and_dense_gradients(num_tasks, float64):
    """The embedding is a task's output layer, too (and many tasks at once)."""
    keras.utils.set_random_seed(0)
    tokens = keras.Input((5,), dtype="int32")
    embedding = keras.layers.Embedding(50, 4, name="embedding")
    pooled = keras.layers.GlobalAveragePooling1D()(embedding(tokens))
    tied = embedding(keras.ops.zeros_like(tokens))
    backbone = keras.Model(
        tokens, {"pooled": keras.layers.Add()([pooled, tied[:, 0]]), "plain": pooled}
    )
    tasks = [
        mtl.Task(f"t{i}", mtl.heads.Regression(), feature="plain" if i else "pooled")
        for i in range(num_tasks)
    ]
    model = mtl.build_model(backbone, tasks)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 50, (16, 5)).astype("int32")
    y = {t.name: rng.normal(size=(16, 1)) for t in tasks}
    literal = task_gradients(model, x, y)
    path = "embedding/embeddings"
    J = np.stack([g[path].ravel() for g in literal])
    found = one_step(model, x, y, balancer=Recording())[path].ravel()
    np.testing.assert_allclose(found, (1 / np.linalg.norm(J, axis=1)) @ J, atol=1e-12)
