"""`tf.data` pipelines whose order is a pure function of a seed and the epoch.

A seeded `Dataset.shuffle` starts over with its first order in every new process, so a
run that was killed in epoch 3 and resumed sees epoch 0's order again. Here the order of
epoch `e` is computed from `(seed, e)`, and a small callback tells the pipeline which
epoch `fit` is in. A resumed run then sees exactly the batches that an uninterrupted one
sees.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_mtl.data.following import EpochFollower, per_iterator
from keras_mtl.utils.types import Tensor


class EpochOrder(EpochFollower):
    """Pipelines that follow `fit` through the epochs, also after a restart.

    One object is two things: it makes the batches, and it is the callback that tells
    them the epoch. Pass it to `fit` with whatever else; the order of the callbacks does
    not matter. Without it in `callbacks`, every epoch has the order of epoch 0.

    - Give `steps_per_epoch` to `batches`, not to `fit`: `fit` would carry one iterator
      over several epochs, and a resumed run could not find its place in it.
    - Do not put `.cache()` or `.repeat()` after `batches`; both freeze the order.

    If either happens, the callback raises in the epoch where the order would be wrong.

    Args:
        seed: Integer; another seed is another order.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> order = EpochOrder(seed=7)
    >>> x = np.arange(6.0).reshape(6, 1)
    >>> train = order.batches((x, 2.0 * x), batch_size=2)
    >>> model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> options = {"shuffle": False, "verbose": 0}  # the order is made already
    >>> history = model.fit(train, epochs=2, callbacks=[order], **options)
    >>> order.epoch
    1

    With `keras.callbacks.BackupAndRestore(folder)` beside it in `callbacks`, the same
    lines resume a run that was killed: the epoch starts again from its first batch.
    """

    advice = (
        "Expected `fit` to iterate a dataset made by its `batches`, once per epoch. "
        "Pass `steps_per_epoch` to `EpochOrder.batches` instead of `fit`"
    )

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = _integer("seed", seed)

    def batches(
        self,
        data: Any,
        batch_size: int,
        *,
        buffer_size: int | None = None,
        steps_per_epoch: int | None = None,
        drop_remainder: bool = False,
        groups: Any = None,
    ) -> tf.data.Dataset:
        """Makes the pipeline of one epoch's batches, to be iterated once per epoch.

        Args:
            data: Arrays (a nested structure of tuples and dicts, first axis = examples,
                all of one length), or a finite, unbatched `tf.data.Dataset` that
                always gives its elements in the same order.
            batch_size: Number of examples of a (global) batch.
            buffer_size: `None` keeps the examples in memory, as they are, and shuffles
                all of them. An integer streams a `tf.data.Dataset`, and draws every
                example from a buffer of so many, as `Dataset.shuffle` does.
            steps_per_epoch: Number of batches of an epoch, if that is not one pass over
                the data. Epoch `e` then has the batches from `e * steps_per_epoch` on
                of the endless row of shuffled passes.
            drop_remainder: Drop the last batch of a pass if it is smaller.
            groups: Optional group of every example, shape `(examples,)`: every batch is
                of one group, such as texts of similar length, and the last batch of
                each group is smaller. Not for streaming.

        Returns:
            A `tf.data.Dataset` of known cardinality. `map` and `prefetch` may follow.

        Raises:
            ValueError: If the data are empty, endless, of unknown or unequal length, or
                a number is not positive.
        """
        return _pipeline(
            data,
            batch_size,
            seed=self.seed,
            epoch=self._current_epoch,
            buffer_size=buffer_size,
            steps_per_epoch=steps_per_epoch,
            drop_remainder=drop_remainder,
            groups=groups,
        )

    def _current_epoch(self):
        # Not a tf.Variable: made under a strategy's scope that would be one variable
        # per replica, while the pipeline runs once, on the host.
        return tf.ensure_shape(tf.numpy_function(self._start_pass, [], tf.int64), [])

    def _start_pass(self):
        self._read = True
        return tf.int64.as_numpy_dtype(self.epoch)


def epoch_batches(
    data: Any,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    buffer_size: int | None = None,
    steps_per_epoch: int | None = None,
    drop_remainder: bool = False,
    groups: Any = None,
) -> tf.data.Dataset:
    """The batches of one epoch, the same that `EpochOrder` gives to `fit` in it.

    Args:
        data: As in `EpochOrder.batches`.
        batch_size: Number of examples of a batch.
        seed: Integer seed of the order.
        epoch: Number of the epoch, from 0.
        buffer_size: As in `EpochOrder.batches`.
        steps_per_epoch: As in `EpochOrder.batches`.
        drop_remainder: Drop the last batch of a pass if it is smaller.
        groups: As in `EpochOrder.batches`.

    Returns:
        A `tf.data.Dataset` that gives the same batches each time it is iterated.

    Raises:
        ValueError: As `EpochOrder.batches`, and if `epoch` is negative.

    Example:

    >>> import numpy as np
    >>> data = epoch_batches(np.arange(6), batch_size=4, seed=7, epoch=3)
    >>> [len(batch) for batch in data]
    [4, 2]
    >>> sorted(int(i) for batch in data for i in batch)
    [0, 1, 2, 3, 4, 5]
    """
    if _integer("epoch", epoch) < 0:
        raise ValueError(f"Expected `epoch` to be 0 or more. Received: epoch={epoch!r}")
    return _pipeline(
        data,
        batch_size,
        seed=_integer("seed", seed),
        epoch=functools.partial(tf.constant, epoch, tf.int64),
        buffer_size=buffer_size,
        steps_per_epoch=steps_per_epoch,
        drop_remainder=drop_remainder,
        groups=groups,
    )


def pairs(
    dataset: tf.data.Dataset,
    inputs: str | Sequence[str] = "image",
    labels: str | Sequence[str] | Mapping[str, str] = ("digit", "box", "stroke"),
) -> tf.data.Dataset:
    """Turns examples that are dicts of features into `(x, {task: label})` for `fit`.

    Args:
        dataset: Dataset of dicts, batched or not, for example from `tfds.load`.
        inputs: Name of the input feature, or several names, for a dict of inputs.
            Inputs of dtype uint8 (images) become float32 in [0, 1].
        labels: Names of the features that are labels; or a mapping from the name of the
            task to the name of the feature.

    Returns:
        Dataset of `(x, y)`; `x` a tensor (or a dict if `inputs` has several names), `y`
        a dict with one entry per task.

    Raises:
        ValueError: If the dataset has no feature of a name.

    Example:

    >>> import numpy as np
    >>> examples = {"image": np.full((2, 4, 4, 1), 255, "uint8"), "digit": [3, 8]}
    >>> dataset = tf.data.Dataset.from_tensor_slices(examples)
    >>> x, y = next(iter(pairs(dataset, labels=["digit"]).batch(2)))
    >>> float(x[0, 0, 0, 0]), y["digit"].numpy().tolist()
    (1.0, [3, 8])
    """
    names = [inputs] if isinstance(inputs, str) else list(inputs)
    if isinstance(labels, str):
        labels = (labels,)
    if not isinstance(labels, Mapping):
        labels = {name: name for name in labels}
    spec = dataset.element_spec
    features = sorted(spec) if isinstance(spec, Mapping) else []
    for argument, wanted in (("inputs", names), ("labels", labels.values())):
        for name in wanted:
            if name not in features:
                raise ValueError(
                    f"`{argument}` names a feature that the dataset does not have. "
                    f"Expected one of {features}. Received: {argument}={name!r}"
                )

    def pair(example):
        x = {name: _scaled(example[name]) for name in names}
        y = {task: example[feature] for task, feature in labels.items()}
        return (x[inputs] if isinstance(inputs, str) else x), y

    return dataset.map(pair, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _scaled(feature):
    """Images as float32 in [0, 1]; every other dtype as it is."""
    if feature.dtype != tf.uint8:
        return feature
    return tf.cast(feature, tf.float32) / 255.0


def _pipeline(
    data,
    batch_size,
    *,
    seed: int,
    epoch: Callable[[], tf.Tensor],
    buffer_size,
    steps_per_epoch,
    drop_remainder,
    groups,
):
    """Builds the pipeline; `epoch` is called in the graph, once per iterator."""
    _positive("batch_size", batch_size)
    if buffer_size is None:
        arrays = in_memory(data)
        size = length(arrays)

        def batches_of_pass(number):
            rows = _permuted(tf.range(size, dtype=tf.int64), _seeds(seed, number))
            slices = tf.data.Dataset.from_tensor_slices(rows)
            return slices.batch(batch_size, drop_remainder)
    else:
        _positive("buffer_size", buffer_size)
        size = cardinality(data)

        def batches_of_pass(number):
            of_pass = tf.random.stateless_uniform(
                [], _seeds(seed, number), None, None, tf.int64, alg="philox"
            )
            elements = shuffled(data, min(buffer_size, size), of_pass)
            return elements.batch(batch_size, drop_remainder)

    sizes = [size]
    if groups is not None:
        groups, sizes = _checked_groups(groups, size, buffer_size)
        batches_of_pass = functools.partial(
            _grouped_batches, groups, _parts(sizes, batch_size, drop_remainder), seed
        )
    batches = len(_parts(sizes, batch_size, drop_remainder))
    if not batches:
        raise ValueError(
            f"An epoch would have no batch: {size} examples and `drop_remainder=True`. "
            f"Expected `batch_size` <= {max(sizes)}. Received: "
            f"batch_size={batch_size!r}"
        )
    steps = batches if steps_per_epoch is None else steps_per_epoch
    _positive("steps_per_epoch", steps)

    def epoch_of_batches():
        first = epoch() * steps
        rows = tf.data.Dataset.range(first // batches, tf.int64.max)
        # `take` before `flat_map` would be wrong with steps_per_epoch; the passes are
        # made lazily, one at a time.
        rows = rows.flat_map(batches_of_pass)
        return rows.skip(first % batches).take(steps)

    def gathered(rows):
        return tf.nest.map_structure(lambda a: tf.gather(a, rows), arrays)

    return per_iterator(
        epoch_of_batches, steps, gathered if buffer_size is None else None
    )


def _checked_groups(groups, size, buffer_size):
    """The groups as an array, and the number of examples of each."""
    groups = np.asarray(groups)
    if buffer_size is not None or groups.shape != (size,):
        raise ValueError(
            f"Expected `groups` to be of shape ({size},), one entry per example, for "
            "data in memory (`buffer_size=None`). Received: groups of shape "
            f"{groups.shape}, buffer_size={buffer_size!r}"
        )
    _, groups, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return groups, sizes.tolist()


def _parts(sizes, batch_size, drop_remainder):
    """First row and end of every batch, where groups of these sizes follow each other.

    Shape `(batches, 2)`.
    """
    parts, before = [], 0
    for size in sizes:
        for start in range(0, size, batch_size):
            end = min(start + batch_size, size)
            if end - start == batch_size or not drop_remainder:
                parts.append((before + start, before + end))
        before += size
    return np.array(parts, np.int64).reshape(-1, 2)


def _grouped_batches(groups, parts, seed, number):
    """Dataset of the batches of pass `number`, each with rows of one group."""
    seeds = _seeds(seed, number)
    rows = _permuted(tf.range(len(groups), dtype=tf.int64), seeds)
    # Stable: inside of a group the rows keep their new order.
    rows = tf.gather(rows, tf.argsort(tf.gather(groups, rows), stable=True))
    fold = tf.random.experimental.stateless_fold_in(seeds, 1)
    order = _permuted(tf.constant(parts), fold)
    batches = tf.data.Dataset.from_tensor_slices(order)
    return batches.map(lambda part: rows[part[0] : part[1]])


def shuffled(
    dataset: tf.data.Dataset, buffer_size: int, seed: Tensor
) -> tf.data.Dataset:
    """The elements, each drawn from a buffer, in an order that `seed` alone settles.

    For functions that become part of a pipeline, since it sets the seed of their graph.

    Args:
        dataset: Dataset that always gives its elements in the same order.
        buffer_size: Number of elements of which the next one is drawn.
        seed: Scalar of dtype int64.
    """
    # That of the graph would be the one that the program gave `tf.random.set_seed`.
    tf.random.set_seed(1)
    return dataset.shuffle(buffer_size, seed=seed)


def _seeds(seed, number):
    return tf.stack([tf.constant(seed, tf.int64), tf.cast(number, tf.int64)])


def _permuted(rows, seeds):
    # A named algorithm: "auto_select" could differ from device to device.
    return tf.random.experimental.stateless_shuffle(rows, seeds, alg="philox")


def in_memory(data: Any) -> Any:
    """The examples as a structure of tensors on the host."""
    with tf.device("CPU:0"):
        if isinstance(data, tf.data.Dataset):
            return data.batch(cardinality(data)).get_single_element()
        return tf.nest.map_structure(tf.convert_to_tensor, data)


def length(arrays: Any) -> int:
    """Common length of the first axes.

    Raises:
        ValueError: If there is none, or it is 0.
    """
    shapes = [array.shape for array in tf.nest.flatten(arrays)]
    lengths: set[Any] = {shape[0] if shape.rank else None for shape in shapes}
    if len(lengths) != 1 or not lengths.isdisjoint({None, 0}):
        raise ValueError(
            "Expected `data` to be arrays whose first axes have one length, at least "
            f"1. Received: shapes={[tuple(shape) for shape in shapes]}"
        )
    return lengths.pop()


def cardinality(dataset: Any) -> int:
    """Number of elements of a dataset that is finite and not empty.

    Raises:
        ValueError: If it is not known to be so.
    """
    if not isinstance(dataset, tf.data.Dataset):
        raise ValueError(
            "`buffer_size` is for streaming: expected `data` to be a tf.data.Dataset. "
            f"Received: data={type(dataset).__name__}"
        )
    size = int(dataset.cardinality())
    if size < 1:
        what = {
            tf.data.INFINITE_CARDINALITY: "endless (remove `.repeat()`)",
            tf.data.UNKNOWN_CARDINALITY: "unknown (state it with "
            "`.apply(tf.data.experimental.assert_cardinality(n))`)",
        }.get(size, "0")
        raise ValueError(
            "Expected `data` to be a dataset with a known number of elements, at "
            f"least 1. Received: cardinality={what}"
        )
    return size


def _integer(name, value):
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(
            f"Expected `{name}` to be an integer. Received: {name}={value!r}"
        )
    return value


def _positive(name, value):
    if _integer(name, value) < 1:
        raise ValueError(
            f"Expected `{name}` to be 1 or more. Received: {name}={value!r}"
        )
