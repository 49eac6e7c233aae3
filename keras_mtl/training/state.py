"""What the weighting and the balancer remember, outside of the model's weights."""

import random
import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_mtl.balancers import JacobianBalancer
from keras_mtl.utils.types import State, Tensor

_RECORDS = ("cosine", "conflicts", "pairs", "norms")


def read(variable: keras.Variable) -> Tensor:
    """The current value as a tensor."""
    return tf.convert_to_tensor(variable.value)


def array(variable: keras.Variable) -> np.ndarray:
    """The current value as a NumPy array."""
    return read(variable).numpy()


class StepSeed(keras.random.SeedGenerator):
    """Random numbers that are a function of the model's seed and the step.

    It holds no variable, so all replicas draw the same numbers, a resumed run
    draws those of the uninterrupted one, and XLA can compile the drawing.
    """

    def __init__(self, base: Tensor, step: Tensor):
        self._base, self._step, self._draws = base, step, 0

    def next(self, ordered: bool = True) -> Tensor:
        self._draws += 1
        return tf.stack([self._base + 7919 * self._draws, self._step])


class MethodState:
    """Variables of a compiled model's weighting and balancer.

    They live here and not in `model.weights`, which stay the architecture's; the
    model saves and loads them beside its own variables.

    Args:
        tasks: The tasks.
        weighting: The loss weighting.
        balancer: The balancer, or `None`.
        optimizer: The model's optimizer. The trainable variables of the weighting
            get a copy of it without weight decay, clipping and averaging.
        reach: Which task reaches which variable; a balancer has a state of its own
            for each of its groups.
    """

    def __init__(self, tasks, weighting, balancer, optimizer, reach):
        num_tasks = len(tasks)
        self.num_groups = len(reach.groups)
        self._reaching = reach.reaching
        self.num_tasks = num_tasks
        self.step = _variable(0, "step", "int64")
        self.seed = _variable(random.randint(1, 2**31 - 1), "seed", "int64")
        self.loss_weights = _variable(np.ones(num_tasks), "loss_weights")
        self.priorities = _variable(np.ones(num_tasks), "priorities")
        # Whether the step reads them: until then it is as if they did not exist.
        self.uses_priorities = False
        zeros = np.zeros(num_tasks)
        self.nonfinite_losses = _variable(zeros, "nonfinite_losses", "int64")
        self.nonfinite_gradients = _variable(zeros, "nonfinite_gradients", "int64")
        trainable, state = weighting.init(tasks)
        self.weighting_variables = {
            name: _variable(value, name, trainable=True)
            for name, value in trainable.items()
        }
        self.weighting_state = _variables(state)
        self.balancer_state: dict[str, keras.Variable] = {}
        self.task_weights: Any = None
        self.records: Any = None
        if balancer is not None:
            self.records = _variable(
                np.zeros((len(_RECORDS), num_tasks, num_tasks)), "records"
            )
            if isinstance(balancer, JacobianBalancer):
                initial = balancer.init_state(num_tasks, reach.shapes)
            else:
                ones = np.ones((self.num_groups, num_tasks))
                self.task_weights = _variable(ones, "task_weights")
                states = [balancer.init_state(num_tasks)] * self.num_groups
                initial = self.of_groups(states)
            self.balancer_state = _variables(initial)
        self.optimizer: Any = None
        if self.weighting_variables:
            self.optimizer = _plain_copy(optimizer)
            self.optimizer.build(list(self.weighting_variables.values()))
        self._names = {
            "weighting": type(weighting).__name__,
            "balancer": type(balancer).__name__,
        }

    def step_seed(self) -> StepSeed:
        """Random numbers of the current step."""
        return StepSeed(read(self.seed), read(self.step))

    def set_priorities(self, values: np.ndarray) -> bool:
        """Sets the priorities; returns whether steps made before do not read them."""
        self.priorities.assign(values)
        is_new = not self.uses_priorities and bool(np.any(values != 1))
        self.uses_priorities |= is_new
        return is_new

    def switched_on(self) -> Tensor:
        """Whether a task has a priority above 0."""
        return read(self.priorities) > 0

    def by_group(self, state: State) -> list[State]:
        """A balancer's state for each group of variables."""
        if self.num_groups == 1:
            return [state]
        groups = range(self.num_groups)
        return [{k: v[group] for k, v in state.items()} for group in groups]

    def of_groups(self, states: list[State]) -> State:
        """The states of all groups, stacked on a first axis; undoes `by_group`."""
        if self.num_groups == 1:
            return states[0]
        return {k: tf.stack([s[k] for s in states]) for k in states[0]}

    def recorded(self, similarities: Tensor, norms: Tensor, active: Tensor) -> Tensor:
        """The epoch's records with those of one more balancing step."""
        pairs = tf.cast(active[:, None] & active[None, :], similarities.dtype)
        step = tf.stack(
            [
                similarities * pairs,
                tf.cast(similarities < 0, pairs.dtype) * pairs,
                pairs,
                tf.linalg.diag(norms) * pairs,
            ]
        )
        return read(self.records) + tf.cast(step, self.records.dtype)

    def start_epoch(self) -> int:
        """Forgets the recorded steps, and returns the number of steps so far."""
        if self.records is not None:
            self.records.assign(np.zeros(self.records.shape))
        return int(array(self.step))

    def summary(self) -> dict[str, np.ndarray]:
        """What callbacks show; see `MultiTaskModel.balancing_state`."""
        shown = {
            "step": array(self.step),
            "loss_weights": array(self.loss_weights),
            "nonfinite": array(self.nonfinite_losses) + array(self.nonfinite_gradients),
        }
        if self.records is None:
            return shown
        if self.task_weights is not None:
            weights = array(self.task_weights)
            shown["task_weights"] = self._mean_over_groups(weights)
            if self.num_groups > 1:
                shown["group_task_weights"] = weights
        cosine, conflicts, pairs, norms = array(self.records)
        off = ~np.eye(self.num_tasks, dtype=bool)
        with np.errstate(invalid="ignore"):
            return {
                **shown,
                "gradient_norms": np.diag(norms) / np.diag(pairs),
                "cosine": cosine / pairs,
                "conflict_rate": conflicts[off].sum() / pairs[off].sum(),
            }

    def _mean_over_groups(self, weights):
        """Task weights over the groups that a task reaches; 1 if it reaches none."""
        count = self._reaching.sum(axis=0)
        total = np.where(self._reaching, weights, 0.0).sum(axis=0)
        return np.where(count > 0, total / np.maximum(count, 1), 1.0)

    def named_variables(self) -> dict[str, keras.Variable]:
        """All variables by the name under which they are saved."""
        named = {
            "step": self.step,
            "seed": self.seed,
            "loss_weights": self.loss_weights,
            "priorities": self.priorities,
            "nonfinite_losses": self.nonfinite_losses,
            "nonfinite_gradients": self.nonfinite_gradients,
        }
        weighting = f"weighting.{self._names['weighting']}"
        balancer = f"balancer.{self._names['balancer']}"
        for name, variable in self.weighting_variables.items():
            named[f"{weighting}.variable.{name}"] = variable
        for name, variable in self.weighting_state.items():
            named[f"{weighting}.state.{name}"] = variable
        if self.optimizer is not None:
            for index, variable in enumerate(self.optimizer.variables):
                named[f"{weighting}.optimizer.{index}"] = variable
        if self.task_weights is not None:
            named[f"{balancer}.task_weights"] = self.task_weights
        for name, variable in self.balancer_state.items():
            named[f"{balancer}.state.{name}"] = variable
        return named

    def save(self, store: Any) -> None:
        """Writes every variable into a Keras weights store."""
        for name, variable in self.named_variables().items():
            store[name] = array(variable)

    def load(self, store: Any) -> bool:
        """Reads back what `save` wrote; what another method wrote is left out.

        A variable that is not there, or has another shape, keeps its initial value,
        and a warning names the method that starts afresh.

        Returns:
            Whether steps made before do not read the priorities, see
            `set_priorities`.
        """
        saved = set(store.keys())
        if not saved:
            return False
        named = self.named_variables()
        fits = {n for n in named if n in saved and store[n].shape == named[n].shape}
        afresh = {".".join(n.split(".")[:2]) for n in set(named) - fits if "." in n}
        if afresh:
            stored = sorted({".".join(n.split(".")[:2]) for n in saved if "." in n})
            warnings.warn(
                f"The state of {sorted(afresh)} starts afresh: the file holds "
                f"{stored or 'no method state'}.",
                stacklevel=2,
            )
        for name in fits:
            if ".".join(name.split(".")[:2]) not in afresh:
                named[name].assign(np.asarray(store[name]))
        return self.set_priorities(array(self.priorities))


def _variable(value, name, dtype=None, trainable=False):
    value = np.asarray(value)
    return keras.Variable(
        value,
        dtype=dtype or keras.config.floatx(),
        trainable=trainable,
        aggregation="only_first_replica",
        name=name,
    )


def _variables(values):
    return {name: _variable(value, name) for name, value in values.items()}


def _plain_copy(optimizer):
    """The same optimizer for method variables: it only takes steps."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    config = optimizer.get_config()
    for name in ("clipnorm", "global_clipnorm", "clipvalue", "loss_scale_factor"):
        config[name] = None
    if config.get("weight_decay") is not None:
        config["weight_decay"] = 0.0  # AdamW refuses `None`.
    config.update(use_ema=False, ema_overwrite_frequency=None)
    config["learning_rate"] = 0.0  # The step copies the current rate.
    return type(optimizer).from_config(config)
