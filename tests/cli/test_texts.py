"""Texts and tagged words in a configuration file, on files of one's own."""

import json

import numpy as np
import pytest
import yaml

from keras_mtl.cli import parts
from keras_mtl.cli.config import read_config
from tests import tiny_bert
from tests.asserts import error_with


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Network, a CSV of texts, a CoNLL file of tagged words, and their schemas."""
    path = tmp_path_factory.mktemp("texts")
    tiny_bert.write_folder(path / "bert")
    (path / "texts.csv").write_text("text,mood\nthe cat,good\na red dog!,bad\n")
    (path / "texts.yaml").write_text(
        "format: csv\nsplits: {train: texts.csv}\ninputs: {text: {kind: text}}\n"
        "labels: {mood: {kind: class, classes: [bad, good]}}\n"
    )
    (path / "words.conll").write_text("the O\nwalkers ANIMAL\n\na O\ncat ANIMAL\n! O\n")
    (path / "words.yaml").write_text(
        "format: conll\nsplits: {train: words.conll}\ncolumns: [word, tag]\n"
        "inputs: {word: {kind: tokens, shape: [4]}}\n"
        "labels: {tag: {kind: tags, shape: [4], classes: [O, ANIMAL]}}\n"
    )
    return path


def config(folder, data, head="classification", **text):
    tree = {
        "name": "texts",
        "data": {
            "schema": str(folder / data),
            "batch_size": 2,
            "splits": {"validation": None},
            "text": {"preset": str(folder / "bert"), "sequence_length": 8, **text},
        },
        "backbone": {
            "class_name": "text",
            "config": {"preset": str(folder / "bert"), "trainable_layers": 1},
        },
        "tasks": [
            {"name": "mood", "head": {"class_name": head, "config": {"num_classes": 2}}}
        ],
    }
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(json.loads(json.dumps(tree))))
    return read_config(path)


def test_texts_become_tokens_and_train(folder):
    run = config(folder, "texts.yaml")
    model = parts.make_model(run)
    examples = parts.load_split(run.data, "train")
    data = parts.labelled(examples.batch(2), run.data, model.tasks)
    [(x, y)] = list(data)
    assert set(x) == set(model.input)
    ids = [2, 9, 7, 3, 0, 0, 0, 0]  # the cat
    assert x["token_ids"][0].numpy().tolist() == ids
    assert y["mood"].numpy().tolist() == [1, 0]
    history = model.fit(data, verbose=0).history
    assert np.isfinite(history["mood_loss"][0])
    assert read_config(folder / "run.yaml").to_dict()["data"]["text"]["tags"] == []


def test_tags_of_words_become_tags_of_tokens(folder):
    run = config(folder, "words.yaml", tags="tag", word_mask=True)
    examples = parts.load_split(run.data, "train")
    tasks = [type("Task", (), {"label": "tag", "mask_key": "tag_mask"})]
    [(x, y)] = list(parts.labelled(examples.batch(2), run.data, tasks))
    assert y["tag"].numpy().tolist() == [
        [-1, 0, 1, -1, -1, -1, -1, -1],  # walk, ##er, ##s
        [-1, 0, 1, 0, -1, -1, -1, -1],
    ]
    assert (x["word_mask"].numpy() == (y["tag"].numpy() >= 0)).all()


def test_a_text_that_is_too_long_for_the_backbone(folder):
    run = config(folder, "texts.yaml", sequence_length=25)
    with error_with(ValueError, "at most 24", "sequence_length=25"):
        parts.make_model(run)


def test_keys_of_the_part(folder):
    with error_with(ValueError, "run.yaml", "lines"):
        config(folder, "texts.yaml", lines=3)
    with error_with(ValueError, "`sequence_length`", "'long'"):
        config(folder, "texts.yaml", sequence_length="long")
    run = config(folder, "texts.yaml", tags=["moods"])
    examples = parts.load_split(run.data, "train").batch(2)
    tasks = [type("Task", (), {"label": "mood", "mask_key": "mood_mask"})]
    with error_with(ValueError, "`tags`", "['mood']", "['moods']"):
        parts.labelled(examples, run.data, tasks)
