"""Labels that a model gives to examples that lack them."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from keras import callbacks

from keras_mtl import heads
from keras_mtl.data.labels import label_mask
from keras_mtl.data.seeding import check_pairs
from keras_mtl.training.model import MultiTaskModel
from keras_mtl.utils.checks import check_count, check_keys, check_share

_ONE_OF_MANY = (heads.Classification, heads.Segmentation)
_YES_OR_NO = (heads.BinaryClassification, heads.MultiLabelClassification)


class PseudoLabels(callbacks.Callback):
    """Fills missing labels where a frozen copy of a model is confident.

    Labels that are there stay. Of the missing ones of a task (those of single pixels
    too) each becomes the class to which the copy gives a probability of at least the
    task's threshold; the others stay missing.

    With the model that is trained, pass the object to `fit` as a callback as well: it
    copies the variables at the beginning of every epoch. Without, the copy stays what
    it was, a teacher. Give `filled` the data before `augment`: the copy then labels
    plain inputs, and the model learns from changed ones.

    Filled labels count as much as others, and the training metrics run over them too.

    Args:
        model: The model that is trained, or a teacher with tasks of the same names.
        thresholds: Dict from the name of a task to a probability. The heads are
            `Classification`, `BinaryClassification`, `MultiLabelClassification` and
            `Segmentation`.
        start_epoch: First epoch in which labels are filled, if this is a callback.

    Raises:
        ValueError: For an unknown task, a head that has no probabilities, or if the
            object is made in the scope of a strategy, where the data do not live.

    Cost: one more forward pass of the model, on the CPU, in the input pipeline.

    Example:

    >>> import keras_mtl as mtl
    >>> task = mtl.Task("digit", mtl.heads.Classification(3), missing=-1)
    >>> net = mtl.backbones.MLP(input_shape=(2,), units=(4,))
    >>> model = mtl.build_model(net, [task])
    >>> pseudo = mtl.callbacks.PseudoLabels(model, {"digit": 0.0})
    >>> data = tf.data.Dataset.from_tensors((tf.ones((2, 2)), {"digit": [2, -1]}))
    >>> x, y = next(iter(pseudo.filled(data)))
    >>> int(y["digit"][0]), int(y["digit"][1]) in (0, 1, 2)
    (2, True)

    Reference:
        - [Lee, 2013](http://deeplearning.net/wp-content/uploads/2013/03/pseudo_label_final.pdf);
          the threshold is that of [Sohn et al., 2020](https://arxiv.org/abs/2001.07685),
          equation 4.
    """

    def __init__(
        self,
        model: MultiTaskModel,
        thresholds: Mapping[str, float],
        *,
        start_epoch: int = 0,
    ) -> None:
        super().__init__()
        check_keys("thresholds", thresholds, model.task_names)
        self.thresholds = {
            name: check_share("thresholds", value) for name, value in thresholds.items()
        }
        self.start_epoch = check_count("start_epoch", start_epoch, 0)
        self._tasks = [task for task in model.tasks if task.name in thresholds]
        for task in self._tasks:
            if not isinstance(task.head, (*_ONE_OF_MANY, *_YES_OR_NO)):
                raise ValueError(
                    "Expected `thresholds` to name tasks whose heads give "
                    f"probabilities of classes. Received: {task.name!r} with "
                    f"{type(task.head).__name__}"
                )
        if tf.distribute.has_strategy():
            raise ValueError(
                "Expected `PseudoLabels` to be made outside of the strategy's scope. "
                f"Received: strategy={type(tf.distribute.get_strategy()).__name__}"
            )
        self._source = model
        # Pipelines run on the CPU, and cannot read variables that live elsewhere.
        with tf.device("CPU:0"):
            self._copy = type(model).from_config(model.get_config())
            self._ready = tf.Variable(start_epoch == 0, trainable=False)
        self._refresh()

    def filled(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """The batches with more labels.

        Args:
            dataset: Batches `(x, y)` or `(x, y, sample_weight)`; `x` as the model takes
                it, `y` a dict. A task whose key is absent gets labels and a mask.

        Returns:
            A `tf.data.Dataset`.

        Raises:
            ValueError: If labels of a task cannot be missing: integers, without
                `Task.missing` or a mask.
        """
        check_pairs(dataset)

        @tf.autograph.experimental.do_not_convert
        def fill(x, y, *weights):
            outputs = self._copy(x, training=False)
            y = dict(y)
            for task in self._tasks:
                y.update(self._labels(task, y, outputs[task.name]))
            return (x, y, *weights)

        return dataset.map(
            fill, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )

    def on_epoch_begin(self, epoch: int, logs: Mapping | None = None) -> None:
        """Copies the variables; `fit` starts the pipeline after this call."""
        self._ready.assign(epoch >= self.start_epoch)
        if epoch >= self.start_epoch:
            self._refresh()

    def _refresh(self):
        self._copy.set_weights(self._source.get_weights())

    def _labels(self, task, y, outputs):
        """What changes in `y` for one task."""
        guess, confidence = _guess(task.head, outputs)
        confident = confidence >= self.thresholds[task.name]
        confident = tf.logical_and(confident, self._ready)
        labels, mask = y.get(task.label), y.get(task.mask_key)
        if labels is None:
            return {task.label: guess, task.mask_key: confident}
        labels = tf.convert_to_tensor(labels)
        there = label_mask(labels, task.missing, mask)
        if there is None:
            raise ValueError(
                f"Task {task.name!r}: no label can be missing. Expected a value that "
                "means it, such as `Task(missing=-1)`, or a mask "
                f"{task.mask_key!r} in `y`. Received: integer labels without either"
            )
        shape = tf.shape(labels)
        guess = tf.reshape(tf.cast(guess, labels.dtype), shape)
        confident = tf.reshape(confident, shape)
        filled = {
            task.label: tf.where(there, labels, tf.where(confident, guess, labels))
        }
        if mask is not None:
            filled[task.mask_key] = tf.logical_or(there, confident)
        return filled


def _guess(head: heads.Head, outputs: Any):
    """Most probable labels and their probabilities, both of the labels' shape."""
    probabilities = head.activate(outputs)
    if isinstance(head, _YES_OR_NO):
        guess = tf.cast(probabilities >= 0.5, tf.int32)
        return guess, tf.maximum(probabilities, 1.0 - probabilities)
    index = tf.argmax(probabilities, axis=-1, output_type=tf.int32)
    confidence = tf.reduce_max(probabilities, axis=-1)
    if isinstance(head, heads.Classification) and head.one_hot:
        rows = tf.one_hot(index, head.num_classes)
        return rows, tf.broadcast_to(confidence[:, None], tf.shape(rows))
    return index, confidence
