"""Chains of tags by trying all paths."""

import itertools

import numpy as np


def parts(scores):
    """Emissions, words and transitions of what `layers.CRF` returns for an example."""
    states = scores.shape[-1]
    above, below = scores[:-states], scores[-states:]
    return above[:, :-1], above[:, -1] > 0.5, below


def paths(scores, tags=None, names=None):
    """Dict from path (-1 where there is no word) to its score.

    Of paths that agree with `tags`, and in which `I-x` follows `B-x` or `I-x` only.
    """
    emissions, words, transitions = parts(scores)
    num_tags = emissions.shape[1]
    found = {}
    for path in itertools.product(range(num_tags), repeat=int(words.sum())):
        chain = [num_tags, *path, num_tags]
        total = sum(transitions[a, b] for a, b in itertools.pairwise(chain))
        whole = np.full(len(words), -1)
        whole[words] = path
        total += sum(emissions[t, tag] for t, tag in enumerate(whole) if tag >= 0)
        if tags is not None and any(words & (tags >= 0) & (tags != whole)):
            continue
        if names is not None and not is_allowed([names[tag] for tag in path]):
            continue
        found[tuple(whole.tolist())] = total
    return found


def is_allowed(tags):
    before = "O"
    for tag in tags:
        if tag[0] == "I" and before[1:] != tag[1:]:
            return False
        before = tag
    return True


def log_sum(scores, tags=None):
    return np.logaddexp.reduce(list(paths(scores, tags).values()))


def best(scores, names=None):
    """The best path, its score and its probability among all paths."""
    found = paths(scores, names=names)
    path = max(found, key=found.get)
    return list(path), found[path], np.exp(found[path] - log_sum(scores))


def all_best(batch, names=None):
    return [best(scores, names) for scores in batch]


def loss(labels, batch):
    """Negative log-likelihood by the number of labelled tokens."""
    pairs = list(zip(labels, batch, strict=True))
    total = sum(log_sum(scores) - log_sum(scores, tags) for tags, scores in pairs)
    return total / np.sum(labels >= 0)
