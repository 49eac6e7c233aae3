"""The `tensorflow_datasets` builder of `message_catalogues`."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from keras_mtl.data import fetcher
from keras_mtl.data.datasets.message_catalogues.gettext_file import (
    read_defaults,
    read_mo,
)

LANGUAGES = {"german": "de", "french": "fr"}
OTHER = "other"
APPLICATIONS = (
    "django.conf",
    "django.contrib.admin",
    "django.contrib.admindocs",
    "django.contrib.auth",
    "django.contrib.humanize",
    "oscar",
    "plone.cmfeditions",
    "plone.cmfplacefulworkflow",
    "plone.plone",
    "plone.plonelocales",
    "plone.widgets",
    "pretix",
    "wagtail",
    "wagtail.admin",
    "wagtail.contrib.forms",
    "wagtail.contrib.redirects",
    "wagtail.contrib.search_promotions",
    "wagtail.documents",
    "wagtail.images",
    "wagtail.snippets",
    "wagtail.users",
    OTHER,
)
_PLONE = "plone.app.locales"
_PACKAGES = ("Django", "wagtail", "django-oscar", _PLONE, "pretix")
_PATH = re.compile(r"(.+)/locales?/([^/]+)/LC_MESSAGES/([^/]+)\.[mp]o")
_LONGEST = 250  # characters of an English message
_IDENTIFIER = re.compile(r"\w+([._]\w+)+")
_PLACEHOLDER = re.compile(r"%\(\w+\)\w|%\w|\{\w*\}")
_SEED = 20246

_CARD = """\
Messages of five programs in English, with their German and French translations: 14,834
messages of 90,230 English words, as people wrote them for Django (a web framework),
Wagtail and Plone (content management systems), Oscar (a shop) and pretix (a ticket
office). Three tasks on one message: its translation into German, that into French, and
the application that it belongs to (22 classes).

Source: the gettext catalogues (.mo, without translations that are marked as fuzzy)
inside the pip packages Django 5.2.19 (950 messages), wagtail 8.0.1 (2,065),
django-oscar 4.2.1 (1,875), plone.app.locales 7.0.4 (3,480) and pretix 2026.8.0 (6,464);
nothing else is downloaded. Of a message with a plural, singular and plural are an
example each; of the forms of its translation the first and the last are taken. German
is the formal one. Line breaks, with the spaces beside them, are one space. Plone names
1,567 of its messages by an identifier: their English text is that of the English
catalogue, or else of the comment "Default" in the French one (.po). Left out are 8
identifiers without such a text, 197 messages of more than 250 characters, and what an
application has twice with the same translations.

Licence: Django, wagtail and django-oscar BSD-3-Clause; plone.app.locales GPL-2.0;
pretix AGPL-3.0 with additional terms, its translations Apache-2.0.

Labels: "german" is empty for 201 messages and "french" for 78, which have no
translation. "application" is the Python package of the catalogue, with Plone, which has
them all in one, "plone." and the name of the file; those of fewer than 40 messages are
"other". 44 % of the messages are pretix's, and 20 % "plone.plone".

Splits: about 70, 10 and 20 % of the messages, by groups: what is the same without
placeholders, punctuation, capitals, spaces and plural "s" is in one split, whatever the
application, and so are singular and plural. "group" is the number of the group, "row"
that of the message. The smallest classes have 6 to 8 messages in the test split, and 1
to 3 in the validation split.

Leaks and limits: 8 % of the messages of the test split share 70 % or more of their
groups of three letters with a message of the training split ("… delete these images"
and "… delete these pages"): a good translation may be a memory. 664 English texts occur
in several applications, so their class is a guess. Half of the messages have at most 22
characters. Translators were free, and others for every program: one reference says
little of a single message. Placeholders, %(name)s, {name} or ${name}, have to be
copied; their form tells something of the application. 375 German and 491 French
translations are the English text as it is.
"""

_CITATION = """\
@misc{django, author={{Django Software Foundation}}, title={Django},
      howpublished={https://www.djangoproject.com}}
@misc{wagtail, author={{Torchbox}}, title={Wagtail},
      howpublished={https://wagtail.org}}
@misc{oscar, author={Winterbottom, David and others}, title={Oscar},
      howpublished={https://pypi.org/project/django-oscar}}
@misc{plone, author={{Plone Foundation}}, title={plone.app.locales},
      howpublished={https://github.com/collective/plone.app.locales}}
@misc{pretix, author={{pretix team}}, title={pretix},
      howpublished={https://pretix.eu}}
"""


def load_messages() -> list[dict[str, Any]]:
    """Reads all messages, fetching their packages if need be.

    Returns:
        List of dicts, sorted: "english", "german", "french" (empty where there is no
        translation), "context" (of the message, or Plone's identifier; mostly empty),
        "application", and "entry", the same for the singular and the plural of a
        message.

    Raises:
        ValueError: If a file is no catalogue.

    Example (downloads 79 MB if the packages are neither installed nor cached):

    ```python
    messages = load_messages()  # 14,834
    messages[0]["english"], messages[0]["german"]
    ```
    """
    found: dict[tuple, dict[str, str]] = {}
    for package in _PACKAGES:
        for path, content in fetcher.read_files(package, "*.mo").items():
            application, language = _origin(path)
            if language not in LANGUAGES.values():
                continue
            for key, text in _messages(read_mo(content)):
                translations = found.setdefault((application, *key), {})
                translations[language] = _one_line(text)
    entries = {key[:3]: number for number, key in enumerate(sorted(found))}
    plone = _english_of_plone()
    messages: dict[tuple, dict[str, Any]] = {}
    for (application, context, entry, key), forms in sorted(found.items()):
        text = plone.get((application, key), key)
        english = _one_line(text)
        unknown = application.startswith("plone.") and _IDENTIFIER.fullmatch(text)
        if not 0 < len(english) <= _LONGEST or unknown:
            continue
        message: dict[str, Any] = {
            "english": english,
            **{name: forms.get(code, "") for name, code in LANGUAGES.items()},
            "context": context if text == key else key,
            "application": application if application in APPLICATIONS else OTHER,
            "entry": entries[application, context, entry],
        }
        # What an application has twice, translated alike, is there once.
        same = (application, english, *(message[name] for name in LANGUAGES))
        messages.setdefault(same, message)
    return list(messages.values())


def _origin(path):
    """Application and language of a catalogue.

    The application is the Python package; with Plone, whose catalogues are all in one
    package, it is the name of the file.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        return "", ""
    application, language, name = match.groups()
    application = application.replace("/", ".")
    return f"plone.{name}" if application == _PLONE else application, language


def _english_of_plone():
    """English texts of Plone's messages, by application and key of the message.

    They are in the English catalogue, or else in comments, which are the same in all
    languages (but for a slip in the German ones).
    """
    texts: dict[tuple[str, str], str] = {}
    for pattern, read in (("*/fr/*.po", read_defaults), ("*/en/*.mo", read_mo)):
        for path, content in fetcher.read_files(_PLONE, pattern).items():
            application, _ = _origin(path)
            texts |= {(application, key): text for key, text in read(content).items()}
    return texts


def _messages(catalogue):
    """Messages of a catalogue: `(context, entry, key)` and the translation.

    Of the forms of a plural the first and the last, which both languages have.
    """
    for key, translation in catalogue.items():
        context, _, texts = key.rpartition("\x04")
        keys, forms = texts.split("\0"), translation.split("\0")
        for text, form in zip(keys, (forms[0], forms[-1]), strict=False):
            yield (context, keys[0], text), form


def _one_line(text):
    """The text without line breaks and the spaces beside them."""
    return re.sub(r"\s*\n\s*", " ", text).strip()


def plain(text: str) -> str:
    """What is left of a message that is the same as another but for small things.

    Those are placeholders, punctuation, spaces, capitals, and an "s" at the end of a
    word.

    Example:

    >>> plain("%(count)s Images, please!") == plain("image please")
    True
    """
    words = re.findall(r"\w+", _PLACEHOLDER.sub(" ", text).casefold())
    left = "".join(word.rstrip("s") for word in words)
    return left or "".join(re.findall(r"\w+", text)) or text.strip()


def groups_of(texts: Sequence[str], entries: Sequence[int]) -> np.ndarray:
    """The group of every message: the same for what belongs into one split.

    Messages are in one group if `plain` makes them the same, if they are singular and
    plural of one entry, or if a chain of such pairs joins them.

    Args:
        texts: The English messages.
        entries: The entry of every message.

    Returns:
        Integers `(n,)`, the number of the first message of the group.

    Example:

    >>> groups_of(["Save", "a day", "save!", "%s days", "Days"], [0, 1, 2, 1, 3])
    array([0, 1, 0, 1, 1])
    """
    group = np.arange(len(texts))
    for keys in ([plain(text) for text in texts], list(entries)):
        first: dict[Any, int] = {}
        for number, key in enumerate(keys):
            one, other = group[first.setdefault(key, number)], group[number]
            group[group == max(one, other)] = min(one, other)
    return group


def split_groups(groups: np.ndarray) -> dict[str, np.ndarray]:
    """Divides the messages by their group: about 70, 10 and 20 %.

    Args:
        groups: Group of every message, `(n,)`.

    Returns:
        Sorted positions in `groups` by split: train, validation, test.

    Example:

    >>> parts = split_groups(np.arange(2000) % 500)
    >>> {name: len(positions) for name, positions in parts.items()}
    {'train': 1400, 'validation': 200, 'test': 400}
    """
    unique, place, counts = np.unique(groups, return_inverse=True, return_counts=True)
    # RandomState: NumPy promises that its stream never changes.
    order = np.random.RandomState(_SEED).permutation(len(unique))
    before = np.empty(len(unique))
    before[order] = (np.cumsum(counts[order]) - counts[order]) / len(groups)
    part = np.digitize(before, [0.7, 0.8])[place]
    names = ("train", "validation", "test")
    return {name: np.flatnonzero(part == n) for n, name in enumerate(names)}


class MessageCatalogues(tfds.core.GeneratorBasedBuilder):
    """Builder of `message_catalogues`; its card is `builder.info.description`.

    Example (prepares about 4 MB below the data folder of TFDS at the first call):

    ```python
    import tensorflow_datasets as tfds
    import keras_mtl.data.datasets

    dataset, info = tfds.load("message_catalogues", split="train", with_info=True)
    ```
    """

    VERSION = tfds.core.Version("2.0.0")
    RELEASE_NOTES = {
        "2.0.0": "Also of Oscar, Plone and pretix; line breaks and repeats are gone.",
        "1.0.0": "Messages of Django and Wagtail, split by message.",
    }

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            **{name: tfds.features.Text() for name in ("english", *LANGUAGES)},
            "context": tfds.features.Text(),
            "application": tfds.features.ClassLabel(names=list(APPLICATIONS)),
            "group": tfds.features.Scalar(dtype=np.int64),
            "row": tfds.features.Scalar(dtype=np.int64),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=_CARD,
            features=tfds.features.FeaturesDict(features),
            citation=_CITATION,
            license="BSD-3-Clause; Plone: GPL-2.0; pretix's translations: Apache-2.0",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        del dl_manager  # the files come out of pip packages
        messages = load_messages()
        groups = groups_of(
            [message["english"] for message in messages],
            [message["entry"] for message in messages],
        )
        for row, (message, group) in enumerate(zip(messages, groups, strict=True)):
            del message["entry"]
            message |= {"group": int(group), "row": row}
        return {
            split: self._generate_examples(messages[row] for row in rows)
            for split, rows in split_groups(groups).items()
        }

    def _generate_examples(
        self, messages: Iterable[dict[str, Any]]
    ) -> Iterator[tuple[int, dict]]:
        for message in messages:
            yield message["row"], message
