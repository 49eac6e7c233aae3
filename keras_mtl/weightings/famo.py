"""FAMO: all losses fall at one rate, for the cost of one backward pass."""

import numpy as np
from keras import ops

from keras_mtl.utils.checks import check_choice, check_non_negative, check_positive
from keras_mtl.utils.types import State, Tensor
from keras_mtl.weightings.weighting import LossWeighting, by_task, registry, softmax

_EPSILON = 1e-8  # Keeps the logarithm of a loss of zero finite, as the authors do.


def log_gaps(losses: Tensor, minimum: Tensor) -> Tensor:
    """Logarithms of how far the losses are above their minimum."""
    return ops.log(ops.maximum(losses - minimum, 0.0) + _EPSILON)


def famo_objective(logs: Tensor, active: Tensor, logits: Tensor) -> Tensor:
    """`c Σ z log(L - L*)`, where `z` is the softmax of the logits.

    And `1 / c = Σ z / (L - L*)`.

    Args:
        logs: Tensor of shape `(num_tasks,)`, `log(L - L*)`.
        active: Boolean tensor of shape `(num_tasks,)`.
        logits: Tensor of shape `(num_tasks,)`.

    Returns:
        Scalar tensor, whose slopes with respect to the losses sum to 1 (`z` and `c`
        count as constants).

    Example:
    >>> logs = ops.log(ops.array([1.0, 3.0]))
    >>> both = ops.array([True, True])
    >>> round(float(famo_objective(logs, both, ops.zeros(2))), 4)
    0.824

    Reference:
        - [Liu et al., 2023](https://arxiv.org/abs/2306.03792), Algorithm 1.
    """
    z = softmax(logits, active)
    c = ops.divide_no_nan(ops.ones_like(logs[0]), ops.sum(z * ops.exp(-logs)))
    return ops.sum(ops.stop_gradient(c * z) * logs)


def famo_slopes(
    logs: Tensor, new_logs: Tensor, active: Tensor, logits: Tensor
) -> Tensor:
    """Slopes of the logits: `z (d - Σ z d)` with `d` the fall of the log losses.

    Args:
        logs: Tensor of shape `(num_tasks,)`, `log(L - L*)` before the step.
        new_logs: The same after it.
        active: Boolean tensor of shape `(num_tasks,)`.
        logits: Tensor of shape `(num_tasks,)`.

    Returns:
        Tensor of shape `(num_tasks,)`, 0 for tasks that are not active.

    Example:
    >>> found = famo_slopes(
    ...     ops.array([0.0, 0.0]), ops.array([-1.0, 0.0]), ops.array([True, True]),
    ...     ops.zeros(2))
    >>> ops.convert_to_numpy(found)
    array([ 0.25, -0.25], dtype=float32)

    Reference:
        - [Liu et al., 2023](https://arxiv.org/abs/2306.03792), Algorithm 1.
    """
    z = softmax(logits, active)
    fall = ops.where(active, logs - new_logs, ops.zeros_like(logs))
    return z * (fall - ops.sum(z * fall))


@registry.register("famo")
class FAMO(LossWeighting):
    """Weights that make all losses fall at the same relative rate.

    The model minimises `c Σ z log(L - L*)`, where `z` is the softmax of one logit per
    task. A task whose loss fell less than the others' in a step gets a larger logit:
    the slopes are `z (d - Σ z d)` with `d` the fall of `log(L - L*)`.

    Args:
        form: `"second_forward"` measures the fall on the same batch, as the paper
            does. `"next_batch"` takes the losses of the next batch instead, for no
            cost and some noise.
        learning_rate: Of the logits; the paper's runs use 0.025.
        decay: Pulls the logits towards 0; 1e-3 in the paper's appendix.
        optimizer: Of the logits: `"adam"` as in the authors' code, or `"sgd"` as in
            Algorithm 1.
        minimum: Optional dict from task name to the least value `L*` of its loss.
            Defaults to 0.

    Guarantee: Where `z` is at the optimum of its dual, the step gives the largest
        possible worst relative fall of the losses.
    Needs: Losses, and with `"second_forward"` another forward pass after the step.
    Cost: One backward pass and one more forward pass (none with `"next_batch"`),
        `O(num_tasks)` more, five numbers of state per task.
    When: Many tasks, or losses of different units, where the passes of a gradient
        balancer are too dear. Not with few steps, as the logits move slowly, and not
        for losses that may be negative.

    Example:
    >>> FAMO(form="next_batch").second_forward
    False

    Reference:
        - [Liu et al., 2023](https://arxiv.org/abs/2306.03792), Algorithm 1, and the
          authors' code in its appendix. They clip the gradient of the shared
          parameters to norm 1 besides; give the optimizer `clipnorm` for that.
    """

    def __init__(
        self,
        form: str = "second_forward",
        *,
        learning_rate: float = 0.025,
        decay: float = 1e-3,
        optimizer: str = "adam",
        minimum: dict | None = None,
    ):
        self.form = check_choice("form", form, ("second_forward", "next_batch"))
        self.learning_rate = check_positive("learning_rate", learning_rate)
        self.decay = check_non_negative("decay", decay)
        self.optimizer = check_choice("optimizer", optimizer, ("adam", "sgd"))
        self.minimum = minimum
        self.second_forward = form == "second_forward"

    def init(self, tasks):
        zeros = np.zeros(len(tasks))
        state = dict.fromkeys(("logits", "mean", "square", "steps"), zeros)
        state["logs"] = np.full(len(tasks), np.nan)
        state["minimum"] = by_task("minimum", self.minimum or {}, tasks, default=0.0)
        return {}, state

    def objective(self, losses, active, variables, state, seed):
        logs = log_gaps(losses, state["minimum"])
        if not self.second_forward:
            known = ops.logical_and(active, ops.logical_not(ops.isnan(state["logs"])))
            state = self._moved(logs, known, state)
        objective = famo_objective(logs, active, state["logits"])
        return objective, {**state, "logs": ops.where(active, logs, state["logs"])}

    def after_step(self, new_losses, active, state):
        return self._moved(log_gaps(new_losses, state["minimum"]), active, state)

    def _moved(self, new_logs, active, state: State) -> State:
        """The state after a step of the logits of the active tasks."""
        slopes = famo_slopes(state["logs"], new_logs, active, state["logits"])
        slopes = slopes + self.decay * state["logits"]
        mean, square, steps = state["mean"], state["square"], state["steps"] + 1.0
        if self.optimizer == "adam":
            mean = 0.9 * mean + 0.1 * slopes
            square = 0.999 * square + 0.001 * slopes**2
            unbiased = ops.sqrt(square / (1.0 - 0.999**steps)) + 1e-8
            slopes = mean / (1.0 - 0.9**steps) / unbiased
        moved = {
            "logits": state["logits"] - self.learning_rate * slopes,
            "mean": mean,
            "square": square,
            "steps": steps,
        }
        kept = {k: ops.where(active, v, state[k]) for k, v in moved.items()}
        return {**state, **kept}

    def get_config(self):
        return {
            "form": self.form,
            "learning_rate": self.learning_rate,
            "decay": self.decay,
            "optimizer": self.optimizer,
            "minimum": self.minimum,
        }
