"""Which example of which data set stands where in an epoch of a mixture."""

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_mtl.utils.checks import check_count

_GOLDEN = (np.sqrt(5.0) - 1.0) / 2.0
_CHUNK = 4096  # Steps that are looked at together while an epoch's end is sought.
_MOST_STEPS = 10**7
_SHUFFLE = 2**32 - 1  # Stands where random numbers of a data set have its index.


class Plan:
    """The order of the examples, a pure function of seed, epoch and rates.

    Batches follow the rates as closely as whole examples can. In step `s`, data set
    `k` gets `n_k = ⌊F_k + u_s⌋ - ⌊F_(k-1) + u_s⌋` of the batch's places, with the
    cumulated rates `F_k = batch_size * (p_1 + … + p_k)` and a sequence
    `u_s = frac(u_0 + s * golden ratio)` that fills `[0, 1)` evenly (systematic
    sampling): a batch is never more than one example off, an epoch hardly more. With
    batches of one task the same rule deals out whole batches. It is the same in every
    epoch with the same rates, so that epochs have one length.

    Which examples a data set gives is a random order of its own in every epoch, one
    pass after the other.

    Args:
        sizes: Numbers of examples of the data sets.
        batch_size: Number of examples of a batch.
        rates: Function from step numbers `(steps,)` to rates `(steps, num_sets)`.
        one_task: Whether a batch is of one data set.
        seed: Integer.
        stop: Number of steps of an epoch, or `"first"` or `"all"`.

    Attributes:
        steps: Number of steps of an epoch.
        rates: May be replaced; the number of steps stays.
    """

    def __init__(
        self,
        sizes: list[int],
        batch_size: int,
        *,
        rates: Callable[[np.ndarray], np.ndarray],
        one_task: bool,
        seed: int,
        stop: Any,
    ):
        self.sizes = np.asarray(sizes)
        self.batch_size = batch_size
        self.rates = rates
        self.one_task = one_task
        self.seed = seed % 2**64
        self._offset = self._random().random()
        self.steps = self._number_of_steps(stop)

    def counts(self, epoch: int, first: int = 0, last: int | None = None) -> np.ndarray:
        """How many examples of each data set are in the batches of an epoch.

        Args:
            epoch: Number of the epoch, from 0.
            first: First step, from 0.
            last: The step after the last one; the end of the epoch by default.

        Returns:
            Integers of shape `(steps, num_sets)`, whose rows sum to the batch size.
        """
        steps = np.arange(first, self.steps if last is None else last)
        # An epoch of unknown length is the first.
        before = epoch * self.steps if epoch else 0
        edges = np.cumsum(self.rates(before + steps), axis=1)
        # The last edge, and those of later data sets without a share, are exact.
        edges /= edges[:, -1:]
        places = 1 if self.one_task else self.batch_size
        shifts = (self._offset + steps * _GOLDEN) % 1.0
        cuts = np.floor(places * edges + shifts[:, None]).astype("int64")
        counts = np.diff(cuts, axis=1, prepend=0)
        return counts * self.batch_size if self.one_task else counts

    def sets(self, epoch: int) -> np.ndarray:
        """The data set of every example of an epoch, `(steps, batch_size)`."""
        counts = self.counts(epoch)
        steps, num_sets = counts.shape
        row = np.tile(np.arange(num_sets, dtype="int16"), steps)
        sets = np.repeat(row, counts.ravel()).reshape(steps, self.batch_size)
        if self.one_task:
            return sets
        return self._random(epoch, _SHUFFLE).permuted(sets, axis=1)

    def rows(self, epoch: int) -> np.ndarray:
        """Every example of an epoch, by its row in the data sets put end to end.

        Returns:
            Integers of shape `(steps, batch_size)`.
        """
        sets = self.sets(epoch).ravel()
        counts = np.bincount(sets, minlength=len(self.sizes))
        starts = np.cumsum(self.sizes) - self.sizes
        parts = [
            starts[index] + self._examples(epoch, index, count)
            for index, count in enumerate(counts)
        ]
        rows = np.empty(len(sets), "int64")
        rows[np.argsort(sets, kind="stable")] = np.concatenate(parts)
        return rows.reshape(-1, self.batch_size)

    def seeds(self, epoch: int) -> np.ndarray:
        """A seed for the order of every data set in an epoch, `(num_sets,)`."""
        return self._random(epoch, _SHUFFLE, 1).integers(2**63, size=len(self.sizes))

    def _examples(self, epoch, index, count):
        """The first examples of a data set in an epoch: pass after pass, shuffled."""
        size = self.sizes[index]
        passes = [
            self._random(epoch, index, number).permutation(size)
            for number in range(-(-count // size))
        ]
        return np.concatenate(passes)[:count] if passes else np.zeros(0, "int64")

    def _random(self, *place):
        return np.random.default_rng([self.seed, *place])

    # === The length of an epoch ===

    def _number_of_steps(self, stop):
        if stop not in ("first", "all"):
            if isinstance(stop, str):
                raise ValueError(
                    "Expected `stop` to be one of ['first', 'all'], or the number of "
                    f"steps of an epoch. Received: stop={stop!r}"
                )
            return check_count("stop", stop)
        given = np.zeros(len(self.sizes), "int64")
        for first in range(0, _MOST_STEPS, _CHUNK):
            counts = self.counts(0, first, first + _CHUNK)
            totals = given + np.cumsum(counts, axis=0)
            ends = self._ends(stop, totals)
            if ends.any():
                # The first set is used up before the step in which it would repeat.
                steps = first + int(np.argmax(ends)) + (stop == "all")
                return self._at_least_one(steps, totals[0])
            given = totals[-1]
        raise ValueError(
            f"Expected an epoch of at most {_MOST_STEPS} steps. Received: "
            f"stop={stop!r} with {self.sizes.tolist()} examples and rates of "
            f"{self.rates(np.zeros(1))[0].tolist()}. Give the number of steps as `stop`"
        )

    def _ends(self, stop, totals):
        if stop == "first":
            return (totals > self.sizes).any(axis=1)
        used = self.rates(np.zeros(1))[0] > 0
        return (totals >= self.sizes)[:, used].all(axis=1)

    def _at_least_one(self, steps, first_batch):
        if not steps:
            raise ValueError(
                "An epoch would have no batch: expected every data set to have the "
                "examples that it gives to the first one, with `stop='first'`. "
                f"Received: {first_batch.tolist()} examples wanted of data sets with "
                f"{self.sizes.tolist()}. Use a smaller `batch_size`, other `rates`, or "
                "`stop='all'`"
            )
        return steps
