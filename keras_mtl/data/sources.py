"""Where the examples of a mixture come from: memory, or streams."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_mtl.data.following import per_iterator
from keras_mtl.data.layout import Layout, missing_flags, parts_of
from keras_mtl.data.pipelines import cardinality, in_memory, length, shuffled
from keras_mtl.data.plan import Plan


class Arrays:
    """Data sets in memory: a batch is one gather per part of an example.

    Every part is stored once, the data sets that have it end to end, and one row of
    zeros for those that lack it.

    Args:
        datasets: Arrays `(x, y)`, or finite datasets of such examples, by name.
        presence: Whether to say which inputs are there.

    Raises:
        ValueError: If a data set is empty, or two do not fit together.
    """

    def __init__(self, datasets: dict[str, Any], presence: bool):
        own = {}
        for name, data in datasets.items():
            own[name] = parts_of(name, _named(name, in_memory, data))
        self.sizes = [
            _named(n, length, list(parts.values())) for n, parts in own.items()
        ]
        specs = {n: _row_specs(parts) for n, parts in own.items()}
        with tf.device("CPU:0"):
            for (name, flags), size in zip(
                missing_flags(specs).items(), self.sizes, strict=True
            ):
                for part, spec in flags.items():
                    own[name][part] = tf.ones([size, *spec.shape], spec.dtype)
                    specs[name][part] = spec
            self.layout = Layout.of(specs, presence)
            self._stores = [self._stored(part, own) for part in self.layout.parts]

    def _stored(self, part, own):
        given = [parts[part] for parts in own.values() if part in parts]
        if len(given) < len(own):
            given.append(tf.zeros([1, *given[0].shape[1:]], given[0].dtype))
        return tf.concat(given, axis=0)

    def batches(
        self, plan: Plan, epoch: Callable[[], int], first_step: int
    ) -> tf.data.Dataset:
        """The batches of an epoch from a step on.

        Args:
            plan: The order.
            epoch: Gives the epoch; called once per iterator.
            first_step: Number of batches to leave out.
        """

        def rows():
            read = tf.numpy_function(
                lambda: plan.rows(epoch())[first_step:], [], tf.int64
            )
            return tf.data.Dataset.from_tensor_slices(
                tf.ensure_shape(read, [None, plan.batch_size])
            )

        return per_iterator(rows, plan.steps - first_step, self._gathered)

    def _gathered(self, rows):
        parts, there = self.layout.parts, {}
        places = [rows] * len(parts)
        partial = [i for i, has in enumerate(self.layout.has) if not has.all()]
        if partial:
            has, sizes = self.layout.has[partial], np.asarray(self.sizes)
            # How far a row is further up in the store of a part than among all.
            shifts = np.cumsum(np.where(has, 0, sizes), axis=1)
            blank = (has * sizes).sum(axis=1, keepdims=True)
            sets = tf.searchsorted(np.cumsum(sizes), rows, side="right")
            present = tf.gather(has, sets, axis=1)
            found = tf.where(present, rows - tf.gather(shifts, sets, axis=1), blank)
            for index, place, is_there in zip(
                partial, tf.unstack(found), tf.unstack(present), strict=True
            ):
                places[index], there[parts[index]] = place, is_there
        values = map(tf.gather, self._stores, places)
        return self.layout.example(dict(zip(parts, values, strict=True)), there)


class Streams:
    """Data sets that are read in order, and shuffled by a buffer.

    Args:
        datasets: Finite, unbatched datasets of `(x, y)` by name, that always give
            their elements in the same order, or arrays.
        presence: Whether to say which inputs are there.
        buffer_size: Number of examples of a data set of which the next one is drawn.

    Raises:
        ValueError: If a data set is empty or of unknown size, or two do not fit.
    """

    def __init__(self, datasets: dict[str, Any], presence: bool, buffer_size: int):
        datasets = {n: _named(n, _streamed, data) for n, data in datasets.items()}
        self.sizes = [_named(name, cardinality, d) for name, d in datasets.items()]
        specs = {n: parts_of(n, d.element_spec) for n, d in datasets.items()}
        self._ones = missing_flags(specs)
        self.layout = Layout.of(
            {name: own | self._ones[name] for name, own in specs.items()}, presence
        )
        self._datasets = datasets
        self._buffer_size = buffer_size

    def batches(
        self, plan: Plan, epoch: Callable[[], int], first_step: int
    ) -> tf.data.Dataset:
        """The batches of an epoch from a step on; see `Arrays.batches`."""
        size, num_sets = plan.steps * plan.batch_size, len(self.sizes)

        def read():
            current = epoch()
            sets = plan.sets(current).ravel().astype("int64")
            needed = np.bincount(sets, minlength=num_sets)
            return sets, self._starts(current, needed), plan.seeds(current)

        def batches_of_epoch():
            sets, starts, seeds = tf.numpy_function(read, [], [tf.int64] * 3)
            starts = tf.ensure_shape(starts, [num_sets])
            seeds = tf.ensure_shape(seeds, [num_sets])
            streams = [
                self._stream(index, starts[index], seeds[index])
                for index in range(num_sets)
            ]
            order = tf.data.Dataset.from_tensor_slices(tf.ensure_shape(sets, [size]))
            examples = tf.data.Dataset.choose_from_datasets(streams, order)
            batches = examples.batch(plan.batch_size, drop_remainder=True)
            return batches.skip(first_step)

        return per_iterator(batches_of_epoch, plan.steps - first_step)

    def _stream(self, index, start, seed):
        """The endless examples of a data set, in the structure of the mixture."""
        name, dataset = list(self._datasets.items())[index]
        turned = dataset.skip(start).concatenate(dataset.take(start))
        buffer = min(self._buffer_size, self.sizes[index])
        # Made here, so that `filled` only passes tensors on: `tf.data` does that
        # without running a function for every example.
        fill = {
            part: (tf.ones if part in self._ones[name] else tf.zeros)(
                spec.shape, spec.dtype
            )
            for part, spec in self.layout.specs.items()
        }
        there = {
            part: tf.constant(has)
            for part, has in zip(
                self.layout.parts, self.layout.has[:, index], strict=True
            )
        }

        def filled(*pair):
            return self.layout.example(fill | parts_of(name, pair), there)

        return shuffled(turned, buffer, seed).repeat().map(filled)

    def _starts(self, epoch, needed):
        """Where each data set is entered, `(num_sets,)`.

        An epoch takes some examples once more than others. Each begins so much later
        that the parts that are taken more often, or those that are left out, follow
        each other: in the long run every example comes equally often.
        """
        sizes = np.asarray(self.sizes)
        rest = needed % sizes
        starts = epoch * np.minimum(rest, sizes - rest) % sizes
        # A buffer of all of them has them in random order from any start.
        return np.where(sizes <= self._buffer_size, 0, starts)


def _streamed(data):
    if isinstance(data, tf.data.Dataset):
        return data
    arrays = in_memory(data)
    length(arrays)
    return tf.data.Dataset.from_tensor_slices(arrays)


def _row_specs(parts):
    return {
        part: tf.TensorSpec(value.shape[1:], value.dtype)
        for part, value in parts.items()
    }


def _named(name, function, data):
    """The result, or an error that names the data set."""
    try:
        return function(data)
    except ValueError as error:
        raise ValueError(f"Data set {name!r}: {error}") from error
