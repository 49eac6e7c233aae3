"""How near translations are to those of people."""

from collections.abc import Sequence


def translation_scores(
    translations: Sequence[str], references: Sequence[str]
) -> dict[str, float]:
    """BLEU and chrF of all translations together, as `sacrebleu` computes them.

    BLEU is the geometric mean of the precisions of one to four words, times a penalty
    for short translations; chrF the F-score (recall counts twice) of one to six
    characters. Both go from 0 to 100 and are of the whole, not means of the examples.
    Examples without a reference (the empty string) are left out.

    Args:
        translations: Texts.
        references: One text per translation, by people.

    Returns:
        Dict with `"bleu"` and `"chrf"`.

    Raises:
        ImportError: If sacrebleu is not installed.
        ValueError: If there are not as many references as translations, or none.

    Example:
    >>> found = translation_scores(["the cat sat there"], ["the cat sat there"])
    >>> {name: round(score) for name, score in found.items()}
    {'bleu': 100, 'chrf': 100}

    Reference:
        - [Post, 2018](https://arxiv.org/abs/1804.08771), sacrebleu.
        - [Papineni et al., 2002](https://aclanthology.org/P02-1040/), BLEU.
        - [Popović, 2015](https://aclanthology.org/W15-3049/), chrF.
    """
    try:
        import sacrebleu
    except ImportError as error:
        raise ImportError(
            "Expected sacrebleu to be installed, which computes BLEU and chrF. "
            'Install it with `pip install "keras-mtl[text]"`.'
        ) from error
    if len(translations) != len(references) or not any(references):
        raise ValueError(
            "Expected one reference per translation, and at least one that is not "
            f"empty. Received: {len(translations)} translations and "
            f"{len(references)} references"
        )
    pairs = [
        (translation, reference)
        for translation, reference in zip(translations, references, strict=True)
        if reference
    ]
    found, wanted = (list(texts) for texts in zip(*pairs, strict=True))
    return {
        "bleu": sacrebleu.corpus_bleu(found, [wanted]).score,
        "chrf": sacrebleu.corpus_chrf(found, [wanted]).score,
    }
