"""Models, inputs and checks for the tests of the export."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import keras_mtl as mtl

LABELS = ["zero", "a class whose name needs more than 22 bytes", "drei ß"]


def make_model():
    """Three tasks; only `order` reads `word`, only `sign` reads `code`."""
    image = keras.Input((4, 4, 1), name="image")
    word = keras.Input((1,), dtype="string", name="word")
    code = keras.Input((1,), dtype="int64", name="code")
    shared = layers.Dense(8, activation="relu", name="shared")(layers.Flatten()(image))
    lookup = layers.StringLookup(vocabulary=["seven", "Straße"])(word)
    words = layers.Flatten()(layers.Embedding(3, 4)(lookup))
    codes = layers.Flatten()(layers.Embedding(2, 4)(code))
    backbones = {
        "shape": keras.Model(image, shared),
        "order": keras.Model([image, word], layers.Concatenate()([shared, words])),
        "sign": keras.Model([image, code], layers.Concatenate()([shared, codes])),
    }
    names = ["none", "few", "some", "many"]
    tasks = [
        mtl.Task("shape", mtl.heads.Classification(3, label_names=LABELS)),
        mtl.Task("order", mtl.heads.Ordinal(4, label_names=names)),
        mtl.Task("sign", mtl.heads.BoundingBox(image_size=(4, 4))),
    ]
    return mtl.build_model(backbones, tasks)


def make_plain_model(function, head=None, name="size", **kwargs):
    """One task and one input without a name; `function` makes the feature."""
    inputs = keras.Input((5,), **kwargs)
    head = mtl.heads.Regression(2) if head is None else head
    backbone = keras.Model(inputs, function(inputs))
    return mtl.build_model(backbone, [mtl.Task(name, head)])


def inputs_of(rows, seed=1):
    generator = np.random.default_rng(seed)
    return {
        "image": generator.normal(size=(rows, 4, 4, 1)).astype("float32"),
        "word": generator.choice(["seven", "Straße", "other"], size=(rows, 1)),
        "code": generator.integers(2, size=(rows, 1)),
    }


def live(model, inputs):
    """What the live model serves; Keras wants strings as tensors."""
    tensors = {name: tf.constant(value) for name, value in inputs.items()}
    return model.predict_tasks(tensors, verbose=0)


def assert_served(served, expected):
    assert set(served) == set(expected)
    for name, array in served.items():
        if array.dtype.kind in "SU":
            texts = [t.decode() if isinstance(t, bytes) else t for t in array.tolist()]
            assert texts == expected[name].tolist()
        else:
            np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-5)
