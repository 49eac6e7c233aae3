"""Training on several data sets at once, each with the labels of some tasks."""

import functools
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_mtl.data.following import EpochFollower
from keras_mtl.data.layout import PRESENT_SUFFIX
from keras_mtl.data.plan import Plan
from keras_mtl.data.rates import checked_rates, read_rates
from keras_mtl.data.sources import Arrays, Streams
from keras_mtl.utils.checks import check_choice, check_count


def mix(
    datasets: Mapping[str, Any],
    batch_size: int,
    *,
    rates: Any = "proportional",
    batch: str = "mixed",
    stop: int | str = "first",
    seed: int = 0,
    buffer_size: int | None = None,
    presence: bool = True,
) -> "TaskMixture":
    """Mixes data sets that each label some of the tasks.

    All examples get one structure. Labels that a data set lacks are zeros with a mask
    `"<label>_mask"` that is False, so that a task's loss is over its own examples;
    inputs that it lacks are zeros, and `"<input>_present"` in `x` says so.

    Batches follow the rates as closely as whole examples can; see `Plan`. Each epoch
    has its own random order, a pure function of the seed, the epoch and the rates.

    Args:
        datasets: Dict from the name of a data set to its examples: arrays `(x, y)`, or
            a finite, unbatched `tf.data.Dataset` of such pairs that always gives them
            in the same order. `x` is a tensor, or a dict of inputs by name; `y` a dict
            by label key, or a tensor, the labels of the task that the data set is
            named after.
        batch_size: Number of examples of a (global) batch.
        rates: The share `p_i` of every data set of `n_i` examples. `"proportional"`:
            `p_i ∝ n_i`; `"uniform"`: all alike; a number `T > 0`: `p_i ∝ n_i^(1/T)`;
            `AnnealedTemperature`; a list, in the order of the data sets; or a function
            from the step of training (an integer) to such a list.
        batch: `"mixed"` batches, or `"one_task"`: all examples of one data set.
        stop: An epoch ends before an example of some data set would come again
            (`"first"`), or when every example of all (of a rate above 0) has come
            (`"all"`, small data sets repeat), or after so many steps. Rates that
            change settle it in the first epoch; all have its length.
        seed: Integer; another seed is another order.
        buffer_size: `None` keeps the examples in memory. An integer streams them, and
            draws the next one of a data set from a buffer of so many. Where an epoch
            takes some of them once more than others, the next one begins at another
            place, so that all come equally often in the long run; what is before that
            place is read and thrown away.
        presence: Whether `x` says which inputs are there. Without it, a layer that
            looks at several examples (BatchNormalization) takes the zeros for data.

    Returns:
        A `TaskMixture`: its `dataset` is for `fit`, itself for `callbacks`.

    Raises:
        ValueError: If there is no data set or an empty one, two do not fit together,
            or an argument is not as above.

    Cost:
        In memory: the examples once more, 8 bytes per example of an epoch for the
        order, and one gather per input, label or mask and batch. Streams: a buffer per
        data set, which the first batch waits for, and the same order.

    Example:

    >>> digits = (np.zeros((90, 4), "float32"), np.zeros(90, "int64"))
    >>> prices = (np.ones((10, 4), "float32"), np.ones(10, "float32"))
    >>> mixture = mix({"digit": digits, "price": prices}, 8, rates=2.0)
    >>> {name: round(rate, 2) for name, rate in mixture.rates_at(0).items()}
    {'digit': 0.75, 'price': 0.25}
    >>> x, y = next(iter(mixture.dataset))
    >>> sorted(y)
    ['digit', 'digit_mask', 'price', 'price_mask']
    >>> int(np.sum(y["digit_mask"])), int(np.sum(y["price_mask"]))
    (6, 2)

    Then `model.fit(mixture.dataset, callbacks=[mixture])`.

    Reference:
        - [Raffel et al., 2020](https://arxiv.org/abs/1910.10683), section 3.5.2:
          proportional, temperature-scaled and equal mixing.
    """
    named = isinstance(datasets, Mapping) and all(isinstance(n, str) for n in datasets)
    if not named or not datasets:
        raise ValueError(
            "Expected `datasets` to be a dict from names to data sets, at least one. "
            f"Received: datasets={datasets!r}"
        )
    check_count("batch_size", batch_size)
    check_choice("batch", batch, ("mixed", "one_task"))
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ValueError(f"Expected `seed` to be an integer. Received: seed={seed!r}")
    names = list(datasets)
    source: Arrays | Streams
    if buffer_size is None:
        source = Arrays(dict(datasets), presence)
    else:
        check_count("buffer_size", buffer_size)
        source = Streams(dict(datasets), presence, buffer_size)
    by_step = read_rates(rates, names, source.sizes)
    plan = Plan(
        source.sizes,
        batch_size,
        rates=by_step,
        one_task=batch == "one_task",
        seed=seed,
        stop=stop,
    )
    return TaskMixture(source, plan, names, callable(rates))


class TaskMixture(EpochFollower):
    """The batches of a mixture, and the callback that tells them the epoch.

    `mix` makes it. Pass `dataset` to `fit`, and the mixture itself in `callbacks`.

    Attributes:
        names: Names of the data sets.
        sizes: Their numbers of examples.
        steps_per_epoch: Number of batches of an epoch.
        batch: `"mixed"` or `"one_task"`.
        rates_change: Whether the rates depend on the step.
    """

    advice = "Expected `fit` to iterate the `dataset` of the mixture, once per epoch"

    def __init__(
        self, source: Arrays | Streams, plan: Plan, names: list[str], rates_change: bool
    ) -> None:
        super().__init__()
        self.rates_change = rates_change
        self._source, self._plan = source, plan
        self.names = names
        self.sizes = dict(zip(names, plan.sizes.tolist(), strict=True))
        self.steps_per_epoch = plan.steps
        self.batch = "one_task" if plan.one_task else "mixed"
        self._dataset = self._batches(self._read_current, 0)

    @property
    def dataset(self) -> tf.data.Dataset:
        """The batches of the epoch that `fit` is in; `map` and `prefetch` may follow.

        Its cardinality is known. Without the mixture in `callbacks` every epoch is
        epoch 0.
        """
        return self._dataset

    def epoch_batches(self, epoch: int, first_step: int = 0) -> tf.data.Dataset:
        """The batches of one epoch, the very ones that `dataset` gives in it.

        Args:
            epoch: Number of the epoch, from 0.
            first_step: How many batches to leave out: where a run was cut off.

        Returns:
            A `tf.data.Dataset` that gives the same batches each time, as long as the
            rates are the same.

        Raises:
            ValueError: If there is no such step.
        """
        check_count("epoch", epoch, 0)
        if check_count("first_step", first_step, 0) >= self.steps_per_epoch:
            raise ValueError(
                "Expected `first_step` to be a step of an epoch, below "
                f"{self.steps_per_epoch}. Received: first_step={first_step!r}"
            )
        read = functools.partial(self._read_fixed, epoch)
        return self._batches(read, first_step)

    def rates_at(self, step: int = 0) -> dict[str, float]:
        """The rates in a step of training, counted over all epochs, by data set."""
        rates = self._plan.rates(np.array([step]))[0]
        return dict(zip(self.names, rates.tolist(), strict=True))

    def set_rates(self, rates: Mapping[str, float]) -> None:
        """Sets the rates of the epochs that begin from now on.

        Epochs keep their number of steps: Keras wants one length.

        Args:
            rates: A number `>= 0` per data set; they need not sum to 1.

        Raises:
            ValueError: If one is missing or negative, or all are 0.
        """
        if set(rates) != set(self.names):
            raise ValueError(
                f"Expected `rates` to have one entry per data set {self.names}. "
                f"Received: {sorted(rates)}"
            )
        self.rates_change = False
        fixed = checked_rates([rates[name] for name in self.names], self.names)
        self._plan.rates = read_rates(fixed, self.names, [])

    def label_keys(self) -> dict[str, list[str]]:
        """The label keys that each data set gives, masks left out."""
        return self._source.layout.label_keys(self.names)

    def on_train_begin(self, logs: Mapping | None = None) -> None:
        """Looks whether the model can make use of the mixture."""
        self._check_presence()
        self._check_balancer()

    def _check_presence(self):
        layout = self._source.layout
        known = [t.name for t in tf.nest.flatten(getattr(self.model, "inputs", []))]
        wanted = [key + PRESENT_SUFFIX for key in layout.absent_inputs]
        lost = [name for name in wanted if name not in known]
        if layout.presence and known and lost:
            raise ValueError(
                "Expected the model to have the inputs that say where another input is "
                f"absent. Received: a model with inputs {known}, without {lost}. Put "
                "the encoder of each such input into `keras_mtl.layers.PresentRows`, "
                "or use `mix(presence=False)` if the data say it themselves (as a "
                "`Fusion` wants it, by modality), or if no layer of the encoder looks "
                "at several examples, as BatchNormalization does"
            )

    def _check_balancer(self):
        balancer = getattr(self.model, "balancer", None)
        one_each = all(len(keys) == 1 for keys in self.label_keys().values())
        if self.batch != "one_task" or not one_each or balancer is None:
            return
        if not getattr(balancer, "across_batches", False):
            warnings.warn(
                "The balancer has nothing to balance: with `batch='one_task'` every "
                "step sees the labels of one task. Use `mix(batch='mixed')`, or "
                "`balancers.LatestGradients(balancer)`, which remembers the others' "
                "gradients.",
                stacklevel=2,
            )

    def _batches(self, read, first_step):
        return self._source.batches(self._plan, read, first_step)

    # Read in the pipeline through `tf.numpy_function`. Not a tf.Variable: made under
    # a strategy's scope that would be one variable per replica, while the pipeline
    # runs once, on the host.
    def _read_current(self):
        self._read = True
        return self.epoch

    def _read_fixed(self, epoch):
        if epoch == self.epoch:
            self._read = True
        return epoch
