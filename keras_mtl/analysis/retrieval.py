"""How often the right one of many stored items is among the nearest."""

from collections.abc import Sequence

import numpy as np

_ROWS = 1024


def retrieval_recall(
    queries: np.ndarray,
    items: np.ndarray,
    query_labels: np.ndarray | None = None,
    item_labels: np.ndarray | None = None,
    *,
    ks: Sequence[int] = (1, 5),
) -> dict[str, float]:
    """Share of the queries for which one right item is among the `k` nearest.

    Near is what has a large inner product, the cosine of vectors of length 1, as
    `predict_tasks` gives them of a `ContrastiveEmbedding`. A wrong item that is as near
    as a right one counts as nearer, so that equal embeddings are no success.

    Args:
        queries: Array of shape `(num_queries, dim)`.
        items: Array of shape `(num_items, dim)`, each item once.
        query_labels: Optional labels of shape `(num_queries,)`: right are the items of
            the same label. By default the item of the same row is right.
        item_labels: Labels of shape `(num_items,)`.
        ks: The numbers `k`.

    Returns:
        Dict such as `{"recall_at_1": 0.5, "recall_at_5": 1.0}`. A query without a right
        item is a failure.

    Raises:
        ValueError: If shapes do not fit, or one of the labels is not given.

    Cost: `num_queries · num_items · dim` multiplications, 1,024 queries at a time.

    Example:
    >>> items = np.eye(3)
    >>> retrieval_recall(items[[0, 2]], items, [0, 1], [0, 1, 2], ks=(1, 3))
    {'recall_at_1': 0.5, 'recall_at_3': 1.0}
    """
    queries, items = np.asarray(queries), np.asarray(items)
    if (query_labels is None) != (item_labels is None):
        raise ValueError(
            "Expected `query_labels` and `item_labels` together, or neither. Received: "
            f"query_labels={query_labels!r}, item_labels={item_labels!r}"
        )
    if query_labels is None:
        query_labels, item_labels = np.arange(len(queries)), np.arange(len(items))
    query_labels, item_labels = np.asarray(query_labels), np.asarray(item_labels)
    shapes = {
        "queries": queries.shape,
        "items": items.shape,
        "query_labels": query_labels.shape,
        "item_labels": item_labels.shape,
    }
    same_width = queries.ndim == items.ndim == 2 and queries.shape[1] == items.shape[1]
    labelled = query_labels.shape == queries.shape[:1]
    if not (same_width and labelled and item_labels.shape == items.shape[:1]):
        raise ValueError(
            "Expected queries and items of one width, and a label for each. "
            f"Received: shapes {shapes}"
        )
    ranks = []
    for start in range(0, len(queries), _ROWS):
        near = queries[start : start + _ROWS] @ items.T
        right = query_labels[start : start + _ROWS, None] == item_labels[None, :]
        best = np.max(np.where(right, near, -np.inf), axis=1, keepdims=True)
        ranks.append(np.sum((near >= best) & ~right, axis=1))
        ranks[-1][~right.any(axis=1)] = np.iinfo(ranks[-1].dtype).max
    found = np.concatenate(ranks)
    return {f"recall_at_{k}": float(np.mean(found < k)) for k in ks}
