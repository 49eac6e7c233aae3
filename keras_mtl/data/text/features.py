"""Features of a frozen backbone, computed once."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tqdm

from keras_mtl.data.text.buckets import token_counts
from keras_mtl.utils.checks import check_count


def cached_features(
    backbone: keras.Model,
    x: Mapping[str, Any],
    *,
    features: Sequence[str] = ("pooled",),
    batch_size: int = 64,
    dtype: str = "float32",
    progress: bool = True,
) -> dict[str, np.ndarray]:
    """What a frozen backbone makes of texts, to train heads on without it.

    The texts are taken in the order of their lengths, so that little is padding.
    The features are those of prediction, without dropout.

    Args:
        backbone: A model of named features, such as `backbones.Text`.
        x: Dict of its inputs, of shape `(rows, …)`, as `TextPreprocessor` makes them.
        features: Names of the features to keep. `"pooled"` takes `width` numbers per
            row, `"sequence"` so many per token, with zeros at padding.
        batch_size: Number of texts of a batch.
        dtype: Dtype of what is kept; `"float16"` halves the memory.
        progress: Show a progress bar.

    Returns:
        Dict from feature to array `(rows, …)`, in the order of `x`. A model on them is
        built with `backbones.MLP(input_shape=(width,), units=…)`.

    Raises:
        ValueError: If the backbone has no feature of a name.

    Cost:
        One forward pass, over texts that are hardly padded.

    Example:

    ```python
    pooled = cached_features(backbone, preprocess(texts))["pooled"]
    ```
    """
    known = backbone.output
    check_count("batch_size", batch_size)
    if not isinstance(known, dict) or not set(features) <= set(known):
        names = sorted(known) if isinstance(known, dict) else [known]
        raise ValueError(
            f"Expected `features` to be some of {names}. "
            f"Received: features={tuple(features)}"
        )
    inputs = {name: np.asarray(x[name]) for name in backbone.input}
    mask = inputs.get("padding_mask", np.ones_like(inputs["token_ids"]))
    rows, tokens = mask.shape
    lengths = np.maximum(token_counts(mask), 1)
    order = np.argsort(lengths, kind="stable")
    kept = {
        name: np.zeros([rows, *(tokens if n is None else n for n in shape)], dtype)
        for name, (_, *shape) in ((name, known[name].shape) for name in features)
    }
    predict = tf.function(
        lambda batch: backbone(batch, training=False), reduce_retracing=True
    )
    with tqdm.tqdm(total=rows, unit=" texts", disable=not progress) as bar:
        for start in range(0, rows, batch_size):
            chosen = order[start : start + batch_size]
            length = int(lengths[chosen].max())
            found = predict({k: v[chosen, :length] for k, v in inputs.items()})
            for name, array in kept.items():
                if name == "sequence":
                    there = mask[chosen, :length, None] != 0
                    array[chosen, :length] = np.where(there, found[name], 0.0)
                else:
                    array[chosen] = found[name]
            bar.update(len(chosen))
    return kept
