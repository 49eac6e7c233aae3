"""Head for a sequence of tokens, one after the other: translation, summaries."""

from typing import Any

import keras
from keras import ops

from keras_mtl.heads.head import Head, in_range, registry
from keras_mtl.layers import SearchOptions, SequenceDecoder, SequenceSearch
from keras_mtl.utils.checks import check_count, check_non_negative
from keras_mtl.utils.types import Tensor


@registry.register("sequence_to_sequence")
class SequenceToSequence(Head):
    """A sequence of tokens; raw outputs are logits `(batch, length, vocabulary_size)`.

    A Transformer decoder reads the feature `"sequence"` of the backbone and, while it
    is trained (teacher forcing), the right tokens before the one that it has to tell.
    They are a further input of the model, `"<task>_tokens"` `(batch, length)`, which
    `decoder_tokens` makes of the labels. Labels are tokens `(batch, length)`, the end
    token last, and `Task.missing` (for example the pad token) after it: the loss is the
    mean over the tokens. Padding of the feature is not attended to, if the backbone
    says by Keras' mask what it is (`Embedding(mask_zero=True)`,
    `layers.MaskedSequence`), or an input of the model does.

    What is served needs no such input: greedy or beam search in the graph, from the
    feature. Served are `"tokens"` `(batch, max_length)`, int32, padded after the end
    token, and their `"score"` `(batch,)`, see `SearchOptions`. `predict` gives the
    logits of teacher forcing, `predict_tasks` and the export what the search finds.

    Args:
        vocabulary_size: Number of tokens, at least 4.
        max_length: Most tokens of a sequence, the end token included.
        hidden_units: Widths of the feed-forward parts of the decoder, one per block.
        num_heads: Heads of every attention; they divide the width of the feature.
        special_tokens: The tokens for padding, start and end.
        beam_width: Candidates of the search; 1 is greedy search.
        length_penalty: `alpha` of the score; more than 0 favours long sequences.
        padding_mask: Name of the input of the model, int32 `(batch, source length)`,
            that is 0 where the feature is padding, or `None` to take Keras' mask.
        **kwargs: `activation`, `dropout` of `Head`, for the decoder.

    Raises:
        ValueError: If a special token is not in the vocabulary, or two are the same.

    Cost: Training like a Transformer; serving `max_length` steps at most, each with
        `beam_width` rows per example. Keys and values are kept between the steps.

    Example:
    >>> import keras_mtl as mtl
    >>> inputs = keras.Input((None,), dtype="int32", name="source")
    >>> x = keras.layers.Embedding(50, 16, mask_zero=True)(inputs)
    >>> head = mtl.heads.SequenceToSequence(60, 12, hidden_units=(32,), beam_width=3)
    >>> task = mtl.Task("german", head, missing=0)
    >>> model = mtl.build_model(keras.Model(inputs, {"sequence": x}), [task])
    >>> sorted(model.input), model.output["german"].shape
    (['german_tokens', 'source'], (None, None, 60))
    >>> served = model.predict_tasks({"source": ops.ones((2, 5), "int32")}, verbose=0)
    >>> served["german"]["tokens"].shape
    (2, 12)

    Reference:
        - [Vaswani et al., 2017](https://arxiv.org/abs/1706.03762)
        - [Wu et al., 2016](https://arxiv.org/abs/1609.08144), the length penalty.
    """

    feature = "sequence"
    feature_rank = 3
    likelihood = "categorical"

    def __init__(
        self,
        vocabulary_size: int,
        max_length: int,
        *,
        hidden_units: tuple[int, ...] = (256, 256),
        num_heads: int = 4,
        special_tokens: tuple[int, int, int] = (0, 1, 2),
        beam_width: int = 1,
        length_penalty: float = 0.0,
        padding_mask: str | None = None,
        **kwargs,
    ):
        super().__init__(hidden_units=hidden_units, **kwargs)
        if not self.hidden_units:
            raise ValueError(
                "Expected `hidden_units` to have an entry per block of the decoder, at "
                f"least one. Received: hidden_units={hidden_units!r}"
            )
        self.vocabulary_size = check_count("vocabulary_size", vocabulary_size, 4)
        self.max_length = check_count("max_length", max_length)
        self.num_heads = check_count("num_heads", num_heads)
        self.special_tokens = _check_special(special_tokens, vocabulary_size)
        self.beam_width = check_count("beam_width", beam_width)
        self.length_penalty = check_non_negative("length_penalty", length_penalty)
        self.padding_mask = padding_mask

    def extra_inputs(self, name: str) -> dict[str, Any]:
        keys = filter(None, [f"{name}_tokens", self.padding_mask])
        return {key: keras.Input((None,), dtype="int32", name=key) for key in keys}

    def connect(self, feature, extra_inputs, name):
        decoder = SequenceDecoder(
            self.vocabulary_size,
            self.max_length,
            units=self.hidden_units,
            num_heads=self.num_heads,
            activation=self.activation,
            dropout=self.dropout,
            name=f"{name}_decoder",
        )
        mask = extra_inputs[self.padding_mask] if self.padding_mask else None
        tokens = extra_inputs[f"{name}_tokens"]
        return decoder(feature, tokens, feature_mask=mask)

    def decoder_tokens(self, labels: Tensor) -> Tensor:
        """The input `"<task>_tokens"` that belongs to labels: one place later.

        Args:
            labels: Integers `(batch, length)`; negative ones count as padding.

        Returns:
            Integers `(batch, length)`: the start token, and the labels but the last.

        Example:
        >>> head = SequenceToSequence(10, 4)
        >>> ops.convert_to_numpy(head.decoder_tokens([[5, 6, 2, -1]]))
        array([[1, 5, 6, 2]], dtype=int32)
        """
        pad, start, _ = self.special_tokens
        labels = ops.cast(ops.convert_to_tensor(labels), "int32")
        labels = ops.where(labels < 0, pad, labels)
        return ops.concatenate([ops.full_like(labels[:, :1], start), labels[:, :-1]], 1)

    def prepare_labels(self, labels: Tensor) -> Tensor:
        return ops.squeeze(labels, axis=-1) if len(labels.shape) == 3 else labels

    def class_indices(self, labels: Tensor) -> Tensor:
        return ops.cast(labels, "int32")

    def labels_in_range(self, labels: Tensor) -> Tensor | None:
        return in_range(labels, self.vocabulary_size - 1)

    def activate(self, outputs: Tensor) -> Tensor:
        return ops.softmax(outputs)

    def served(self, outputs: Tensor) -> dict[str, Tensor]:
        decoder, node, _ = outputs._keras_history
        call = decoder._inbound_nodes[node].arguments
        feature, mask = call.args[0], call.kwargs.get("feature_mask")
        pad, start, end = self.special_tokens
        options = SearchOptions(self.max_length, start, end, pad, self.length_penalty)
        name = decoder.name.removesuffix("_decoder") + "_search"
        search = SequenceSearch(decoder, options, self.beam_width, name=name)
        return search(feature, mask=mask)

    def serving(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return dict(outputs)

    def default_loss(self):
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def default_metrics(self):
        return [self.accuracy(), Perplexity()]

    def accuracy(self):
        return keras.metrics.SparseCategoricalAccuracy(name="accuracy")

    def check_labels(self, labels, outputs):
        super().check_labels(labels, outputs)
        shape, length = tuple(labels.shape), outputs.shape[1]
        rank = len(shape) == 2 or (len(shape) == 3 and shape[2] == 1)
        if not rank or (None not in (length, shape[1]) and length != shape[1]):
            wanted = "length" if length is None else length
            raise ValueError(
                f"Expected labels of {type(self).__name__} to have shape ('batch', "
                f"{wanted!r}), that of the input of the decoder. Received: "
                f"shape={shape}"
            )

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "max_length": self.max_length,
            "num_heads": self.num_heads,
            "special_tokens": list(self.special_tokens),
            "beam_width": self.beam_width,
            "length_penalty": self.length_penalty,
            "padding_mask": self.padding_mask,
        }


@keras.saving.register_keras_serializable(package="keras_mtl")
class Perplexity(keras.metrics.Mean):
    """`exp` of the mean of `-log p` of the right tokens, over the labelled ones.

    Labels are class indices, predictions are probabilities with the classes as their
    last axis. A model that knows nothing has the number of classes.

    Args:
        name: Name of the metric.
        **kwargs: Other arguments of `keras.metrics.Mean`.

    Example:
    >>> metric = Perplexity()
    >>> metric.update_state([[1, 0]], [[[0.5, 0.5], [0.5, 0.5]]])
    >>> round(float(metric.result()), 4)
    2.0
    """

    def __init__(self, name: str = "perplexity", **kwargs):
        super().__init__(name=name, **kwargs)

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        loss = keras.losses.sparse_categorical_crossentropy(y_true, y_pred)
        super().update_state(loss, sample_weight)

    def result(self):
        return ops.exp(super().result())


def _check_special(tokens, vocabulary_size):
    """Three different tokens of the vocabulary, as a tuple of integers."""
    listed = isinstance(tokens, list | tuple) and len(tokens) == 3
    if listed:
        tokens = tuple(check_count("special_tokens", token, 0) for token in tokens)
    if not listed or len(set(tokens)) < 3 or max(tokens) >= vocabulary_size:
        raise ValueError(
            "Expected `special_tokens` to be three different tokens (padding, start, "
            f"end) from 0 to {vocabulary_size - 1}. Received: "
            f"special_tokens={tokens!r}"
        )
    return tokens
