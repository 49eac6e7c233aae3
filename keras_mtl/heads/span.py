"""Head for a span of tokens: where the answer stands in a text."""

import keras
import tensorflow as tf
from keras import layers, ops

from keras_mtl.heads.head import Head, check_label_shape, output_dtype, registry
from keras_mtl.utils.checks import check_count
from keras_mtl.utils.types import Tensor

# The score of a token at which no span may begin or end.
_EXCLUDED = -1e9


@registry.register("span_extraction")
class SpanExtraction(Head):
    """The first and the last token of a span; raw outputs are two scores per token.

    They have shape `(batch, tokens, 2)`. Labels are `(first, last)`, both part of the
    span, as token positions from 0, shape `(batch, 2)`. A text without an answer has no
    label, or one that points at a token that stands for "none" (often the first). The
    loss is the mean of the two cross-entropies; a label outside of the text, or at an
    excluded token, makes it NaN (see `BalancingOptions.on_nonfinite`).

    The input `span_mask` of the model, booleans of shape `(batch, tokens)`, says which
    tokens may be in a span: not those of the question, nor padding.

    Metrics see the best span with `first <= last` and at most `max_length` tokens,
    `(batch, 2)`. Served are `"start"` and `"end"`, integers of shape `(batch,)`, -1 if
    all tokens are excluded, and `"probability"`, that of the first token times that of
    the last one.

    Args:
        max_length: Integer, number of tokens in the longest span that is predicted.
        span_mask: Name of the input, or `None` to take the tokens that Keras' mask of
            the feature has (all, if it has no mask).
        **kwargs: `hidden_units`, `activation`, `dropout` of `Head`.

    Example:
    >>> import keras_mtl as mtl
    >>> task = mtl.Task("answer", mtl.heads.SpanExtraction(max_length=10))
    >>> model = mtl.build_model(mtl.backbones.Recurrent(input_shape=(None, 8)), [task])
    >>> sorted(model.input), model.output["answer"].shape
    (['series', 'span_mask'], (None, None, 2))

    Reference:
        - [Devlin et al., 2019](https://arxiv.org/abs/1810.04805), section 4.2.
    """

    feature = "sequence"
    feature_rank = 3
    likelihood = "categorical"

    def __init__(
        self, max_length: int = 30, *, span_mask: str | None = "span_mask", **kwargs
    ):
        super().__init__(**kwargs)
        self.max_length = check_count("max_length", max_length)
        self.span_mask = span_mask

    def extra_inputs(self, name):
        if self.span_mask is None:
            return {}
        mask = keras.Input((None,), dtype="bool", name=self.span_mask)
        return {self.span_mask: mask}

    def connect(self, feature, extra_inputs, name):
        scores = self.logits(feature, 2, name)
        exclude = ExcludeTokens(name=f"{name}_excluded", dtype=output_dtype())
        return exclude(scores, tokens=extra_inputs.get(self.span_mask))

    def labels_in_range(self, labels: Tensor) -> Tensor | None:
        ordered = labels[:, :1] <= labels[:, 1:]
        return ops.logical_and(labels >= 0, ordered)

    def activate(self, outputs: Tensor) -> Tensor:
        first, last, _ = self._best(outputs)
        return ops.cast(ops.stack([first, last], axis=-1), outputs.dtype)

    def serving(self, outputs: Tensor) -> dict[str, Tensor]:
        first, last, probability = self._best(outputs)
        return {"start": first, "end": last, "probability": probability}

    def _best(self, outputs):
        """First and last token of the best span, and its probability."""
        log_p = ops.log_softmax(outputs, axis=1)
        starts, ends = log_p[..., 0], log_p[..., 1]
        tokens = ops.shape(outputs)[1]
        last = ops.expand_dims(ops.arange(tokens), 1) + ops.arange(self.max_length)
        inside = last < tokens
        of_end = ops.take(ends, ops.minimum(last, tokens - 1), axis=1)
        scores = ops.expand_dims(starts, -1) + of_end
        scores = ops.where(inside, scores, ops.full_like(scores, 2 * _EXCLUDED))
        flat = ops.reshape(scores, (-1, tokens * self.max_length))
        index = ops.cast(ops.argmax(flat, axis=-1), "int32")
        probability = ops.exp(tf.reduce_max(flat, axis=-1))
        first = index // self.max_length
        found = tf.reduce_max(outputs[..., 0], axis=1) > _EXCLUDED / 2
        nothing = ops.full_like(first, -1)
        return (
            ops.where(found, first, nothing),
            ops.where(found, first + index % self.max_length, nothing),
            ops.where(found, probability, ops.zeros_like(probability)),
        )

    def default_loss(self):
        return SpanLoss()

    def default_metrics(self):
        return [SpanMatch(), SpanOverlap()]

    def accuracy(self):
        return SpanMatch(name="accuracy")

    def check_labels(self, labels, outputs):
        super().check_labels(labels, outputs)
        check_label_shape(self, labels, [(2,)])

    def get_config(self):
        return {
            **super().get_config(),
            "max_length": self.max_length,
            "span_mask": self.span_mask,
        }


@keras.saving.register_keras_serializable(package="keras_mtl")
class ExcludeTokens(layers.Layer):
    """Gives tokens that are not `tokens` (or not in Keras' mask) a very low score."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(
        self, inputs: Tensor, tokens: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        kept = mask if tokens is None else tokens
        if kept is None:
            return inputs
        kept = ops.expand_dims(ops.cast(kept, "bool"), -1)
        return ops.where(kept, inputs, ops.full_like(inputs, _EXCLUDED))

    def compute_mask(self, inputs, *args, **kwargs):
        return None

    def compute_output_shape(self, inputs_shape, tokens_shape=None):
        return inputs_shape


@keras.saving.register_keras_serializable(package="keras_mtl")
class SpanLoss(keras.losses.Loss):
    """Mean of the cross-entropies of the first and of the last token.

    Call arguments:
        y_true: Positions of shape `(batch, 2)`.
        y_pred: Scores of shape `(batch, tokens, 2)`.

    Returns:
        Tensor of shape `(batch,)`, NaN where a position is none of an included token.
    """

    def __init__(self, name: str = "span_loss", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        tokens = ops.shape(y_pred)[1]
        place = ops.cast(ops.round(y_true), "int32")
        known = ops.logical_and(place >= 0, place < tokens)
        place = ops.expand_dims(ops.where(known, place, ops.zeros_like(place)), 1)
        picked = ops.take_along_axis(y_pred, place, axis=1)
        log_p = ops.take_along_axis(ops.log_softmax(y_pred, axis=1), place, axis=1)
        possible = ops.logical_and(known, ops.squeeze(picked, 1) > _EXCLUDED / 2)
        log_p = ops.squeeze(log_p, 1)
        nan = ops.full_like(log_p, float("nan"))
        return -ops.mean(ops.where(possible, log_p, nan), axis=-1)


@keras.saving.register_keras_serializable(package="keras_mtl")
class SpanMatch(keras.metrics.MeanMetricWrapper):
    """Share of the spans of which both ends are right."""

    def __init__(self, name: str = "exact_match", dtype=None):
        super().__init__(fn=_match, name=name, dtype=dtype)

    def get_config(self):
        return {"name": self.name, "dtype": self.dtype}


@keras.saving.register_keras_serializable(package="keras_mtl")
class SpanOverlap(keras.metrics.MeanMetricWrapper):
    """Mean F1 of the tokens of the true and of the predicted span.

    Twice the tokens in both over the tokens of the one and of the other; by position,
    where the figures of SQuAD compare words whatever their place.
    """

    def __init__(self, name: str = "overlap_f1", dtype=None):
        super().__init__(fn=_overlap, name=name, dtype=dtype)

    def get_config(self):
        return {"name": self.name, "dtype": self.dtype}


def _match(y_true, y_pred):
    same = ops.equal(ops.cast(y_true, y_pred.dtype), y_pred)
    return ops.cast(ops.all(same, axis=-1), y_pred.dtype)


def _overlap(y_true, y_pred):
    y_true = ops.cast(y_true, y_pred.dtype)
    first = ops.maximum(y_true[:, 0], y_pred[:, 0])
    last = ops.minimum(y_true[:, 1], y_pred[:, 1])
    common = ops.maximum(last - first + 1.0, 0.0)
    # No span, -1 to -1, has no token.
    lengths = [span[:, 1] - span[:, 0] + 1.0 for span in (y_true, y_pred)]
    none = ops.cast(y_pred[:, 0] < 0, y_pred.dtype)
    return 2.0 * common / ops.maximum(lengths[0] + lengths[1] - none, 1.0)
