"""Where the examples of a mixture come from: memory, or streams."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_mtl.data.following import per_iterator
from keras_mtl.data.layout import Layout, parts_of, with_masks
from keras_mtl.data.pipelines import cardinality, in_memory, length, shuffled_pieces
from keras_mtl.data.plan import Plan

_NO_SLOT = -1  # of a part that a data set lacks


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
            for (name, masks), size in zip(
                with_masks(specs).items(), self.sizes, strict=True
            ):
                for part, spec in masks.items():
                    own[name][part] = tf.ones([size, *spec.shape], spec.dtype)
                    specs[name][part] = spec
            self.layout = Layout.of(specs, presence)
            self._store = [self._stored(part, own) for part in self.layout.parts]
        sizes = np.asarray(self.sizes)
        self._ends = np.cumsum(sizes)
        self._partial = [i for i, has in enumerate(self.layout.has) if not has.all()]
        has = self.layout.has[self._partial]
        # How far a row is further up in the store of a part than among all examples.
        self._shifts = np.where(has, np.cumsum(np.where(has, 0, sizes), axis=1), -1)
        self._blank = (has * sizes).sum(axis=1)

    def _stored(self, part, own):
        given = [parts[part] for parts in own.values() if part in parts]
        if len(given) == len(own):
            return tf.concat(given, axis=0)
        blank = tf.zeros([1, *given[0].shape[1:]], given[0].dtype)
        return tf.concat([*given, blank], axis=0)

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
        parts = self.layout.parts
        places = [rows] * len(parts)
        there = {}
        if self._partial:
            sets = tf.searchsorted(self._ends, rows, side="right")
            shifts = tf.gather(self._shifts, sets, axis=1)
            present = shifts >= 0
            found = tf.where(present, rows - shifts, self._blank[:, None])
            for index, place, has in zip(
                self._partial, tf.unstack(found), tf.unstack(present), strict=True
            ):
                places[index], there[parts[index]] = place, has
        stored = zip(parts, self._store, places, strict=True)
        values = {part: tf.gather(store, place) for part, store, place in stored}
        return self.layout.example(values, there)


class Streams:
    """Data sets that are read in order, and shuffled in pieces.

    Args:
        datasets: Finite, unbatched datasets of `(x, y)` by name, that always give
            their elements in the same order, or arrays.
        presence: Whether to say which inputs are there.
        buffer_size: Number of examples of a data set that are shuffled together.

    Raises:
        ValueError: If a data set is empty or of unknown size, or two do not fit.
    """

    def __init__(self, datasets: dict[str, Any], presence: bool, buffer_size: int):
        datasets = {name: _streamed(data) for name, data in datasets.items()}
        self.sizes = [_named(name, cardinality, d) for name, d in datasets.items()]
        specs = {n: parts_of(n, d.element_spec) for n, d in datasets.items()}
        self._ones = with_masks(specs)
        self.layout = Layout.of(
            {name: own | self._ones[name] for name, own in specs.items()}, presence
        )
        self._datasets = datasets
        self._buffer_size = buffer_size
        self._slots, self._slot_of = _slots(self.layout)

    def batches(
        self, plan: Plan, epoch: Callable[[], int], first_step: int
    ) -> tf.data.Dataset:
        """The batches of an epoch from a step on; see `Arrays.batches`."""
        num_sets = len(self.sizes)
        # Batches of one data set are made before they are mixed, which is cheaper.
        unit = plan.batch_size if plan.one_task else 1

        def read():
            current = epoch()
            sets = plan.sets(current).astype("int64")
            done = np.bincount(sets[:first_step].ravel(), minlength=num_sets) // unit
            return np.int64(current), sets[first_step:], done

        def examples():
            current, sets, done = tf.numpy_function(read, [], [tf.int64] * 3)
            current = tf.ensure_shape(current, [])
            sets = tf.ensure_shape(sets, [None, plan.batch_size])
            seeds = tf.stack([np.uint64(plan.seed).astype("int64"), current])
            streams = [self._stream(index, seeds) for index in range(num_sets)]
            if plan.one_task:
                streams = [s.batch(unit, drop_remainder=True) for s in streams]
            done = tf.unstack(tf.ensure_shape(done, [num_sets]))
            streams = [s.skip(count) for s, count in zip(streams, done, strict=True)]
            slices = tf.data.Dataset.from_tensor_slices
            choice = slices(tf.reshape(sets, [-1])[::unit])
            mixed = tf.data.Dataset.choose_from_datasets(streams, choice)
            if not plan.one_task:
                mixed = mixed.batch(plan.batch_size, drop_remainder=True)
            return tf.data.Dataset.zip(mixed, slices(sets)).map(self._in_layout)

        return per_iterator(examples, plan.steps - first_step)

    def _stream(self, index, seeds):
        """One data set over and over, its parts in their slots."""
        name, dataset = list(self._datasets.items())[index]
        fold = tf.random.experimental.stateless_fold_in
        seeds = fold(seeds, index)
        passes = tf.data.Dataset.range(tf.int64.max).flat_map(
            lambda number: shuffled_pieces(
                dataset, self._buffer_size, fold(seeds, number)
            )
        )

        def in_slots(*example):
            values = parts_of(name, example)
            for part, spec in self._ones[name].items():
                values[part] = tf.ones(spec.shape, spec.dtype)
            filled = [tf.zeros(spec.shape, spec.dtype) for spec in self._slots]
            for part, value in values.items():
                filled[self._slot_of[part][index]] = value
            return tuple(filled)

        return passes.map(in_slots)

    def _in_layout(self, slots, sets):
        """A batch in the structure of the mixture.

        Args:
            slots: Tuple of tensors of shape `(batch, …)`.
            sets: Which data set an example is of, integer of shape `(batch,)`.
        """
        values, there = {}, {}
        for part, has in zip(self.layout.parts, self.layout.has, strict=True):
            there[part] = tf.gather(has, sets)
            slot_of = self._slot_of[part]
            used = sorted(set(slot_of) - {_NO_SLOT})
            if has.all() and len(used) == 1:
                values[part] = slots[used[0]]
                continue
            value = tf.zeros_like(slots[used[0]])
            for slot in used:
                mine = tf.gather(np.equal(slot_of, slot), sets)
                mine = tf.reshape(mine, [-1] + [1] * (value.shape.rank - 1))
                value = tf.where(mine, slots[slot], value)
            values[part] = value
        return self.layout.example(values, there)


def _slots(layout):
    """Places for the parts of one example, few, since data sets share them.

    Returns:
        The specs of the slots, and for each part its slot in every data set.
    """
    slots: list[tf.TensorSpec] = []
    slot_of = {part: [_NO_SLOT] * layout.has.shape[1] for part in layout.parts}
    for index in range(layout.has.shape[1]):
        free = list(range(len(slots)))
        for part, has in zip(layout.parts, layout.has, strict=True):
            if not has[index]:
                continue
            spec = layout.specs[part]
            fits = [slot for slot in free if slots[slot].is_compatible_with(spec)]
            if not fits:
                fits = [len(slots)]
                slots.append(tf.TensorSpec(spec.shape, spec.dtype))
                free += fits
            free.remove(fits[0])
            slot_of[part][index] = fits[0]
    return slots, slot_of


def _streamed(data):
    if isinstance(data, tf.data.Dataset):
        return data
    return tf.data.Dataset.from_tensor_slices(data)


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
