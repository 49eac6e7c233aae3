"""Tags that mark entities: `B-X` begins one of type X, `I-X` goes on with it."""

import numpy as np

_OUTSIDE = "O"


def is_bio(label_names: list[str] | None) -> bool:
    """Whether the names are `O`, `B-X` and `I-X`, each `X` with a `B-X`."""
    try:
        entity_types(label_names)
    except ValueError:
        return False
    return True


def entity_types(label_names: list[str] | None) -> dict[str, int]:
    """The types of entities, in the order in which the names have them.

    Returns:
        Dict from type to its number.

    Raises:
        ValueError: If the names are not those of BIO tags.

    Example:
    >>> entity_types(["O", "B-area", "I-area", "B-name"])
    {'area': 0, 'name': 1}
    """
    names = list(label_names or [])
    parts = [name.partition("-") for name in names if name != _OUTSIDE]
    begun = {kind for mark, _, kind in parts if mark == "B"}
    wrong = [
        "".join(part)
        for part in parts
        if part[0] not in ("B", "I") or not part[2] or part[2] not in begun
    ]
    if wrong or not begun:
        raise ValueError(
            "Expected `label_names` to be BIO tags: 'O', 'B-<type>', and 'I-<type>' "
            "for types that have a 'B-<type>'. Received: "
            + (f"{wrong} among {names}" if label_names else "label_names=None")
        )
    return {kind: n for n, kind in enumerate(dict.fromkeys(p[2] for p in parts))}


def tag_table(label_names: list[str] | None) -> tuple[np.ndarray, np.ndarray]:
    """Type and beginning of every tag.

    Returns:
        Integers of shape `(num_classes,)`, the number of the tag's type, -1 for `O`;
        and booleans, whether the tag begins an entity.
    """
    types, names = entity_types(label_names), list(label_names or [])
    kinds = [types.get(name.partition("-")[2], -1) for name in names]
    return np.array(kinds, "int32"), np.array([n.startswith("B-") for n in names])


def allowed_neighbours(label_names: list[str] | None) -> np.ndarray:
    """Which tag may follow which: `I-X` only `B-X` and `I-X`, all others any.

    Returns:
        Booleans of shape `(num_classes + 1, num_classes + 1)`; what is before the
        first and after the last word comes last.

    Example:
    >>> allowed_neighbours(["O", "B-a", "I-a"]).astype(int)
    array([[1, 1, 0, 1],
           [1, 1, 1, 1],
           [1, 1, 1, 1],
           [1, 1, 0, 1]])
    """
    types, begins = tag_table(label_names)
    inside = np.append((types >= 0) & ~begins, False)
    types = np.append(types, -1)
    return ~inside[None, :] | (types[:, None] == types[None, :])
