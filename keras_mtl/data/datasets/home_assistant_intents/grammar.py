"""Sentences from templates: parsing them, and drawing sentences with their slots.

    the light | [in] the {area} | (on|off) | (now;please) | <rule> | {list:slot}

that is: words, what may be left out, one of several, several in any order, a rule of
the grammar, and an entry of a list, which fills a slot (of the list's name if no other
is given).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

_PIECES = re.compile(r"[\[\]()|;]|<[^>]*>|\{[^}]*\}|[^\[\]()|;<>{}]+")
_CLOSING = {"[": "]", "(": ")"}
# A node is a kind and its content; parts of a sentence are text and its slot or None.
Node = tuple[str, Any]
Parts = list[tuple[str, str | None]]


def parse(template: str) -> Node:
    """The tree of a template.

    Args:
        template: A template, see above.

    Returns:
        A node: `("text", str)`, `("rule", name)`, `("slot", (list, slot))`, or
        `("all" | "one" | "any_order", list of nodes)`.

    Raises:
        ValueError: If a bracket is not closed, or closes nothing.

    Example:

    >>> parse("[the] light")
    ('all', [('one', [('all', [('text', 'the')]), ('text', '')]), ('text', ' light')])
    """
    pieces = _PIECES.findall(template)
    node, rest = _parse(pieces, "")
    if rest or "".join(pieces) != template:
        raise ValueError(
            "Expected brackets that are closed in the order in which they are opened. "
            f"Received: template={template!r}"
        )
    return node


def _parse(pieces, closing):
    """The tree of the pieces up to `closing`, and the pieces after it."""
    branches: list[list] = [[]]
    kind = "one"
    while pieces:
        piece, *pieces = pieces
        if piece == closing:
            closing = ""
            break
        if piece in _CLOSING:
            node, pieces = _parse(pieces, _CLOSING[piece])
            if piece == "[":
                node = ("one", [node, ("text", "")])
            branches[-1].append(node)
        elif piece in ("|", ";"):
            kind = "any_order" if piece == ";" else kind
            branches.append([])
        elif piece in ("]", ")"):
            return None, [piece, *pieces]
        else:
            branches[-1].append(_leaf(piece))
    if closing:
        return None, [closing]
    nodes: list[Node] = [("all", branch) for branch in branches]
    return (nodes[0] if len(nodes) == 1 else (kind, nodes)), pieces


def _leaf(piece):
    if piece[0] == "<":
        return "rule", piece[1:-1]
    if piece[0] == "{":
        name, _, slot = piece[1:-1].partition(":")
        return "slot", (name, slot or name)
    return "text", piece


def draw(
    node: Node,
    rules: Mapping[str, Node],
    fill: Callable[[str], str],
    random: np.random.RandomState,
) -> Parts:
    """Draws one sentence: every choice is one of its branches, all alike.

    Args:
        node: The tree of a template.
        rules: Trees of the grammar's rules, by name.
        fill: Function from the name of a list to the text of an entry.
        random: Source of the choices.

    Returns:
        The parts of the sentence: text, and the slot that it fills, or `None`.

    Example:

    >>> tree = parse("turn on {area:room}")
    >>> draw(tree, {}, lambda name: "hall", np.random.RandomState(0))
    [('turn on ', None), ('hall', 'room')]
    """
    kind, content = node
    if kind == "text":
        return [(content, None)]
    if kind == "rule":
        return draw(rules[content], rules, fill, random)
    if kind == "slot":
        name, slot = content
        return [(fill(name), slot)]
    if kind == "one":
        return draw(content[random.randint(len(content))], rules, fill, random)
    if kind == "any_order":
        content = [content[index] for index in random.permutation(len(content))]
    parts: Parts = []
    for index, branch in enumerate(content):
        if kind == "any_order" and index:
            parts.append((" ", None))
        parts += draw(branch, rules, fill, random)
    return parts


def tagged_tokens(parts: Parts) -> tuple[list[str], list[str]]:
    """Words of a sentence, and a tag for each: `O`, `B-slot` (first word) or `I-slot`.

    A word that is partly a slot (`20` of `20°`) is of that slot.

    Args:
        parts: Parts of a sentence, as `draw` gives them.

    Returns:
        The words and their tags, two lists of one length.

    Example:

    >>> tagged_tokens([("in the ", None), ("living room", "area"), ("s", None)])
    (['in', 'the', 'living', 'rooms'], ['O', 'O', 'B-area', 'I-area'])
    """
    text = "".join(part for part, _ in parts)
    owner: list[tuple[int, str] | None] = []
    for index, (part, slot) in enumerate(parts):
        owner += [(index, slot) if slot else None] * len(part)
    tokens, tags, before = [], [], None
    for match in re.finditer(r"\S+", text):
        of_word = next(filter(None, owner[match.start() : match.end()]), None)
        tokens.append(match.group())
        if of_word is None:
            tags.append("O")
        else:
            tags.append(("I-" if of_word == before else "B-") + of_word[1])
        before = of_word
    return tokens, tags
