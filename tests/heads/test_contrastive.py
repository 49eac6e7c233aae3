"""Pairs of embeddings: losses without labels, examples that are left out."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_mtl as mtl
from tests.asserts import error_with
from tests.heads.samples import info_nce, recall_at_1, unit

ROWS = 8


def build(more_tasks=(), **kwargs):
    keras.utils.set_random_seed(0)
    sides = {key: keras.Input((4,), name=key) for key in ("question", "answer")}
    encoder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5)])
    names = {"question": "pooled", "answer": "other"}
    features = {names[key]: encoder(side) for key, side in sides.items()}
    head = mtl.heads.ContrastiveEmbedding(3, **kwargs)
    tasks = [mtl.Task("match", head), *more_tasks]
    model = mtl.build_model(keras.Model(sides, features), tasks)
    model.compile(keras.optimizers.Adam(0.05), run_eagerly=True)
    return model


def inputs():
    rng = np.random.default_rng(2)
    question = rng.normal(size=(ROWS, 4)).astype("float32")
    return {"question": question, "answer": question[:, ::-1] + 1}


@pytest.fixture(scope="module")
def model():
    return build()


def raw_of(model, x):
    return model.predict(x, verbose=0)["match"].astype("float64")


def test_without_labels(model):
    """Every example is its own; the cosine is served beside both embeddings."""
    raw = raw_of(model, inputs())
    logs = model.evaluate(inputs(), verbose=0, return_dict=True)
    own = np.arange(ROWS)
    assert logs["match_loss"] == pytest.approx(info_nce(own, raw), rel=1e-4)
    assert logs["match_recall_at_1"] == pytest.approx(recall_at_1(own, unit(raw)))
    np.testing.assert_allclose(np.square(raw).sum(axis=-1), 1 / 0.07, rtol=1e-5)


@pytest.mark.parametrize("how", ["mask", "missing"])
def test_an_example_that_is_left_out_is_nobodys_negative(how):
    model = build()
    there = np.arange(ROWS) % 3 != 0
    labels = {"match": np.arange(ROWS), "match_mask": there}
    if how == "missing":
        labels = {"match": np.where(there, np.arange(ROWS), np.nan)}
    raw = raw_of(model, inputs())[there]
    own = np.arange(len(raw))
    logs = model.evaluate(inputs(), labels, verbose=0, return_dict=True)
    assert logs["match_loss"] == pytest.approx(info_nce(own, raw), rel=1e-4)
    assert logs["match_recall_at_1"] == pytest.approx(recall_at_1(own, unit(raw)))


def test_a_mask_alone_is_enough():
    model = build()
    there = np.arange(ROWS) < 5
    raw = raw_of(model, inputs())[there]
    logs = model.evaluate(inputs(), {"match_mask": there}, verbose=0, return_dict=True)
    assert logs["match_loss"] == pytest.approx(info_nce(np.arange(5), raw), rel=1e-4)


def test_it_learns_beside_a_task_with_labels():
    kind = mtl.Task("kind", mtl.heads.Classification(2))
    model = build([kind], share_projection=True, learn_temperature=True)
    x, y = inputs(), {"kind": np.arange(ROWS) % 2}
    start = model.evaluate(x, y, verbose=0, return_dict=True)
    model.compile(keras.optimizers.Adam(0.05), balancer="pcgrad", run_eagerly=True)
    for _ in range(12):
        model.train_on_batch(x, y)
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    assert logs["match_loss"] < 0.7 * start["match_loss"]
    assert logs["match_recall_at_1"] > start["match_recall_at_1"]
    scale = model.get_layer("match_pair").log_scale
    assert float(scale) != pytest.approx(-np.log(0.07), abs=1e-4)
    other = build([kind], share_projection=True, learn_temperature=True)
    assert len(other.get_layer("match_projection").trainable_variables) == 2


def test_the_temperature_stays_above_a_hundredth():
    layer = mtl.layers.EmbeddingPair(learn_temperature=True)
    pair = [ops.ones((1, 2)), ops.ones((1, 2))]
    layer(pair)
    layer.log_scale.assign(10.0)
    assert float(ops.sum(layer(pair)[0, 0] * layer(pair)[0, 1])) == pytest.approx(100.0)


def test_vectors_of_no_length():
    pair = mtl.layers.EmbeddingPair()([ops.zeros((2, 3)), ops.zeros((2, 3))])
    loss = mtl.heads.InfoNCE()
    assert float(loss(np.arange(2.0), pair)) == pytest.approx(np.log(2.0))


def test_one_example_has_no_negatives():
    pair = mtl.layers.EmbeddingPair()([ops.ones((1, 3)), ops.ones((1, 3))])
    assert float(mtl.heads.InfoNCE()(np.zeros(1), pair)) == pytest.approx(0.0, abs=1e-5)


def test_a_second_feature_that_is_not_there():
    net = mtl.backbones.MLP(input_shape=(4,))
    with error_with(ValueError, "Task 'match'", "'other'", "features ['pooled']"):
        mtl.build_model(net, [mtl.Task("match", mtl.heads.ContrastiveEmbedding(3))])


def test_modalities_are_aligned_where_both_are_there():
    """Each embedding depends on its own modality only."""
    encoders = {
        "photo": mtl.backbones.ConvNet(input_shape=(8, 8, 1), filters=(2,)),
        "facts": mtl.backbones.MLP(input_shape=(4,), units=(3,)),
    }
    net = mtl.backbones.Fusion(encoders, missing="zeros", units=4)
    head = mtl.heads.ContrastiveEmbedding(3, other_feature="facts")
    tasks = [
        mtl.Task("match", head, feature="photo"),
        mtl.Task("kind", mtl.heads.Classification(2)),
    ]
    model = mtl.build_model(net, tasks)
    model.compile("sgd", run_eagerly=True)
    rng = np.random.default_rng(0)
    there = np.arange(ROWS) < 6
    x = {
        "image": rng.normal(size=(ROWS, 8, 8, 1)).astype("float32"),
        "features": rng.normal(size=(ROWS, 4)).astype("float32"),
        "photo_present": np.ones(ROWS, bool),
        "facts_present": there,
    }
    raw = raw_of(model, x)
    y = {"match_mask": there, "kind": np.arange(ROWS) % 2}
    logs = model.test_on_batch(x, y, return_dict=True)
    expected = info_nce(np.arange(6), raw[there])
    assert logs["match_loss"] == pytest.approx(expected, rel=1e-4)
    before = model.predict_tasks(x, verbose=0)["match"]
    x["features"] = x["features"] + 1
    after = model.predict_tasks(x, verbose=0)["match"]
    np.testing.assert_allclose(before["embedding"], after["embedding"], atol=1e-6)
    assert np.abs(before["other_embedding"] - after["other_embedding"]).max() > 1e-3


# === Recall ===


@pytest.mark.parametrize("k", [1, 2, 5])
def test_recall_in_the_batch_is_that_of_a_search(k):
    rng = np.random.default_rng(0)
    pairs = unit(rng.normal(size=(20, 2, 3)))
    labels = rng.integers(0, 12, 20)
    weights = np.ones(20)
    weights[[3, 7]] = 0.0
    metric = mtl.heads.RecallAtK(k)
    metric.update_state(labels, pairs.astype("float32"), sample_weight=weights)
    rows = weights > 0
    near = (pairs[:, 0] @ pairs[:, 1].T)[rows][:, rows]
    ranked = labels[rows][np.argsort(-near, axis=1)]
    # Right items do not push each other down the list.
    hits = []
    for label, row in zip(labels[rows], ranked, strict=True):
        hits.append(list(row).index(label) < k)
    expected = np.mean(hits)
    assert float(metric.result()) == pytest.approx(expected)
    found = mtl.analysis.retrieval_recall(
        pairs[rows, 0], pairs[rows, 1], labels[rows], labels[rows], ks=(k,)
    )
    assert found == {f"recall_at_{k}": pytest.approx(expected)}
    assert metric.name == f"recall_at_{k}"
    assert mtl.heads.RecallAtK.from_config(metric.get_config()).k == k


def test_equal_embeddings_are_no_success():
    pairs = np.ones((4, 2, 3), "float32")
    metric = mtl.heads.RecallAtK(2)
    metric.update_state(np.arange(4), pairs)
    assert float(metric.result()) == 0.0
    found = mtl.analysis.retrieval_recall(pairs[:, 0], pairs[:, 1], ks=(2, 4))
    assert found == {"recall_at_2": 0.0, "recall_at_4": 1.0}


def test_a_query_without_a_right_item_is_a_failure():
    found = mtl.analysis.retrieval_recall(np.eye(2), np.eye(2), [0, 7], [0, 1])
    assert found == {"recall_at_1": 0.5, "recall_at_5": 0.5}


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ((np.ones((2, 3)), np.ones((2, 4))), "of one width"),
        ((np.ones((2, 3)), np.ones((2, 3)), [0, 1]), "together"),
        ((np.ones((2, 3)), np.ones((2, 3)), [0], [0, 1]), "a label for each"),
    ],
)
def test_errors_of_the_search(arguments, part):
    with error_with(ValueError, part, "Received: "):
        mtl.analysis.retrieval_recall(*arguments)
