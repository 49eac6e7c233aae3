"""Precision, recall and F1 of entities that BIO tags mark."""

import keras
import tensorflow as tf
from keras import ops

from keras_mtl.heads.bio import entity_types, tag_table
from keras_mtl.utils.checks import check_choice
from keras_mtl.utils.types import Tensor

_AVERAGES = ("micro", "macro", "weighted")


@keras.saving.register_keras_serializable(package="keras_mtl")
class EntityF1(keras.metrics.Metric):
    """F1 of entities: type, first and last word have to be right.

    An entity of type X begins at `B-X`, and at an `I-X` that does not go on with one
    (the lenient reading of `conlleval`, which `seqeval` has by default); it ends before
    the next beginning, `O` or other type. With `TP` entities that are in both,

        precision = TP / predicted,   recall = TP / true,
        F1 = 2 precision recall / (precision + recall)

    and 0 where a denominator is 0. Counts are kept, not means: the result does not
    depend on how sentences are batched, or divided among replicas.

    Args:
        label_names: Names of the tags.
        average: `"micro"`: of all entities together. `"macro"`: the mean over the types
            that occur. `"weighted"`: the same, weighted by their true entities.
        name: Name of the metric.

    Call arguments:
        y_true: Class indices of shape `(batch, tokens)`, negative where there is none.
        y_pred: Scores or probabilities of shape `(batch, tokens, num_classes)`.
        sample_weight: Weights of shape `(batch, tokens)`, or `(batch,)`. A token of
            weight 0 is no word: its neighbours are neighbours of each other. An entity
            has the weight of its first word.

    Raises:
        ValueError: If the names are not those of BIO tags, or for an unknown average.

    Example:
    >>> metric = EntityF1(["O", "B-area", "I-area"])
    >>> found = ops.one_hot([[1, 2, 0, 1]], 3)
    >>> metric.update_state([[1, 2, 0, 0]], found)
    >>> round(float(metric.result()), 4)  # precision 1/2, recall 1
    0.6667

    Reference:
        - [Tjong Kim Sang & De Meulder, 2003](https://aclanthology.org/W03-0419/)
        - [seqeval](https://github.com/chakki-works/seqeval), `mode=None`.
    """

    def __init__(
        self,
        label_names: list[str],
        *,
        average: str = "micro",
        name: str = "entity_f1",
        dtype=None,
    ):
        super().__init__(name=name, dtype=dtype)
        self._types, self._begins = tag_table(label_names)
        self.label_names = list(label_names)
        self.average = check_choice("average", average, _AVERAGES)
        # Entities that are right, predicted and true, by type.
        shape = (3, len(entity_types(self.label_names)))
        self.counts = self.add_variable(shape, initializer="zeros", name="counts")

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        true = ops.cast(y_true, "int32")
        found = ops.cast(ops.argmax(y_pred, axis=-1), "int32")
        weights = ops.ones_like(true, dtype=self.dtype)
        if sample_weight is not None:
            given = ops.cast(sample_weight, self.dtype)
            given = ops.expand_dims(given, -1) if len(given.shape) == 1 else given
            weights = weights * given
        weights = tf.where(true < 0, tf.zeros_like(weights), weights)
        # Words first, so that neighbours are neighbours.
        place = tf.argsort(tf.cast(weights <= 0, "int32"), axis=-1, stable=True)
        true, found, weights = (
            tf.gather(x, place, batch_dims=1) for x in (true, found, weights)
        )
        there = weights > 0
        starts, kinds, lengths = self._entities(true, there)
        found_starts, found_kinds, found_lengths = self._entities(found, there)
        same = (kinds == found_kinds) & (lengths == found_lengths)
        right = starts & found_starts & same
        self.counts.assign_add(
            ops.stack(
                [
                    self._by_type(right, kinds, weights),
                    self._by_type(found_starts, found_kinds, weights),
                    self._by_type(starts, kinds, weights),
                ]
            )
        )

    def _entities(self, tags, there):
        """Where entities begin, their types, and their lengths where they begin."""
        tags = tf.maximum(tags, 0)
        kinds = tf.where(there, tf.gather(self._types, tags), -1)
        before = tf.pad(kinds[:, :-1], [[0, 0], [1, 0]], constant_values=-1)
        begins = tf.gather(self._begins, tags) | (kinds != before)
        inside = kinds >= 0
        starts = inside & begins
        number = tf.cumsum(tf.cast(tf.reshape(starts, [-1]), "int32"))
        counted = tf.cast(tf.reshape(inside, [-1]), "int32")
        sizes = tf.math.unsorted_segment_sum(counted, number, tf.size(number) + 1)
        return starts, kinds, tf.reshape(tf.gather(sizes, number), tf.shape(tags))

    def _by_type(self, chosen, kinds, weights):
        weights = tf.where(chosen, weights, tf.zeros_like(weights))
        # Ids below 0 are left out.
        return tf.math.unsorted_segment_sum(weights, kinds, self.counts.shape[1])

    def result(self) -> Tensor:
        right, found, true = ops.unstack(ops.convert_to_tensor(self.counts), 3)
        if self.average == "micro":
            return self._score(ops.sum(right), ops.sum(found), ops.sum(true))
        share = true
        if self.average == "macro":
            share = ops.cast(found + true > 0, self.dtype)
        scores = self._score(right, found, true)
        return _quotient(ops.sum(share * scores), ops.sum(share))

    def _score(self, right, found, true):
        return _quotient(2.0 * right, found + true)

    def get_config(self):
        return {
            "name": self.name,
            "dtype": self.dtype,
            "label_names": self.label_names,
            "average": self.average,
        }


@keras.saving.register_keras_serializable(package="keras_mtl")
class EntityPrecision(EntityF1):
    """Share of the predicted entities that are right; see `EntityF1`."""

    def __init__(self, label_names, *, name: str = "entity_precision", **kwargs):
        super().__init__(label_names, name=name, **kwargs)

    def _score(self, right, found, true):
        return _quotient(right, found)


@keras.saving.register_keras_serializable(package="keras_mtl")
class EntityRecall(EntityF1):
    """Share of the true entities that are found; see `EntityF1`."""

    def __init__(self, label_names, *, name: str = "entity_recall", **kwargs):
        super().__init__(label_names, name=name, **kwargs)

    def _score(self, right, found, true):
        return _quotient(right, true)


def _quotient(a, b):
    """`a / b`, and 0 where `b` is 0."""
    return tf.math.divide_no_nan(a, b)
