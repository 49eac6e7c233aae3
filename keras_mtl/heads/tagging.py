"""Heads for one tag per token: each for itself, or as a chain."""

import keras
import tensorflow as tf
from keras import ops

from keras_mtl.heads.bio import allowed_neighbours, is_bio
from keras_mtl.heads.entities import EntityF1
from keras_mtl.heads.head import (
    Head,
    check_label_names,
    check_label_shape,
    in_range,
    output_dtype,
    registry,
)
from keras_mtl.layers import CRF
from keras_mtl.layers.crf import best_path, log_partition
from keras_mtl.utils.checks import check_count
from keras_mtl.utils.types import Tensor


@registry.register("token_tagging")
class TokenTagging(Head):
    """One of several classes per token; raw outputs are logits.

    They have shape `(batch, tokens, num_classes)`. Labels are class indices of shape
    `(batch, tokens)`. A token that has none, such as padding and the later pieces of a
    word, has the value `Task.missing` (`data.augmentation.tags_of_pieces` writes it);
    loss and metrics run over the others. If `label_names` are BIO tags, the F1 of
    entities is a default metric beside the accuracy.

    Served are `"probabilities"` and `"label"` of every token.

    Args:
        num_classes: Integer, at least 2.
        label_names: Optional names of the classes; served as strings.
        **kwargs: `hidden_units`, `activation`, `dropout` of `Head`.

    Example:
    >>> import keras_mtl as mtl
    >>> head = mtl.heads.TokenTagging(3, label_names=["O", "B-area", "I-area"])
    >>> task = mtl.Task("slots", head, missing=-1)
    >>> net = mtl.backbones.Recurrent(input_shape=(None, 8))
    >>> mtl.build_model(net, [task]).output["slots"].shape
    (None, None, 3)
    """

    feature = "sequence"
    feature_rank = 3
    likelihood = "categorical"

    def __init__(
        self, num_classes: int, *, label_names: list[str] | None = None, **kwargs
    ):
        super().__init__(**kwargs)
        self.num_classes = check_count("num_classes", num_classes, 2)
        self.label_names = check_label_names(label_names, num_classes)

    def connect(self, feature, extra_inputs, name):
        return self.logits(feature, self.num_classes, name)

    def class_indices(self, labels: Tensor) -> Tensor:
        return ops.cast(labels, "int32")

    def labels_in_range(self, labels: Tensor) -> Tensor | None:
        return in_range(labels, self.num_classes - 1)

    def activate(self, outputs: Tensor) -> Tensor:
        return ops.softmax(outputs)

    def serving(self, outputs: Tensor) -> dict[str, Tensor]:
        index = ops.cast(ops.argmax(outputs, axis=-1), "int32")
        return {"probabilities": self.activate(outputs), "label": self.named(index)}

    def named(self, index: Tensor) -> Tensor:
        """The names of classes, where there are names; that of -1 is empty."""
        if self.label_names is None:
            return index
        names = tf.constant(["", *self.label_names])
        return tf.gather(names, ops.cast(index, "int32") + 1)

    def default_loss(self):
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def default_metrics(self):
        names = self.label_names
        if names is None or not is_bio(names):
            return [self.accuracy()]
        return [self.accuracy(), EntityF1(names)]

    def accuracy(self):
        return keras.metrics.SparseCategoricalAccuracy(name="accuracy")

    def num_tokens(self, outputs: Tensor) -> int | None:
        """Length of the sequences of these raw outputs, where it is known."""
        return outputs.shape[1]

    def check_labels(self, labels, outputs):
        super().check_labels(labels, outputs)
        tokens = self.num_tokens(outputs)
        if len(labels.shape) != 2 or None not in (tokens, labels.shape[1]):
            check_label_shape(self, labels, [(tokens or "tokens",)])

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "label_names": self.label_names,
        }


@registry.register("crf_tagging")
class CRFTagging(TokenTagging):
    """Tags of the words of a sentence as a chain: scored, and decoded, together.

    A linear-chain conditional random field: beside the logits of `TokenTagging` it
    learns how well tags follow each other, begin and end a sentence. Raw outputs are
    what `layers.CRF` returns, `(batch, tokens + num_classes + 1, num_classes + 1)`;
    labels those of `TokenTagging`. Metrics see the best path, one-hot.

    The chain goes from word to word: positions that are none (padding, later pieces of
    words) are stepped over. The input `word_mask` of the model, booleans of shape
    `(batch, tokens)`, says which are words; heads and a backbone that name the same
    input share it. A word without a label counts as one that has any tag.

    Served are `"label"` of every token (-1, or an empty name, where there is no word)
    and `"probability"`, that of the whole path.

    Args:
        num_classes: Integer, at least 2.
        label_names: Optional names of the classes; served as strings.
        bio: Whether decoding obeys the rule of BIO tags, which `label_names` then have
            to be: `I-X` follows `B-X` or `I-X` only. The loss does not know the rule.
        word_mask: Name of the input, or `None` to take the positions that Keras' mask
            of the feature has (all, if it has no mask).
        **kwargs: `hidden_units`, `activation`, `dropout` of `Head`.

    Raises:
        ValueError: If `bio` is set and the names are not those of BIO tags.

    Cost:
        `tokens · num_classes²` per sentence, one token after the other, for the loss
        and for each metric's best path. 32 sentences of 64 tokens and 40 classes took
        about 30 ms for the loss with its gradient and 8 ms for the best paths, on one
        CPU core. XLA cannot compile the gradient: `jit_compile=True` is an error.

    Example:
    >>> import keras_mtl as mtl
    >>> names = ["O", "B-area", "I-area"]
    >>> head = mtl.heads.CRFTagging(3, label_names=names, bio=True)
    >>> task = mtl.Task("slots", head, missing=-1)
    >>> net = mtl.backbones.Recurrent(input_shape=(None, 8))
    >>> sorted(mtl.build_model(net, [task]).input)
    ['series', 'word_mask']

    Reference:
        - [Lafferty et al., 2001](https://repository.upenn.edu/handle/20.500.14332/6188)
        - [Lample et al., 2016](https://arxiv.org/abs/1603.01360), section 2.2, for the
          layer on a neural network.
    """

    unlabelled = -1

    def __init__(
        self,
        num_classes: int,
        *,
        label_names: list[str] | None = None,
        bio: bool = False,
        word_mask: str | None = "word_mask",
        **kwargs,
    ):
        super().__init__(num_classes, label_names=label_names, **kwargs)
        self.bio = bio
        self.word_mask = word_mask
        self._allowed = allowed_neighbours(self.label_names) if bio else None

    def extra_inputs(self, name):
        if self.word_mask is None:
            return {}
        shape = (None,)
        mask = keras.Input(shape, dtype="bool", name=self.word_mask)
        return {self.word_mask: mask}

    def connect(self, feature, extra_inputs, name):
        emissions = super().connect(feature, extra_inputs, name)
        words = extra_inputs.get(self.word_mask)
        return CRF(name=f"{name}_crf", dtype=output_dtype())(emissions, words=words)

    def activate(self, outputs: Tensor) -> Tensor:
        path, _ = best_path(outputs, self._allowed)
        return ops.one_hot(path, self.num_classes, dtype=outputs.dtype)

    def serving(self, outputs: Tensor) -> dict[str, Tensor]:
        path, score = best_path(outputs, self._allowed)
        probability = ops.exp(score - log_partition(outputs))
        return {"label": self.named(path), "probability": probability}

    def default_loss(self):
        return CRFLoss()

    def num_tokens(self, outputs: Tensor) -> int | None:
        rows = outputs.shape[1]
        return None if rows is None else rows - self.num_classes - 1

    def get_config(self):
        return {**super().get_config(), "bio": self.bio, "word_mask": self.word_mask}


@keras.saving.register_keras_serializable(package="keras_mtl")
class CRFLoss(keras.losses.Loss):
    """Negative log-likelihood of the tags of a sentence, per labelled token.

    `-log p(tags | sentence)`, exact, is divided evenly among the labelled tokens of the
    sentence, so that the mean over labelled tokens is the likelihood of all sentences
    by the number of their tags, on the scale of the cross-entropy of a softmax. A
    weight of a sentence (`sample_weight`) weighs its likelihood; weights of tokens
    (`class_weight`) count by their mean over the sentence.

    Call arguments:
        y_true: Class indices of shape `(batch, tokens)`, negative where there is no
            label: the likelihood is then that of the other tags.
        y_pred: What `layers.CRF` returns.

    Returns:
        Tensor of shape `(batch, tokens)`, 0 where there is no label.
    """

    def __init__(self, name: str = "crf_loss", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        tags = ops.cast(ops.round(y_true), "int32")
        # One pass for both sums: over the paths of these tags, and over all.
        tokens = ops.shape(y_pred)[1] - y_pred.shape[2]
        any_tag = ops.full((ops.shape(y_pred)[0], tokens), -1, dtype="int32")
        both = log_partition(
            ops.concatenate([y_pred, y_pred], axis=0),
            ops.concatenate([tags, any_tag], axis=0),
        )
        of_tags, of_all = ops.split(both, 2)
        labelled = ops.cast(tags >= 0, y_pred.dtype)
        count = ops.maximum(ops.sum(labelled, axis=-1), 1.0)
        return labelled * ops.expand_dims((of_all - of_tags) / count, -1)
