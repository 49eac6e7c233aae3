"""Texts, words with tags and translations together, on one pretrained network."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from keras_mtl.data.text import TextPreprocessor
from tests import tiny_bert

TAGS = ["O", "B-pet", "I-pet"]
WORDS = [
    ["the", "red", "cat", "walks"],
    ["a", "dog"],
    ["playing", "in", "the", "walk", "!"],
    ["unplayed", "cats"],
    ["dogs", "walked"],
]
SLOTS = [[0, 1, 2, 0], [0, 1], [0, 0, 0, 0, 0], [0, 1], [1, 0]]
LENGTH = 5


def tasks():
    translation = mtl.heads.SequenceToSequence(
        9, LENGTH, hidden_units=(8,), num_heads=2, padding_mask="padding_mask"
    )
    return [
        mtl.Task("kind", mtl.heads.Classification(2)),
        mtl.Task(
            "slots",
            mtl.heads.CRFTagging(3, label_names=TAGS, bio=True),
            missing=-1,
        ),
        mtl.Task("german", translation, missing=-1),
    ]


def build():
    keras.utils.set_random_seed(0)
    network = tiny_bert.network(dropout=0.0, num_layers=1)
    return mtl.build_model(mtl.backbones.Text(network=network), tasks())


def data(tokens=12):
    preprocess = TextPreprocessor(tiny_bert.tokenizer(), tokens, word_mask=True)
    x, slots = preprocess.tagged(WORDS, SLOTS)
    german = np.random.default_rng(0).integers(3, 9, (len(WORDS), LENGTH))
    german[1, 2:] = german[3] = -1
    head = tasks()[2].head
    x = {**x, "german_tokens": head.decoder_tokens(german)}
    y = {"kind": [0, 1, 0, 1, 1], "slots": slots, "german": german}
    return tuple({k: np.asarray(v) for k, v in part.items()} for part in (x, y))


@pytest.fixture(scope="module")
def model():
    return build()


def test_padding_changes_no_output(model):
    (short, _), (long, _) = data(12), data(20)
    for raw in (model.predict, model.predict_tasks):
        one = keras.tree.flatten(_words(raw(short, verbose=0), 12))
        two = keras.tree.flatten(_words(raw(long, verbose=0), 12))
        for a, b in zip(one, two, strict=True):
            if a.dtype.kind in "OSU":
                np.testing.assert_array_equal(a, b)
            else:
                np.testing.assert_allclose(a, b, atol=1e-5)


def _words(outputs, length):
    """Outputs without the rows of tokens that a shorter batch does not have."""
    found = {name: value for name, value in outputs.items() if name != "slots"}
    slots = outputs["slots"]
    if isinstance(slots, dict):
        return {**found, "label": slots["label"][:, :length]}
    return {**found, "slots": slots[:, :length]}


def test_what_is_served_needs_no_words_of_the_translation(model):
    x, _ = data()
    served = model.predict_tasks({k: v for k, v in x.items() if "german" not in k})
    assert served["german"]["tokens"].shape == (len(WORDS), LENGTH)
    labels = served["slots"]["label"]
    assert {len(row) - list(row).count("") for row in labels} == {2, 4, 5}


def test_two_replicas_equal_one(two_replicas, float64):
    """Uneven batches, and a replica without a translation."""
    x, y = data()
    found = []
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        with strategy.scope():
            model = build()
            model.compile(keras.optimizers.SGD(0.05), balancer="pcgrad")
        history = model.fit(x, y, batch_size=3, shuffle=False, verbose=0).history
        found.append((model.get_weights(), history))
    (one, logs), (two, other) = found
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)
    for name, values in logs.items():
        np.testing.assert_allclose(values, other[name], rtol=1e-6, err_msg=name)
