"""BLEU and chrF are sacrebleu's; BLEU also by hand."""

import sys

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF

from keras_mtl.analysis import translation_scores

FOUND = ["the cat is on the mat", "a dog", "nothing of this", "left out"]
WANTED = ["the cat sat on the mat", "a small dog barks", "other words here", ""]


def test_scores_are_those_of_sacrebleu():
    found = translation_scores(FOUND, WANTED)
    for name, metric in (("bleu", BLEU()), ("chrf", CHRF())):
        wanted = metric.corpus_score(FOUND[:3], [WANTED[:3]]).score
        assert found[name] == wanted > 0


def test_bleu_by_hand():
    """6 of 8 words are right, 4 of 7 pairs, 2 of 6 triples, none of 5 fours."""
    found = translation_scores(
        ["the big cat is on the mat now"], ["the big cat sat on the mat"]
    )
    # Smoothed by sacrebleu: a count of 0 is 1/2.
    precisions = np.array([6 / 8, 4 / 7, 2 / 6, 0.5 / 5])
    assert found["bleu"] == pytest.approx(100 * np.exp(np.log(precisions).mean()))


@pytest.mark.parametrize("references", [WANTED[:3], ["", "", "", ""]])
def test_references_of_another_number(references):
    with pytest.raises(ValueError, match=r"4 translations and \d references"):
        translation_scores(FOUND, references)


def test_without_sacrebleu(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(ImportError, match=r'pip install "keras-mtl\[text\]"'):
        translation_scores(FOUND, WANTED)
