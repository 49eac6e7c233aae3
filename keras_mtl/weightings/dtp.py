"""Dynamic task prioritisation: tasks that perform poorly count more."""

import numpy as np
from keras import ops

from keras_mtl.utils.checks import check_non_negative
from keras_mtl.weightings.weighting import (
    LossWeighting,
    check_every_task,
    check_log_names,
    from_logs,
    registry,
)

_LEAST = 1e-7  # The least value of a metric, whose logarithm must be finite.


def focal_weights(metrics: np.ndarray, gamma: float) -> np.ndarray:
    """Weights `-(1 - κ)^γ log κ`, from values in [0, 1] where 1 is perfect.

    Example:
    >>> focal_weights(np.array([0.5, 1.0]), gamma=1.0).round(4)
    array([0.3466, 0.    ])

    Reference:
        - [Guo et al., 2018](https://doi.org/10.1007/978-3-030-01270-0_17), section
          3.2.
    """
    metrics = np.maximum(metrics, _LEAST)
    return np.abs((1.0 - metrics) ** gamma * np.log(metrics))


@registry.register("dtp")
class DTP(LossWeighting):
    """Weights a task by the focal loss of a metric of its own.

    At the end of an epoch the weight of a task becomes `-(1 - κ)^γ log κ`, where `κ`
    is the moving average of its metric. In the first epoch all weights are 1. A task
    whose metric is NaN, as it had no label, keeps its weight.

    Args:
        metrics: Dict from every task's name to a metric in the logs of an epoch, such
            as `{"digit": "digit_accuracy"}`. Values must be in [0, 1], 1 being best;
            `val_…` metrics may be named if there is validation in every epoch.
        gamma: `γ >= 0`; the larger, the less a task that performs well counts.
        smoothing: Share in (0, 1] of the new value in the moving average. 1 takes
            the epoch's value as it is.

    Guarantee: None.
    Needs: Losses and a metric in [0, 1] per task.
    Cost: One backward pass, two numbers of state per task; the metrics are those that
        Keras tracks already.
    When: Tasks of different difficulty with comparable metrics. Not for metrics that
        cannot come near 1, whose tasks keep the others small for ever.

    Example:
    >>> DTP(metrics={"digit": "digit_accuracy"}, gamma=2.0).gamma
    2.0

    Reference:
        - [Guo et al., 2018](https://doi.org/10.1007/978-3-030-01270-0_17), section
          3.2. The paper averages the metric over training steps, we take the value
          over an epoch.
    """

    def __init__(
        self, metrics: dict[str, str], gamma: float = 1.0, smoothing: float = 1.0
    ):
        self.metrics = check_log_names("metrics", metrics)
        self.gamma = check_non_negative("gamma", gamma)
        if not isinstance(smoothing, int | float) or not 0 < smoothing <= 1:
            raise ValueError(
                "Expected `smoothing` to be a number > 0 and <= 1. "
                f"Received: smoothing={smoothing!r}"
            )
        self.smoothing = smoothing

    def init(self, tasks):
        check_every_task("metrics", self.metrics, tasks)
        unknown = np.full(len(tasks), np.nan)
        return {}, {"average": unknown, "weights": np.ones(len(tasks))}

    def objective(self, losses, active, variables, state, seed):
        return ops.sum(state["weights"] * losses), state

    def end_epoch(self, state, logs, tasks):
        names = [self.metrics[task.name] for task in tasks]
        values = from_logs(names, logs)
        if np.any((values < 0) | (values > 1)):
            raise ValueError(
                "Expected the `metrics` of `DTP` to be in [0, 1], where 1 is best "
                "(an accuracy, say). Received: "
                f"{dict(zip(names, values.tolist(), strict=True))}"
            )
        before = np.where(np.isnan(state["average"]), values, state["average"])
        average = self.smoothing * values + (1.0 - self.smoothing) * before
        average = np.where(np.isnan(values), state["average"], average)
        weights = focal_weights(average, self.gamma)
        weights = np.where(np.isnan(values), state["weights"], weights)
        return {"average": average, "weights": weights}

    def get_config(self):
        return {
            "metrics": self.metrics,
            "gamma": self.gamma,
            "smoothing": self.smoothing,
        }
