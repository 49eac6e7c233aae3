"""A model on a text backbone is served by token ids, in plain TensorFlow."""

import numpy as np

import keras_mtl as mtl
from keras_mtl.export import (
    export_saved_model,
    predict_saved_model,
    verify_saved_model,
)
from tests import tiny_bert


def test_text_model_is_served_by_token_ids(tmp_path):
    backbone = mtl.backbones.Text(network=tiny_bert.network(num_layers=1))
    tasks = [
        mtl.Task("topic", mtl.heads.Classification(3)),
        mtl.Task("stars", mtl.heads.Regression()),
    ]
    model = mtl.build_model(backbone, tasks)
    preprocess = mtl.data.text.TextPreprocessor(
        tiny_bert.tokenizer(), 9, backbone=backbone
    )
    x = {k: v.numpy() for k, v in preprocess(["the cat walked", "a dog!"]).items()}
    export_saved_model(model, tmp_path, sample=x)
    report = verify_saved_model(tmp_path)
    assert report.ok, report
    # Another length than that of the sample, in the other process.
    longer = {k: np.pad(v, ((0, 0), (0, 5))) for k, v in x.items()}
    served = predict_saved_model(tmp_path, longer)
    expected = model.predict_tasks(x, verbose=0)["topic"]["probabilities"]
    np.testing.assert_allclose(served["topic_probabilities"], expected, atol=1e-5)
