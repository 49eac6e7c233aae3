"""A text model that takes strings, for export."""

from typing import Any

import keras
from keras import ops

from keras_mtl.layers import WordPieces
from keras_mtl.training import MultiTaskModel

_TOKENS = ("token_ids", "padding_mask", "segment_ids")


def with_strings(
    model: MultiTaskModel, preprocessor: Any, *, name: str = "text"
) -> MultiTaskModel:
    """The same model, with its tokenizer in front, in TensorFlow's own operations.

    What is exported of it takes strings, in a server of plain TensorFlow too. Only for
    BERT's word pieces: other tokenizers need operations of TensorFlow Text, and models
    on them are served by token ids.

    Args:
        model: A model that takes the tokens of single texts, and maybe other inputs.
        preprocessor: The `keras_mtl.data.text.TextPreprocessor` that it was trained
            with.
        name: Name of the input with the strings, of shape `(batch,)`.

    Returns:
        A `MultiTaskModel` that shares its layers with `model`, for
        `export_saved_model`.

    Raises:
        TypeError: If the tokenizer is of another kind.
        ValueError: If the model does not take tokens, or takes a mask of words.

    Example:

    ```python
    served = mtl.export.with_strings(model, preprocess)
    mtl.export.export_saved_model(served, "saved_models/reviews")
    ```
    """
    import keras_hub

    tokenizer = preprocessor.tokenizer
    word_pieces = isinstance(tokenizer, keras_hub.tokenizers.WordPieceTokenizer)
    if not word_pieces or tokenizer.special_tokens_in_strings or not tokenizer.split:
        raise TypeError(
            "Expected a tokenizer of BERT's word pieces, without special tokens in "
            f"strings. Received: {tokenizer!r}. Export the model as it is: it takes "
            "token ids"
        )
    given = model.input if isinstance(model.input, dict) else {}
    if "token_ids" not in given or "word_mask" in given:
        raise ValueError(
            "Expected a model that takes 'token_ids', and no 'word_mask', for which "
            f"texts must be split into words. Received: inputs {sorted(given)}"
        )

    # === Layers ===
    pieces = WordPieces(
        tokenizer.get_vocabulary(),
        preprocessor.sequence_length,
        lowercase=tokenizer.lowercase,
        strip_accents=tokenizer.strip_accents,
        split_on_cjk=tokenizer.split_on_cjk,
        start=tokenizer.start_token,
        end=tokenizer.end_token,
        padding=tokenizer.pad_token,
        unknown=tokenizer.oov_token,
        suffix=tokenizer.suffix_indicator,
        name=f"{name}_pieces",
    )

    # === Functional model ===
    strings = keras.Input((), dtype="string", name=name)
    ids = pieces(strings)
    tokens = {
        "token_ids": ids,
        "padding_mask": ops.cast(ids != tokenizer.pad_token_id, "int32"),
        "segment_ids": ops.zeros_like(ids),
    }
    others = {
        key: keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=key)
        for key, tensor in given.items()
        if key not in _TOKENS
    }
    outputs = model({key: {**tokens, **others}[key] for key in given})

    # === Config ===
    return MultiTaskModel(
        {name: strings, **others},
        outputs,
        tasks=model.tasks,
        architecture=model.architecture,
        name=model.name,
    )
