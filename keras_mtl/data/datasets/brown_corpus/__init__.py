"""The dataset `brown_corpus`: genre of a sentence and part of speech of its tokens."""

from keras_mtl.data.datasets.brown_corpus.builder import GENRES, BrownCorpus
from keras_mtl.data.datasets.brown_corpus.tags import TAGS, simple_tag

__all__ = ["GENRES", "TAGS", "BrownCorpus", "simple_tag"]
