"""Head for embeddings of pairs: what belongs together is close."""

import keras
import tensorflow as tf
from keras import ops

from keras_mtl.heads.head import Head, check_label_shape, output_dtype, registry
from keras_mtl.layers import EmbeddingPair
from keras_mtl.utils.checks import check_count, check_positive
from keras_mtl.utils.types import Tensor

_SHORTEST = 1e-12
_EXCLUDED = -1e9


@registry.register("contrastive_embedding")
class ContrastiveEmbedding(Head):
    """Embeddings of two features of an example, close for those that belong together.

    Two features, of a question and of its answer or of an image and its text, are each
    projected to `dim` numbers, and compared by their cosine. The loss (symmetric
    InfoNCE) tells the partner of each from those of the other examples **in the batch
    of the replica**: on several replicas there are fewer negatives, so the loss is not
    that of one device with the whole batch.

    The task needs no labels. With labels, integers of shape `(batch,)`, examples of one
    number belong together, and are no negatives of each other (an answer that the batch
    has twice). An example with a missing label (`Task.missing`, or False in the mask
    beside the labels), such as one that lacks one of the two, is left out, also as a
    negative.

    Raw outputs have shape `(batch, 2, dim)`; the inner product of two is their cosine
    over the temperature. Metrics see them with length 1, and so they are served, as
    `"embedding"` and `"other_embedding"`, with their cosine, `"similarity"`. Each
    depends on its own feature alone: for one, give anything in the place of the other.

    `backbones.Fusion` gives a feature per modality:
    `Task("match", ContrastiveEmbedding(64, other_feature="text"), feature="photo")`.

    Args:
        dim: Integer, width of the embeddings.
        other_feature: Name of the second feature of the backbone.
        temperature: Number `>= 0.01`, or its first value.
        learn_temperature: Whether it is learned; it stays above 0.01.
        share_projection: Whether both features, which then have one width, pass the
            same layers.
        **kwargs: `hidden_units`, `activation`, `dropout` of `Head`.

    Example (one encoder for both):

    >>> import keras_mtl as mtl
    >>> encoder = mtl.backbones.MLP(input_shape=(8,), units=(16,))
    >>> sides = {key: keras.Input((8,), name=key) for key in ("question", "answer")}
    >>> features = {
    ...     "pooled": encoder(sides["question"])["pooled"],
    ...     "other": encoder(sides["answer"])["pooled"],
    ... }
    >>> head = mtl.heads.ContrastiveEmbedding(4)
    >>> model = mtl.build_model(keras.Model(sides, features), [mtl.Task("match", head)])
    >>> model.output["match"].shape
    (None, 2, 4)

    Reference:
        - [van den Oord et al., 2018](https://arxiv.org/abs/1807.03748), InfoNCE.
        - [Radford et al., 2021](https://arxiv.org/abs/2103.00020), symmetric.
    """

    needs_label = False
    likelihood = "categorical"
    unlabelled = -1

    def __init__(
        self,
        dim: int,
        *,
        other_feature: str = "other",
        temperature: float = 0.07,
        learn_temperature: bool = False,
        share_projection: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.dim = check_count("dim", dim)
        self.other_feature = other_feature
        self.temperature = check_positive("temperature", temperature)
        if temperature < 0.01:
            raise ValueError(
                "Expected `temperature` to be at least 0.01. "
                f"Received: temperature={temperature}"
            )
        self.learn_temperature = learn_temperature
        self.share_projection = share_projection

    def connect(self, feature, extra_inputs, name):
        features = [feature, extra_inputs[self.other_feature]]
        if self.share_projection:
            inputs = keras.Input(feature.shape[1:], dtype=feature.dtype)
            outputs = self.logits(inputs, self.dim, name)
            projection = keras.Model(inputs, outputs, name=f"{name}_projection")
            embeddings = [projection(x) for x in features]
        else:
            embeddings = [
                self.logits(x, self.dim, part)
                for x, part in zip(features, (name, f"{name}_other"), strict=True)
            ]
        pair = EmbeddingPair(
            self.temperature,
            self.learn_temperature,
            name=f"{name}_pair",
            dtype=output_dtype(),
        )
        return pair(embeddings)

    def own_labels(self, outputs: Tensor) -> Tensor:
        return ops.arange(ops.shape(outputs)[0], dtype="int32")

    def prepare_labels(self, labels: Tensor) -> Tensor:
        return ops.squeeze(labels, axis=-1) if len(labels.shape) == 2 else labels

    def activate(self, outputs: Tensor) -> Tensor:
        return ops.normalize(outputs, axis=-1, epsilon=_SHORTEST)

    def serving(self, outputs: Tensor) -> dict[str, Tensor]:
        embedding, other = ops.unstack(self.activate(outputs), 2, axis=1)
        similarity = ops.sum(embedding * other, axis=-1)
        return {
            "embedding": embedding,
            "other_embedding": other,
            "similarity": similarity,
        }

    def default_loss(self):
        return InfoNCE()

    def default_metrics(self):
        return [RecallAtK(1, name="recall_at_1")]

    def accuracy(self):
        return RecallAtK(1, name="accuracy")

    def check_labels(self, labels, outputs):
        super().check_labels(labels, outputs)
        check_label_shape(self, labels, [(), (1,)])

    def get_config(self):
        return {
            **super().get_config(),
            "dim": self.dim,
            "other_feature": self.other_feature,
            "temperature": self.temperature,
            "learn_temperature": self.learn_temperature,
            "share_projection": self.share_projection,
        }


@keras.saving.register_keras_serializable(package="keras_mtl")
class InfoNCE(keras.losses.Loss):
    """Cross-entropy of finding the partner among all of the batch, both ways.

        loss_i = − ½ log softmax_j(⟨u_i, v_j⟩)_i − ½ log softmax_j(⟨u_j, v_i⟩)_i

    where `j` runs over `i` and the examples of other labels than `i`.

    Call arguments:
        y_true: Integers below 2²⁴, shape `(batch,)`; negative for an example that
            is nobody's negative.
        y_pred: Pairs `(u, v)` of shape `(batch, 2, dim)`.

    Returns:
        Tensor of shape `(batch,)`.
    """

    def __init__(self, name: str = "info_nce", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        logits = _products(y_pred)
        negative = ops.logical_not(_same(y_true))
        negative = ops.logical_and(negative, ops.expand_dims(y_true >= 0, 0))
        own = ops.eye(ops.shape(logits)[0], dtype="bool")
        compared = ops.logical_or(own, negative)
        positive = tf.linalg.diag_part(logits)
        losses = []
        for direction in (logits, ops.transpose(logits)):
            kept = ops.where(compared, direction, ops.full_like(logits, _EXCLUDED))
            losses.append(ops.logsumexp(kept, axis=-1) - positive)
        return (losses[0] + losses[1]) / 2.0


@keras.saving.register_keras_serializable(package="keras_mtl")
class RecallAtK(keras.metrics.Mean):
    """Share of the examples whose partner is among the `k` nearest of the batch.

    A partner is any example of the same label. One that is as near as another counts
    as farther. The result depends on the size of the batch (of the replica):
    `analysis.retrieval_recall` searches among all examples.

    Args:
        k: Integer, at least 1.
        name: Name of the metric; by default `"recall_at_<k>"`.

    Call arguments:
        y_true: Integers of shape `(batch,)`.
        y_pred: Pairs of embeddings of shape `(batch, 2, dim)`; the first one seeks.
        sample_weight: Weights of shape `(batch,)`; an example of weight 0 is left out,
            also where others seek.

    Example:
    >>> metric = RecallAtK(1)
    >>> u = ops.array([[1.0, 0.0], [0.6, 0.8]])
    >>> metric.update_state([0, 1], ops.stack([u, u[::-1]], axis=1))
    >>> float(metric.result())
    0.0
    """

    def __init__(self, k: int = 1, *, name: str | None = None, dtype=None):
        self.k = check_count("k", k)
        super().__init__(name=name or f"recall_at_{k}", dtype=dtype)

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        near = _products(ops.convert_to_tensor(y_pred))
        weights = ops.ones_like(near[:, 0])
        if sample_weight is not None:
            weights = weights * ops.cast(ops.reshape(sample_weight, (-1,)), near.dtype)
        partner = _same(ops.convert_to_tensor(y_true))
        there = ops.expand_dims(weights > 0, 0)
        away = ops.full_like(near, float("-inf"))
        best = ops.where(ops.logical_and(partner, there), near, away)
        best = tf.reduce_max(best, axis=-1, keepdims=True)
        rival = ops.logical_and(there, ops.logical_not(partner))
        nearer = ops.logical_and(rival, near >= best)
        rank = ops.sum(ops.cast(nearer, "int32"), axis=-1)
        super().update_state(ops.cast(rank < self.k, self.dtype), sample_weight=weights)

    def get_config(self):
        return {"name": self.name, "dtype": self.dtype, "k": self.k}


def _products(pairs):
    """Inner products of the first vectors with the second ones, `(batch, batch)`."""
    return ops.matmul(pairs[:, 0], ops.transpose(pairs[:, 1]))


def _same(labels):
    return ops.equal(ops.expand_dims(labels, 0), ops.expand_dims(labels, 1))
