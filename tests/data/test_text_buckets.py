"""Batches of texts of similar length: all there, cut, resumable, less padding."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl.data import EpochOrder, epoch_batches
from keras_mtl.data.text import (
    bucket_boundaries,
    bucketed,
    cached_features,
    padding_waste,
    token_counts,
)
from tests import tiny_bert
from tests.asserts import error_with

ROWS, TOKENS = 50, 20
RANDOM = np.random.default_rng(0)
LENGTHS = np.minimum(2 + RANDOM.geometric(0.15, ROWS), TOKENS)
BOUNDARIES = (5, 9, 20)


def texts():
    """Token ids tell the row; tags are token ids turned round."""
    mask = (np.arange(TOKENS) < LENGTHS[:, None]).astype("int32")
    ids = (np.arange(ROWS)[:, None] + 1) * mask
    x = {"token_ids": ids, "padding_mask": mask, "age": np.ones((ROWS, 3))}
    return x, {"tags": -ids, "topic": np.arange(ROWS)}


@pytest.mark.parametrize("number", [0, 3])
def test_every_batch_is_of_one_group_and_all_rows_are_there(number):
    groups = np.searchsorted(BOUNDARIES, LENGTHS) * 7 - 3
    options = {"seed": 5, "epoch": number, "groups": groups}
    batches = [b.numpy() for b in epoch_batches(np.arange(ROWS), 8, **options)]
    assert sorted(np.concatenate(batches)) == list(range(ROWS))
    sizes = np.unique(groups, return_counts=True)[1]
    assert len(batches) == sum(-(-size // 8) for size in sizes)
    assert len(epoch_batches(np.arange(ROWS), 8, **options)) == len(batches)
    for batch in batches:
        assert len(set(groups[batch])) == 1
    of_group = [groups[batch[0]] for batch in batches]
    assert of_group != sorted(of_group)
    full = epoch_batches(np.arange(ROWS), 8, drop_remainder=True, **options)
    assert {len(batch) for batch in full} == {8}
    assert len(full) == sum(size // 8 for size in sizes)


def test_order_is_a_function_of_seed_and_epoch():
    def rows(seed, epoch):
        options = {"seed": seed, "epoch": epoch, "groups": LENGTHS > 8}
        return [
            b.numpy().tolist() for b in epoch_batches(np.arange(ROWS), 8, **options)
        ]

    assert rows(1, 2) == rows(1, 2)
    assert rows(1, 2) != rows(1, 3)
    assert rows(1, 2) != rows(2, 2)
    together = {tuple(sorted(batch)) for batch in rows(1, 2)}
    assert together != {tuple(sorted(batch)) for batch in rows(1, 3)}


def test_one_group_is_no_group():
    plain = {"seed": 1, "epoch": 0}
    whole = epoch_batches(np.arange(ROWS), 8, groups=np.zeros(ROWS), **plain)
    assert len(whole) == len(epoch_batches(np.arange(ROWS), 8, **plain))


def test_batches_are_cut_and_keep_their_rows():
    x, y = texts()
    shapes = set()
    for inputs, labels in bucketed((x, y), 8, boundaries=BOUNDARIES, tags=["tags"]):
        rows = labels["topic"].numpy()
        size = inputs["token_ids"].shape[1]
        shapes.add(size)
        assert LENGTHS[rows].max() <= size
        assert all(b >= size for b in BOUNDARIES if b >= LENGTHS[rows].max())
        for name in ("token_ids", "padding_mask"):
            np.testing.assert_array_equal(inputs[name], x[name][rows][:, :size])
        assert inputs["age"].shape == (len(rows), 3)
        np.testing.assert_array_equal(labels["tags"], y["tags"][rows][:, :size])
    assert shapes == set(BOUNDARIES)


def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path):
    x, y = texts()
    del x["age"]

    class Seen(keras.callbacks.Callback):
        def __init__(self):
            self.losses = []

        def on_train_batch_end(self, batch, logs=None):
            self.losses.append(logs["loss"])

    def model():
        keras.utils.set_random_seed(1)
        ids = keras.Input((None,), name="token_ids")
        mask = keras.Input((None,), name="padding_mask")
        total = keras.ops.sum(ids * mask, axis=1, keepdims=True) / 500.0
        out = keras.layers.Dense(1)(total)
        model = keras.Model({"token_ids": ids, "padding_mask": mask}, {"topic": out})
        model.compile("sgd", {"topic": "mse"})
        return model

    def fit(model, first, last):
        order, seen = EpochOrder(seed=4), Seen()
        data = bucketed((x, {"topic": y["topic"] / 50.0}), 8, order=order)
        options = {"verbose": 0, "shuffle": False, "initial_epoch": first}
        model.fit(data, epochs=last, callbacks=[order, seen], **options)
        return seen.losses

    whole = fit(model(), 0, 3)
    again = model()
    parts = fit(again, 0, 1) + fit(again, 1, 3)
    np.testing.assert_allclose(parts, whole, rtol=1e-6)


def test_boundaries_hold_about_as_many_texts():
    lengths = np.random.default_rng(1).integers(3, 100, 1000)
    found = bucket_boundaries(lengths, 4)
    assert found[-1] == lengths.max()
    assert all(boundary % 8 == 0 for boundary in found[:-1])
    counts = np.bincount(np.searchsorted(found, lengths))
    assert counts.min() > 150
    assert bucket_boundaries([7, 7, 7]) == (7,)


def test_waste_by_hand():
    lengths = [1, 2, 3, 4, 9, 10]
    found = padding_waste(lengths, 6, boundaries=(4, 10), sequence_length=12)
    assert found["fixed"] == pytest.approx(1 - 29 / 72)
    assert found["shuffled"] == pytest.approx(1 - 29 / 60)
    assert found["bucketed"] == pytest.approx(1 - 29 / (4 * 4 + 2 * 10))
    assert padding_waste([0, 0], 1)["shuffled"] == 0.0


def test_waste_is_what_the_batches_have():
    x, _ = texts()
    del x["age"]
    found = padding_waste(LENGTHS, 8, boundaries=BOUNDARIES)
    masks = [batch["padding_mask"] for batch in bucketed(x, 8, boundaries=BOUNDARIES)]
    size = sum(np.size(mask) for mask in masks)
    assert found["bucketed"] == pytest.approx(1 - LENGTHS.sum() / size)
    assert found["bucketed"] < found["shuffled"] < found["fixed"]


def test_errors():
    x, y = texts()
    with error_with(ValueError, "longest text", "20", "(5, 9)"):
        bucketed((x, y), 8, boundaries=(5, 9))
    with error_with(ValueError, "increase", "(20, 9)"):
        bucketed((x, y), 8, boundaries=(20, 9))
    with error_with(ValueError, "'padding_mask'", "['token_ids']"):
        bucketed({"token_ids": x["token_ids"]}, 8)
    with error_with(ValueError, "`groups`", "(50,)", "(3,)"):
        epoch_batches(np.arange(ROWS), 8, seed=0, epoch=0, groups=[1, 2, 3])


def test_lengths_of_masks_with_holes():
    assert token_counts([[1, 0, 1, 0], [0, 0, 0, 0]]).tolist() == [3, 0]


def test_cached_features_equal_prediction():
    backbone = mtl.backbones.Text(network=tiny_bert.network(), trainable_layers=0)
    x = tiny_bert.tokens(11, 16)
    names = ("pooled", "sequence")
    options = {"features": names, "batch_size": 4, "progress": False}
    found = cached_features(backbone, x, **options)
    expected = backbone.predict(x, verbose=0)
    np.testing.assert_allclose(found["pooled"], expected["pooled"], atol=1e-5)
    there = x["padding_mask"][..., None] != 0
    assert found["sequence"].shape == (11, 16, tiny_bert.WIDTH)
    sequence = np.where(there, expected["sequence"], 0.0)
    np.testing.assert_allclose(found["sequence"], sequence, atol=1e-5)
    half = cached_features(backbone, x, dtype="float16", progress=False)["pooled"]
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, found["pooled"], atol=2e-3)
    with error_with(ValueError, "['pooled', 'sequence']", "('map',)"):
        cached_features(backbone, x, features=("map",))
