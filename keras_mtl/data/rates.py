"""Mixing rates: which share of the examples comes from which data set."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_mtl.utils.checks import check_count, check_length, check_positive

WORDS = {"proportional": 1.0, "uniform": math.inf}


@dataclasses.dataclass(frozen=True)
class AnnealedTemperature:
    """A temperature that goes in a straight line from `start` to `end`.

    `T(step) = start + (end - start) * min(step / steps, 1)`; steps count from the
    first of training. Early on the rates follow the sizes, later small data sets get
    a larger share, or the other way round.

    Args:
        start: Temperature at step 0.
        end: Temperature from step `steps` on.
        steps: Number of steps that it takes.

    Raises:
        ValueError: If a temperature is not a number above 0, or `steps` below 1.

    Example:
    >>> temperature = AnnealedTemperature(1.0, 5.0, steps=100)
    >>> temperature(np.array([0, 50, 100, 200])).tolist()
    [1.0, 3.0, 5.0, 5.0]

    Reference:
        - [Stickland & Murray, 2019](https://arxiv.org/abs/1902.02671), section 3.4:
          sampling that is annealed from proportional towards uniform.
    """

    start: float
    end: float
    steps: int

    def __post_init__(self):
        check_positive("start", self.start)
        check_positive("end", self.end)
        check_count("steps", self.steps)

    def __call__(self, steps: np.ndarray) -> np.ndarray:
        share = np.minimum(np.asarray(steps) / self.steps, 1.0)
        return self.start + (self.end - self.start) * share


def temperature_rates(sizes: Any, temperature: Any) -> np.ndarray:
    """Rates `p_i ∝ n_i ** (1 / T)`: T = 1 is proportional, T → ∞ uniform.

    Args:
        sizes: Numbers of examples, shape `(num_sets,)`.
        temperature: Number above 0, `inf` too, or an array of shape `(steps, 1)`.

    Returns:
        Rates of shape `(num_sets,)` or `(steps, num_sets)`; each row sums to 1.

    Example:
    >>> temperature_rates([900, 100], 2.0).round(2).tolist()
    [0.75, 0.25]
    """
    # Relative to the largest: a small temperature must not overflow.
    logs = np.log(np.asarray(sizes, "float64") / np.max(sizes))
    rates = np.exp(logs / temperature)
    return rates / rates.sum(axis=-1, keepdims=True)


def read_rates(
    rates: Any, names: list[str], sizes: list[int]
) -> Callable[[np.ndarray], np.ndarray]:
    """What the `rates` argument of `mix` stands for.

    Args:
        rates: As in `mix`.
        names: Names of the data sets.
        sizes: Their numbers of examples.

    Returns:
        Function from step numbers of shape `(steps,)` to rates of shape
        `(steps, num_sets)`, whose rows sum to 1.

    Raises:
        ValueError: For an unknown word, a temperature that is not above 0, or rates
            of the wrong number, negative, infinite or all zero.
    """
    if isinstance(rates, AnnealedTemperature):
        return lambda steps: temperature_rates(sizes, rates(steps)[:, None])
    if callable(rates):

        def by_step(steps):
            return np.stack([checked_rates(rates(int(s)), names) for s in steps])

        by_step(np.zeros(1))
        return by_step
    if isinstance(rates, list | tuple | np.ndarray):
        fixed = checked_rates(rates, names)
    else:
        fixed = temperature_rates(sizes, _temperature(rates))
    return lambda steps: np.tile(fixed, (len(steps), 1))


def checked_rates(rates: Any, names: list[str]) -> np.ndarray:
    """Rates that sum to 1, from numbers that need not.

    Raises:
        ValueError: If they are not one number >= 0 per data set, or all 0.
    """
    values = np.asarray(rates, "float64")
    if values.ndim == 1:
        check_length("rates", values.tolist(), len(names))
    bad = values.ndim != 1 or not np.isfinite(values).all() or (values < 0).any()
    if bad or not values.any():
        raise ValueError(
            f"Expected `rates` to be one finite number >= 0 per data set {names}, not "
            f"all of them 0. Received: rates={values.tolist()}"
        )
    return values / values.sum()


def _temperature(rates):
    if isinstance(rates, str) and rates in WORDS:
        return WORDS[rates]
    number = isinstance(rates, int | float) and not isinstance(rates, bool)
    if not number or not rates > 0:
        raise ValueError(
            f"Expected `rates` to be one of {list(WORDS)}, a temperature > 0, an "
            "`AnnealedTemperature`, a list with one rate per data set, or a function "
            f"of the step that returns such a list. Received: rates={rates!r}"
        )
    return rates
