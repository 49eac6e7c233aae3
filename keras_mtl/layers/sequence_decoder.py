"""A Transformer decoder, and the search for the sequence that it likes best."""

import keras
import tensorflow as tf

from keras_mtl.layers.search import (
    SearchOptions,
    beam_search,
    greedy_search,
    repeated,
)
from keras_mtl.utils.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mtl")
class SequenceDecoder(keras.layers.Layer):
    """Logits of the next token, from the tokens before it and an encoded sequence.

    Embeddings of tokens and places, blocks of self-attention (to the tokens before),
    cross-attention to the encoded sequence and a feed-forward part, each normalised
    at its start; a normalisation and a linear layer. It is made of the layers of
    keras-hub. Padding of the encoded sequence (Keras' mask, or `feature_mask`) is not
    attended to; padding after the last token cannot be.

    Args:
        vocabulary_size: Number of tokens.
        max_length: Most tokens of a sequence.
        units: Widths of the feed-forward parts, one per block. The width of all else is
            that of the encoded sequence.
        num_heads: Heads of every attention; they divide the width.
        activation: Activation of the feed-forward parts.
        dropout: Dropout rate.

    Call arguments:
        feature: Encoded sequence `(batch, source length, width)`.
        tokens: Integers `(batch, length)`, the start token first.
        feature_mask: Optional tensor `(batch, source length)`, 0 or False where there
            is padding.

    Returns:
        Logits `(batch, length, vocabulary_size)`, never in half precision.

    Raises:
        ValueError: If `num_heads` does not divide the width, or there are more tokens
            than `max_length`.

    Example:
    >>> layer = SequenceDecoder(20, 6, units=(16,), num_heads=2)
    >>> layer(keras.ops.ones((1, 4, 8)), keras.ops.ones((1, 3), "int32")).shape
    TensorShape([1, 3, 20])

    Reference:
        - [Vaswani et al., 2017](https://arxiv.org/abs/1706.03762), section 3.
        - [Xiong et al., 2020](https://arxiv.org/abs/2002.04745), normalisation first.
    """

    def __init__(
        self,
        vocabulary_size: int,
        max_length: int,
        *,
        units: tuple[int, ...] = (256, 256),
        num_heads: int = 4,
        activation: str = "relu",
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size
        self.max_length = max_length
        self.units = tuple(units)
        self.num_heads = num_heads
        self.activation = activation
        self.dropout_rate = dropout

    def build(self, feature_shape, tokens_shape):
        # Importing it takes seconds, which other models need not wait.
        from keras_hub.layers import TokenAndPositionEmbedding, TransformerDecoder

        width = feature_shape[-1]
        if width % self.num_heads:
            raise ValueError(
                "Expected `num_heads` to divide the width of the feature. "
                f"Received: num_heads={self.num_heads}, feature of shape "
                f"{tuple(feature_shape)}"
            )
        dtype = self.dtype_policy
        shape = (None, None, width)
        self.embedding = TokenAndPositionEmbedding(
            self.vocabulary_size,
            self.max_length,
            width,
            dtype=dtype,
            name="embedding",
        )
        self.embedding.build((None, self.max_length))
        self.dropout = keras.layers.Dropout(self.dropout_rate, dtype=dtype)
        self.blocks = []
        for index, units in enumerate(self.units):
            block = TransformerDecoder(
                units,
                self.num_heads,
                dropout=self.dropout_rate,
                activation=self.activation,
                normalize_first=True,
                dtype=dtype,
                name=f"block_{index}",
            )
            block.build(shape, shape)
            self.blocks.append(block)
        self.normalization = keras.layers.LayerNormalization(
            epsilon=1e-5, dtype=dtype, name="normalization"
        )
        self.normalization.build(shape)
        self.output_layer = keras.layers.Dense(
            self.vocabulary_size, dtype=dtype.variable_dtype, name="output"
        )
        self.output_layer.build(shape)
        self.built = True

    def call(self, feature, tokens, feature_mask=None, training=None):
        length = tokens.shape[1]
        if length is not None and length > self.max_length:
            raise ValueError(
                f"Expected at most `max_length` tokens, {self.max_length}. Received: "
                f"tokens of shape {tuple(tokens.shape)}. Cut them, or raise "
                "`max_length`"
            )
        # Without Keras' mask on it: the blocks get it by its name.
        feature = tf.identity(feature)
        x = self.dropout(self.embedding(tokens), training=training)
        for block in self.blocks:
            x = block(x, feature, encoder_padding_mask=feature_mask, training=training)
        return self.output_layer(self.normalization(x))

    def memory(self, feature: Tensor, feature_mask: Tensor | None) -> tuple:
        """What the steps of a search need of the encoded sequence.

        Returns:
            Pair: what stays as it is (keys and values of the cross-attention, feature
            and mask), and the empty cache of the self-attention, of `max_length`
            places. The first axis of all tensors is the batch.
        """
        feature = tf.identity(feature)
        rows, width = tf.shape(feature)[0], feature.shape[-1]
        shape = [self.num_heads, width // self.num_heads]
        empty = tf.zeros([rows, 2, self.max_length, *shape], self.compute_dtype)
        keys = tf.zeros([rows, 2, tf.shape(feature)[1], *shape], self.compute_dtype)
        blank = tf.zeros([rows, 1, width], self.compute_dtype)
        crossed = [
            block(
                blank,
                feature,
                encoder_padding_mask=feature_mask,
                self_attention_cache=empty,
                self_attention_cache_update_index=0,
                cross_attention_cache=keys,
                cross_attention_cache_update_index=0,
                training=False,
            )[2]
            for block in self.blocks
        ]
        kept = {"crossed": crossed, "feature": feature}
        if feature_mask is not None:
            kept["mask"] = feature_mask
        return kept, [empty for _ in self.blocks]

    def step(self, tokens: Tensor, place: Tensor, kept: dict, cache: list) -> tuple:
        """Logits `(batch, vocabulary_size)` after the tokens `(batch,)` at a place.

        Args:
            tokens: Integers `(batch,)`.
            place: Scalar integer, 0 for the start token.
            kept: As `memory` gives it.
            cache: As `memory` or the step before gives it.

        Returns:
            The logits, and the new cache.
        """
        x = self.embedding(tokens[:, None], start_index=place)
        new = []
        for block, own, crossed in zip(
            self.blocks, cache, kept["crossed"], strict=True
        ):
            x, own, _ = block(
                x,
                kept["feature"],
                encoder_padding_mask=kept.get("mask"),
                self_attention_cache=own,
                self_attention_cache_update_index=place,
                cross_attention_cache=crossed,
                training=False,
            )
            new.append(own)
        return self.output_layer(self.normalization(x))[:, 0], new

    def compute_mask(self, inputs, previous_mask):
        return None  # That of the encoded sequence is not that of the tokens.

    def compute_output_spec(self, feature, tokens, feature_mask=None, training=None):
        shape = (*tokens.shape, self.vocabulary_size)
        return keras.KerasTensor(shape, self.dtype_policy.variable_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "max_length": self.max_length,
            "units": list(self.units),
            "num_heads": self.num_heads,
            "activation": self.activation,
            "dropout": self.dropout_rate,
        }


class SequenceSearch(keras.layers.Layer):
    """The sequence that a decoder likes best, found by greedy or beam search.

    It is part of models that serve, which are made anew and never saved by Keras.

    Args:
        decoder: A built `SequenceDecoder`.
        options: `SearchOptions`.
        width: Number of candidates; 1 is greedy search.

    Call arguments:
        feature: Encoded sequence `(batch, source length, width)`.
        mask: Optional tensor `(batch, source length)`, 0 or False at padding.

    Returns:
        Dict of `"tokens"`, int32 `(batch, max_length)`, and `"score"`, `(batch,)`.
    """

    def __init__(
        self, decoder: SequenceDecoder, options: SearchOptions, width: int, **kwargs
    ):
        super().__init__(**kwargs)
        self.decoder = decoder
        self.options = options
        self.width = width

    def call(self, feature, mask=None):
        kept, cache = self.decoder.memory(feature, mask)
        kept, cache = (repeated(part, self.width) for part in (kept, cache))

        def step(tokens, place, cache):
            return self.decoder.step(tokens, place, kept, cache)

        arguments = (step, cache, tf.shape(feature)[0], self.options)
        if self.width == 1:
            tokens, score = greedy_search(*arguments)
        else:
            tokens, score = beam_search(*arguments, self.width)
        return {"tokens": tokens, "score": score}

    def compute_mask(self, inputs, previous_mask):
        return None

    def compute_output_spec(self, feature, mask=None):
        rows = feature.shape[0]
        return {
            "tokens": keras.KerasTensor((rows, self.options.max_length), "int32"),
            "score": keras.KerasTensor((rows,), "float32"),
        }
