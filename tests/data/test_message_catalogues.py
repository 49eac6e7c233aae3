"""`message_catalogues`: what the card says about messages, splits and leaks is true."""

import collections
import gettext
import io
import struct

import numpy as np
import pytest
import tensorflow_datasets as tfds

import keras_mtl.data.datasets
from keras_mtl.data import fetcher
from keras_mtl.data.catalogue import DATASETS
from keras_mtl.data.datasets.message_catalogues import builder as builders
from keras_mtl.data.datasets.message_catalogues.gettext_file import (
    read_defaults,
    read_mo,
)

LANGUAGES = ("english", "german", "french")


@pytest.fixture(scope="module")
def messages():
    return builders.load_messages()


@pytest.fixture(scope="module")
def groups(messages):
    english = [message["english"] for message in messages]
    return builders.groups_of(english, [message["entry"] for message in messages])


@pytest.fixture(scope="module")
def parts(groups):
    return builders.split_groups(groups)


def test_numbers_of_the_card(messages):
    assert len(messages) == 14834
    assert sum(len(message["english"].split()) for message in messages) == 90230
    for language, (missing, same) in {
        "german": (201, 375),
        "french": (78, 491),
    }.items():
        assert sum(not message[language] for message in messages) == missing
        assert sum(m[language] == m["english"] for m in messages) == same
    assert np.median([len(message["english"]) for message in messages]) == 22
    applications = collections.defaultdict(set)
    for message in messages:
        applications[message["english"]].add(message["application"])
    assert sum(len(found) > 1 for found in applications.values()) == 664


def test_applications_have_forty_messages_or_are_other(messages):
    counts = collections.Counter(message["application"] for message in messages)
    assert sorted(counts) == sorted(builders.APPLICATIONS)
    assert min(counts.values()) == 44
    assert counts["pretix"] == 6464
    assert counts["pretix"] / len(messages) == pytest.approx(0.44, abs=0.005)
    assert counts["plone.plone"] / len(messages) == pytest.approx(0.20, abs=0.005)


def test_packages_of_the_card(monkeypatch):
    class Everything:
        def __contains__(self, application):
            return True

    monkeypatch.setattr(builders, "APPLICATIONS", Everything())
    found = [m["application"].split(".")[0] for m in builders.load_messages()]
    assert collections.Counter(found) == {
        "django": 950,
        "wagtail": 2065,
        "oscar": 1875,
        "plone": 3480,
        "pretix": 6464,
    }


def test_translations_by_hand(messages):
    found = {(m["application"], m["english"]): m for m in messages}
    saved = found["wagtail.admin", "Unpin toolbar"]
    assert saved["german"] == "Werkzeugleiste lösen"
    assert saved["french"] == "Désépingler la barre d'outils"
    one = found["django.contrib.humanize", "an hour from now"]
    many = found["django.contrib.humanize", "%(count)s\xa0hours from now"]
    assert one["entry"] == many["entry"]
    assert many["german"] == "in %(count)s Stunden"
    assert many["french"] == "dans %(count)s\xa0heures"
    assert found["oscar", "Add to basket"]["german"] == "In Warenkorb legen"


def test_plone_names_messages_by_identifiers(messages):
    plone = [m for m in messages if m["application"].startswith("plone.")]
    found = {(m["context"], m["english"]): m for m in plone}
    message = found["label_add_new_item", "Add new…"]
    assert message["german"] == "Hinzufügen..."
    assert message["french"] == "Ajout d'un élément"
    # Of the English catalogue, not of the comment, "Plone Footerportlets".
    assert ("plone.footerportlets", "Footer") in found
    # In German, a slip is in the comment of this one.
    assert ("", "Order in folder") in found
    assert not any("review_state" in m["english"] for m in plone)


def test_messages_are_one_line_of_at_most_250_characters(messages):
    for name in LANGUAGES:
        texts = [message[name] for message in messages]
        assert not any("\n" in text or text != text.strip() for text in texts)
    assert max(len(message["english"]) for message in messages) == 250
    keys = [
        tuple(message[key] for key in ("application", *LANGUAGES))
        for message in messages
        if message["application"] != builders.OTHER
    ]
    assert len(set(keys)) == len(keys)


def test_default_comments():
    source = (
        '#. Default: "Say \\"yes\\""\n#: edit.pt:3\nmsgid "say_yes"\nmsgstr "Ja"\n\n'
        '#. Not used\n#: edit.pt:9\nmsgid "No default"\nmsgstr ""\n\n'
        '#. Default: "Long"\n#, fuzzy\nmsgid ""\n"long_"\n"name"\nmsgstr ""\n'
    )
    assert read_defaults(source.encode()) == {
        "say_yes": 'Say "yes"',
        "long_name": "Long",
    }


def test_no_message_is_in_two_splits(messages, groups, parts):
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(messages)))
    sizes = {split: len(rows) for split, rows in parts.items()}
    assert DATASETS["message_catalogues"].splits == sizes
    for key in (
        lambda row: messages[row]["english"].casefold(),
        lambda row: builders.plain(messages[row]["english"]),
        lambda row: messages[row]["entry"],
        lambda row: groups[row],
    ):
        keys = [{key(row) for row in rows} for rows in parts.values()]
        assert len(set.union(*keys)) == sum(map(len, keys))


def test_leak_of_the_card(messages, parts):
    """Share of test messages that are near some training message, by trigrams."""

    def trigrams(message):
        text = f"  {builders.plain(message['english'])}  "
        return {text[i : i + 3] for i in range(len(text) - 2)}

    found = [trigrams(messages[row]) for row in parts["train"]]
    sizes = np.array([len(one) for one in found])
    places = collections.defaultdict(list)
    for place, trigram in ((i, t) for i, one in enumerate(found) for t in one):
        places[trigram].append(place)
    nearest = []
    for row in parts["test"]:
        one = trigrams(messages[row])
        hits = [place for trigram in one for place in places.get(trigram, ())]
        common = np.bincount(hits, minlength=len(found))
        nearest.append((common / (len(one) + sizes - common)).max())
    nearest = np.array(nearest)
    assert np.mean(nearest >= 0.7) == pytest.approx(0.08, abs=0.005)
    assert nearest.max() < 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Save", "save…", True),
        ("Delete %(title)s", "Delete", True),
        ("{name} added", "Added", True),
        ("Page", "pages", True),
        ("%d", "%s", False),
        ("Publish", "Unpublish", False),
    ],
)
def test_small_differences(one, other, same):
    assert (builders.plain(one) == builders.plain(other)) == same


def test_groups_are_the_components_of_a_graph():
    """Against the powers of the matrix of who is joined with whom."""
    rng = np.random.default_rng(0)
    letters = [chr(ord("a") + i) for i in rng.integers(0, 20, 30)]
    entries = rng.integers(0, 20, 30)
    joined = np.equal.outer(letters, letters) | np.equal.outer(entries, entries)
    reach = np.linalg.matrix_power(joined.astype(float), 30) > 0
    found = builders.groups_of(letters, entries.tolist())
    np.testing.assert_array_equal(found, reach.argmax(axis=1))


def test_catalogue_is_what_python_reads():
    files = fetcher.read_files("Django", "*/contrib/auth/locale/fr/*.mo")
    [content] = files.values()
    found = read_mo(content)
    translations = gettext.GNUTranslations(io.BytesIO(content))
    plain = [key for key in found if "\0" not in key and "\x04" not in key]
    assert len(plain) > 50
    assert [found[key] for key in plain] == [translations.gettext(key) for key in plain]
    swapped = struct.pack(">7I", 0x950412DE, 0, 1, 28, 36, 0, 0)
    swapped += struct.pack(">4I", 1, 44, 1, 46) + b"a\0b\0"
    assert read_mo(swapped) == {"a": "b"}


@pytest.mark.parametrize(
    "change", [lambda c: c[:-5], lambda c: b"msgid", lambda c: b""]
)
def test_what_is_no_catalogue(change):
    whole = struct.pack("<7I", 0x950412DE, 0, 1, 28, 36, 0, 0)
    whole += struct.pack("<4I", 1, 44, 1, 46) + b"a\0b\0"
    assert read_mo(whole) == {"a": "b"}
    with pytest.raises(ValueError, match=r"compiled catalogue.*Received"):
        read_mo(change(whole))


def test_loaded_examples_are_the_messages(monkeypatch, messages, tmp_path):
    few = [dict(message) for message in messages[::150]]
    monkeypatch.setattr(builders, "load_messages", lambda: [dict(m) for m in few])
    data = tfds.load("message_catalogues", data_dir=tmp_path)
    left = dict(enumerate(few))
    for split in data.values():
        for example in tfds.as_numpy(split):
            message = left.pop(int(example["row"]))
            for name in ("english", "german", "french", "context"):
                assert example[name].decode() == message[name]
            application = builders.APPLICATIONS[example["application"]]
            assert application == message["application"]
    assert not left


def test_info_is_a_card(tmp_path):
    info = tfds.builder("message_catalogues", data_dir=tmp_path).info
    for word in ("Source:", "Licence:", "Splits:", "Leaks", "Django 5.2.19", "wagtail"):
        assert word in info.description
    assert info.features["application"].num_classes == 22
    assert keras_mtl.data.datasets.MessageCatalogues.name == info.name
