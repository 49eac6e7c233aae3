"""Elastic weight consolidation: a penalty for moving what earlier tasks need."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_mtl.task import Task
from keras_mtl.training import MultiTaskModel
from keras_mtl.training.batch import measure
from keras_mtl.training.compiling import with_losses
from keras_mtl.utils.checks import check_count, check_positive
from keras_mtl.utils.types import Tensor


def fisher_information(
    model: MultiTaskModel, data: Any, *, num_examples: int | None = None
) -> dict[str, np.ndarray]:
    """How much the losses of the tasks depend on each entry of each variable.

        F[i] = mean over examples of (∂ Σ losses / ∂ θ[i])²

    the diagonal of the Fisher information, at the labels of the data ("empirical"),
    where the losses are negative log-likelihoods.

    Args:
        model: A trained model. The losses are those of its tasks and heads.
        data: Data of the tasks that shall be protected: a data set of batches `(x, y)`,
            or a pair of arrays or dicts of arrays.
        num_examples: Number of examples that are used, the first ones; all by default.

    Returns:
        Dict from the path of each trainable variable to an array of its shape.

    Raises:
        ValueError: For a number below 1, or data without examples.

    Cost: A forward and a backward pass per example.

    Reference:
        - [Kirkpatrick et al., 2017](https://arxiv.org/abs/1612.00796), section 2; the
          paper leaves open at which labels.
    """
    if num_examples is not None:
        check_count("num_examples", num_examples)
    if isinstance(data, tf.data.Dataset):
        examples = data.unbatch()
    else:
        examples = tf.data.Dataset.from_tensor_slices(tuple(data))
    if num_examples is not None:
        examples = examples.take(num_examples)
    squares = _Squares(model)
    count = 0
    for x, y in examples.batch(1):
        squares.add(x, y)
        count += 1
    if not count:
        raise ValueError(
            f"Expected `data` to have at least one example. Received: data={data!r}"
        )
    return {
        variable.path: total.numpy() / count
        for variable, total in zip(squares.variables, squares.totals, strict=True)
    }


class _Squares:
    """Sums of squared gradients of single examples."""

    def __init__(self, model: MultiTaskModel):
        self._model = model
        self._tasks: tuple[Task, ...] = with_losses(model.tasks, None)
        self.variables = model.trainable_variables
        self.totals = [tf.Variable(tf.zeros(v.shape, v.dtype)) for v in self.variables]

    @tf.function(reduce_retracing=True)
    def add(self, x, y):
        """Adds an example, a batch of one."""
        with tf.GradientTape() as tape:
            outputs = self._model(x, training=False)
            batch = measure(self._tasks, outputs, y, None, differentiate=False)
            loss = tf.reduce_sum(batch.losses)
        found = tape.gradient(loss, [v.value for v in self.variables])
        for total, gradient in zip(self.totals, found, strict=True):
            if gradient is not None:
                total.assign_add(tf.square(tf.convert_to_tensor(gradient)))


def protect(
    model: MultiTaskModel, importance: Mapping[str, np.ndarray], *, strength: float
) -> None:
    """Holds a model's variables near their values of now, by a penalty on the loss.

        penalty = strength / 2 Σ importance[i] (θ[i] − θ_now[i])²

    It is added to the loss as the regularisers of layers are, beside them, and beside
    earlier calls of this function (one per step of continual training); no balancer
    touches it. It is not saved with the model.

    Args:
        model: The model that is trained further, such as `add_tasks` gives.
        importance: Dict from the path of a variable to an array of its shape, as of
            `fisher_information`. Variables that it does not name are free.
        strength: Number above 0.

    Raises:
        ValueError: For a strength that is not above 0, a path that is no trainable
            variable, or an array of another shape.

    Example:

    ```python
    importance = keras_mtl.continual.fisher_information(model, old_data)
    more = keras_mtl.continual.add_tasks(model, [new_task])
    keras_mtl.continual.protect(more, importance, strength=100.0)
    more.compile("adam")
    more.fit(new_data)
    ```

    Reference:
        - [Kirkpatrick et al., 2017](https://arxiv.org/abs/1612.00796), equation 3.
    """
    check_positive("strength", strength)
    variables = {variable.path: variable for variable in model.trainable_variables}
    for path, values in importance.items():
        if path not in variables or np.shape(values) != tuple(variables[path].shape):
            shapes = {name: tuple(v.shape) for name, v in variables.items()}
            raise ValueError(
                "Expected `importance` to have arrays of the shapes of trainable "
                f"variables, which are {shapes}. Received: {path!r} of shape "
                f"{np.shape(values)}"
            )
    for path, values in importance.items():
        variable = variables[path]
        variable.regularizer = _Anchor(
            ops.convert_to_tensor(strength * np.asarray(values), variable.dtype),
            ops.copy(ops.convert_to_tensor(variable)),
            variable.regularizer,
        )
    if model.compiled:
        model.make_train_function(force=True)
        model.make_test_function(force=True)


class _Anchor(keras.regularizers.Regularizer):
    """`1/2 Σ stiffness (x − center)²`, and what another regulariser adds."""

    def __init__(self, stiffness: Tensor, center: Tensor, other: Any):
        self._stiffness, self._center, self._other = stiffness, center, other

    def __call__(self, x: Tensor) -> Tensor:
        penalty = 0.5 * ops.sum(self._stiffness * ops.square(x - self._center))
        return penalty if self._other is None else penalty + self._other(x)
