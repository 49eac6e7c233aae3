"""A model on a text backbone is served by token ids, or by strings."""

import keras_hub
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl.export import (
    export_saved_model,
    predict_saved_model,
    verify_saved_model,
    with_strings,
)
from tests import tiny_bert
from tests.asserts import error_with

TEXTS = ["the cat walked", "Á dog!", "", "zebras, red cats and walkers play"]


@pytest.fixture(scope="module")
def preprocess():
    tokenizer = keras_hub.models.BertTokenizer(
        tiny_bert.VOCABULARY, lowercase=True, strip_accents=True
    )
    return mtl.data.text.TextPreprocessor(tokenizer, 9)


@pytest.fixture(scope="module")
def model():
    backbone = mtl.backbones.Text(network=tiny_bert.network(num_layers=1))
    return mtl.build_model(backbone, [mtl.Task("topic", mtl.heads.Classification(3))])


def tokens(preprocess):
    return {name: values.numpy() for name, values in preprocess(TEXTS).items()}


def test_token_ids_are_served(model, preprocess, tmp_path):
    x = tokens(preprocess)
    export_saved_model(model, tmp_path, sample=x)
    # In another process, without TensorFlow Text; of another length than the sample.
    longer = {name: np.pad(values, ((0, 0), (0, 5))) for name, values in x.items()}
    served = predict_saved_model(tmp_path, longer)
    expected = model.predict_tasks(x, verbose=0)["topic"]["probabilities"]
    np.testing.assert_allclose(served["topic_probabilities"], expected, atol=1e-5)


def test_strings_are_served(model, preprocess, tmp_path):
    on_strings = with_strings(model, preprocess)
    export_saved_model(on_strings, tmp_path, sample={"text": np.array(TEXTS)})
    assert verify_saved_model(tmp_path).ok
    served = predict_saved_model(tmp_path, {"text": TEXTS[::-1]})
    expected = model.predict_tasks(tokens(preprocess), verbose=0)["topic"]
    np.testing.assert_allclose(
        served["topic_probabilities"][::-1], expected["probabilities"], atol=1e-5
    )


def test_what_cannot_take_strings(model, preprocess):
    def with_tokenizer(tokenizer):
        return type("Preprocessor", (), {"tokenizer": tokenizer})

    other = keras_hub.tokenizers.ByteTokenizer()
    with error_with(TypeError, "word pieces", "token ids"):
        with_strings(model, with_tokenizer(other))
    special = keras_hub.models.BertTokenizer(
        tiny_bert.VOCABULARY, special_tokens_in_strings=True
    )
    with error_with(TypeError, "special tokens"):
        with_strings(model, with_tokenizer(special))
    plain = mtl.build_model(mtl.backbones.MLP(input_shape=(3,)), model.tasks)
    with error_with(ValueError, "'token_ids'"):
        with_strings(plain, preprocess)
