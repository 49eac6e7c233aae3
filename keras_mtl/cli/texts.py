"""Texts of a configuration file: presets by name, and tokens in the pipeline."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from keras_mtl import backbones
from keras_mtl.data import text
from keras_mtl.utils.checks import check_count
from keras_mtl.utils.config_errors import at


def with_folder(backbone: Any) -> Any:
    """The configuration of a backbone, where a shipped network becomes its folder."""
    if not isinstance(backbone, Mapping) or "class_name" not in backbone:
        return backbone
    config = backbone.get("config") or {}
    is_text = backbone["class_name"] in ("text", backbones.Text.__name__)
    if not is_text or config.get("preset") not in text.NAMES:
        return backbone
    folder = str(text.pretrained(config["preset"]))
    return {**backbone, "config": {**config, "preset": folder}}


def preprocessor(texts: Mapping[str, Any], backbone: Any = None) -> Any:
    """The `TextPreprocessor` of the part `data.text`.

    Args:
        texts: The part.
        backbone: Optional backbone that must go with it.

    Raises:
        ConfigError: If the preset has no tokenizer, or backbone and tokenizer do not
            go together.
    """
    with at("data", "text"):
        preset = texts["preset"]
        return text.TextPreprocessor(
            text.pretrained(preset) if preset in text.NAMES else preset,
            check_count("sequence_length", texts["sequence_length"]),
            backbone=backbone if isinstance(backbone, backbones.Text) else None,
            word_mask=texts["word_mask"],
        )


def tokenised(dataset: tf.data.Dataset, texts: Mapping[str, Any]) -> tf.data.Dataset:
    """Batches `(x, y)` in which the texts, pairs or tagged words are tokens.

    Args:
        dataset: Batches; `x` is a tensor of strings or a dict of two.
        texts: The part `data.text`.

    Raises:
        ConfigError: As `preprocessor`, or for tags that are no labels.
    """
    preprocess = preprocessor(texts)
    tags = texts["tags"]
    x, y = dataset.element_spec
    with at("data", "text", "tags"):
        unknown = sorted(set(tags) - set(y))
        if unknown:
            raise ValueError(
                f"Expected `tags` to name labels of {sorted(y)}. Received: {unknown}"
            )
    if isinstance(x, dict) and (tags or len(x) != 2):
        with at("data", "inputs"):
            raise ValueError(
                "Expected one input with the texts (or words), or two of a pair. "
                f"Received: inputs={list(x)}"
            )

    def tokens(x, y):
        if not tags:
            return preprocess(*(x.values() if isinstance(x, dict) else [x])), y
        made, of_tokens = preprocess.tagged(x, {name: y[name] for name in tags})
        return made, {**y, **of_tokens}

    return dataset.map(tokens, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
