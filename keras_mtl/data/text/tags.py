"""Names of tags to their classes, with the place of what is wrong."""

import difflib
from collections.abc import Sequence

import tensorflow as tf

from keras_mtl.utils.checks import check_choice


def encode_tags(
    tags: Sequence[Sequence[str]],
    classes: Sequence[str],
    *,
    words: Sequence[Sequence[str]] | None = None,
    places: Sequence[str] | None = None,
    unknown: str = "raise",
    missing: int = -1,
) -> tf.RaggedTensor:
    """The classes of named tags, text by text.

    Args:
        tags: Per text the list of its tags.
        classes: The names of the tags in the order of their classes; those of the
            training split, in all splits.
        words: Optional words of the texts, whose numbers are compared.
        places: Where each text comes from, for messages (`"news.conll, lines 3 to
            9"`); its row by default.
        unknown: What a tag does that is no class: `"raise"`, or `"missing"`: its word
            counts as not labelled, so neither in losses nor in metrics.
        missing: What stands for no tag, the value of `Task.missing`.

    Returns:
        Ragged tensor of shape `(batch, words)`, int64.

    Raises:
        ValueError: For a text that has not as many tags as words, or a tag that is no
            class; the message names the text.

    Example:
    >>> encode_tags([["O", "B-city"], ["O"]], ["O", "B-city"]).to_list()
    [[0, 1], [0]]
    >>> encode_tags([["B-town"]], ["O", "B-city"], unknown="missing").to_list()
    [[-1]]
    """
    check_choice("unknown", unknown, ("raise", "missing"))
    known = {name: index for index, name in enumerate(classes)}
    if words is not None and len(words) != len(tags):
        raise ValueError(
            "Expected tags for every text. Received: "
            f"{len(words)} texts and tags for {len(tags)}"
        )
    rows = []
    for row, text in enumerate(tags):
        place = f"row {row}" if places is None else places[row]
        if words is not None and len(words[row]) != len(text):
            raise ValueError(
                f"{place}: Expected as many tags as words. Received: "
                f"{len(words[row])} words and {len(text)} tags"
            )
        for index, tag in enumerate(text):
            if tag not in known and unknown == "raise":
                near = difflib.get_close_matches(tag, known, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise ValueError(
                    f"{place}, word {index}: Expected a tag of `classes`, which has "
                    f"{len(known)}. Received: {tag!r}.{hint} (With "
                    "`unknown='missing'` the word counts as not labelled)"
                )
        rows.append([known.get(tag, missing) for tag in text])
    return tf.ragged.constant(rows, tf.int64, ragged_rank=1)
