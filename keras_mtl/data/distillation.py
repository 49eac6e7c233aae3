"""Labels that another model makes."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_mtl.data.labels import label_mask
from keras_mtl.utils.checks import check_keys


def distilled(
    dataset: tf.data.Dataset, model: Any, tasks: Sequence[str] | None = None
) -> tf.data.Dataset:
    """Labels what has no label with the predictions of a model.

    The way to keep what a model knows while it learns from data that lack the labels
    of its old tasks (learning without forgetting), or to teach a smaller one. The
    labels are what metrics see of a task (`Head.activate`): probabilities for classes,
    so a `Classification` task needs a head with `one_hot=True` to learn from them, and
    values in units of the labels for a `Regression`.

    A label that is there stays. Where the batches have no key of a task all examples
    get predictions; where they have, those whose label is `NaN`, `Task.missing`, or
    masked by `"<label>_mask"`, which is then left out.

    Args:
        dataset: Batches `(x, y)` or `(x, y, sample_weight)`, where `y` is a dict.
        model: The model that predicts, with `tasks` and a dict of outputs, such as a
            trained `MultiTaskModel`. Its variables are read when a batch is made, so
            take another object than the model that is trained.
        tasks: Names of its tasks that shall be distilled; all by default.

    Returns:
        Dataset of the same batches, with more labels.

    Raises:
        ValueError: For a name that is no task of the model, `y` that is no dict, or
            labels that are there but have not the shape of the predictions.

    Cost: A forward pass of `model` per batch, in the input pipeline; `.cache()` after
        it makes it one pass over the data in all.

    Example:
    >>> import numpy as np
    >>> import keras_mtl as mtl
    >>> old = mtl.build_model(mtl.backbones.MLP(input_shape=(2,)),
    ...     [mtl.Task("kind", mtl.heads.Classification(3, one_hot=True))])
    >>> data = tf.data.Dataset.from_tensors((np.ones((4, 2)), {"price": np.ones(4)}))
    >>> x, y = next(iter(mtl.data.distilled(data, old)))
    >>> {key: tuple(value.shape) for key, value in y.items()}
    {'price': (4,), 'kind': (4, 3)}

    Reference:
        - [Li & Hoiem, 2016](https://arxiv.org/abs/1606.09282)
    """
    names = [task.name for task in model.tasks]
    chosen = names if tasks is None else list(tasks)
    check_keys("tasks", chosen, names)
    teachers = [task for task in model.tasks if task.name in chosen]

    def with_predictions(x, y, *weights):
        if not isinstance(y, dict):
            raise ValueError(
                "Expected the labels of `dataset` to be a dict by task. "
                f"Received: y of type {type(y).__name__}"
            )
        outputs = model(x, training=False)
        y = dict(y)
        for task in teachers:
            predicted = tf.stop_gradient(task.head.activate(outputs[task.name]))
            mask = y.pop(task.mask_key, None)
            y[task.label] = _completed(task, y.get(task.label), mask, predicted)
        return (x, y, *weights)

    return dataset.map(with_predictions)


def _completed(task, labels, mask, predicted):
    """The labels, with predictions in the place of those that are missing."""
    if labels is None:
        return predicted
    labels = keras.ops.convert_to_tensor(labels)
    if len(labels.shape) == len(predicted.shape) - 1 and predicted.shape[-1] == 1:
        labels = labels[..., None]
    if not labels.shape.is_compatible_with(predicted.shape):
        raise ValueError(
            f"Task {task.name!r}: expected labels of the shape of the predictions "
            f"{tuple(predicted.shape)}. Received: shape={tuple(labels.shape)}. A head "
            "for classes needs `one_hot=True` to be distilled"
        )
    present = label_mask(labels, task.missing, mask)
    labels = tf.cast(labels, predicted.dtype)
    return labels if present is None else tf.where(present, labels, predicted)
