"""`home_assistant_intents`: templates, slots and splits are what the card says."""

import collections
import io
import itertools

import numpy as np
import pytest
import tensorflow_datasets as tfds

import keras_mtl.data.datasets
from keras_mtl.data import fetcher
from keras_mtl.data.catalogue import DATASETS
from keras_mtl.data.datasets.home_assistant_intents import builder as builders
from keras_mtl.data.datasets.home_assistant_intents import grammar


@pytest.fixture(scope="module")
def content():
    return builders.load_grammar()


@pytest.fixture(scope="module")
def templates(content):
    return builders.list_templates(content)


@pytest.fixture(scope="module")
def parts(templates):
    return builders.split_templates([intent for intent, _ in templates])


@pytest.fixture(scope="module")
def made(content, parts):
    return builders.make_examples(content, parts, builders.DRAWS)


def sentences(template, rules=None, draws=200):
    """All that many draws from a template give, with slots in braces."""
    tree, random = grammar.parse(template), np.random.RandomState(0)
    rules = {name: grammar.parse(rule) for name, rule in (rules or {}).items()}
    found = set()
    for _ in range(draws):
        parts = grammar.draw(tree, rules, str.upper, random)
        found.add("".join(f"{{{t}={slot}}}" if slot else t for t, slot in parts))
    return found


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("a [b] c", {"a b c", "a  c"}),
        ("fan[s]", {"fan", "fans"}),
        ("(a|b[c]) d", {"a d", "b d", "bc d"}),
        ("[a|b]", {"a", "b", ""}),
        ("(on;the <place>) now", {"on the hall now", "the hall on now"}),
        ("(a;b;c)", {"a b c", "a c b", "b a c", "b c a", "c a b", "c b a"}),
        ("in {area}", {"in {AREA=area}"}),
        ("{area:room}[s]", {"{AREA=room}", "{AREA=room}s"}),
        ("a|b", {"a", "b"}),
    ],
)
def test_templates_give_exactly_these_sentences(template, expected):
    assert sentences(template, {"place": "hall"}) == expected


@pytest.mark.parametrize("template", ["(a", "a)", "[a)", "<a", "(a|[b)]"])
def test_open_brackets_are_refused(template):
    with pytest.raises(ValueError, match="Expected brackets that are closed"):
        grammar.parse(template)


@pytest.mark.parametrize(
    ("parts", "tokens", "tags"),
    [
        ([("to ", None), ("20", "t"), ("°", None)], "to 20°", "O B-t"),
        ([("a b", "x"), (" ", None), ("c d", "x")], "a b c d", "B-x I-x B-x I-x"),
        ([(" a  ", None), ("b", "x"), ("-", None), ("c", "y")], "a b-c", "O B-x"),
    ],
)
def test_tokens_and_tags_by_hand(parts, tokens, tags):
    assert grammar.tagged_tokens(parts) == (tokens.split(), tags.split())


def test_sizes_of_the_card(templates, made, parts):
    assert len(templates) == 856
    counts = collections.Counter(intent for intent, _ in templates)
    assert sorted(counts) == sorted(builders.INTENTS)
    assert (counts["HassGetState"], len(counts)) == (122, 42)
    assert collections.Counter(counts.values())[1] == 3
    assert collections.Counter(counts.values())[2] == 8
    used = {tag for found in made.values() for e in found for tag in e["slots"]}
    assert used == set(builders.SLOT_TAGS)
    sizes = {split: len(found) for split, found in made.items()}
    assert DATASETS["home_assistant_intents"].splits == sizes


def test_no_template_and_no_sentence_is_in_two_splits(templates, made, parts):
    everything = [number for numbers in parts.values() for number in numbers]
    assert sorted(everything) == list(range(len(templates)))
    texts = [" ".join(e["tokens"]) for found in made.values() for e in found]
    assert len(texts) == len(set(texts))
    for split, found in made.items():
        assert {e["template"] for e in found} <= set(parts[split])
        for example in found:
            assert templates[example["template"]][0] == example["intent"]
            assert len(example["tokens"]) == len(example["slots"]) > 0
    intents = {split: {e["intent"] for e in found} for split, found in made.items()}
    assert [len(intents[split]) for split in made] == [42, 31, 39]


def test_slots_begin_before_they_go_on(made):
    for found in made.values():
        for example in found:
            for before, tag in itertools.pairwise(["O", *example["slots"]]):
                assert tag[:2] != "I-" or before[2:] == tag[2:]


def test_loaded_examples_are_the_made_ones(monkeypatch, content, parts, tmp_path):
    few = {split: numbers[::30] for split, numbers in parts.items()}
    monkeypatch.setattr(builders, "split_templates", lambda _: few)
    monkeypatch.setattr(builders, "DRAWS", 5)
    data = tfds.load("home_assistant_intents", data_dir=tmp_path)
    for split, made in builders.make_examples(content, few, 5).items():
        loaded = [
            (
                [token.decode() for token in example["tokens"]],
                [builders.SLOT_TAGS[tag] for tag in example["slots"]],
                builders.INTENTS[example["intent"]],
                int(example["template"]),
            )
            for example in tfds.as_numpy(data[split])
        ]
        expected = [(e["tokens"], e["slots"], e["intent"], e["template"]) for e in made]
        assert sorted(loaded) == sorted(expected)


def test_info_is_a_card(tmp_path):
    info = tfds.builder("home_assistant_intents", data_dir=tmp_path).info
    for word in ("Source:", "Licence:", "Splits:", "Leaks", "GENERATED"):
        assert word in info.description
    assert info.features["intent"].num_classes == 42
    assert keras_mtl.data.datasets.HomeAssistantIntents.name == info.name


def test_another_grammar_is_refused(monkeypatch):
    monkeypatch.setattr(fetcher, "open_file", lambda *_: io.BytesIO(b'{"lists": {}}'))
    with pytest.raises(ValueError, match=r"lack \['expansion_rules', 'intents'\]"):
        builders.load_grammar()
