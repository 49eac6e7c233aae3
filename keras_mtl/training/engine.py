"""How the task gradients of a compiled model are made, layer by layer, and why."""

import collections
import dataclasses
import math
from typing import Any

import keras

from keras_mtl import distribution
from keras_mtl.balancers import JacobianBalancer
from keras_mtl.plots import Table, text_table
from keras_mtl.training.gradients import MANY_TASKS, factors_pay_below
from keras_mtl.training.graph import all_layers, calls

# In half precision the gradients are always formed.
_PRECISE = ("float32", "float64")


@dataclasses.dataclass(frozen=True)
class EngineReport:
    """What `engine_report` finds. `print` shows it as a table.

    Attributes:
        reason: Why no layer is passed by all tasks together, or `""` where some are.
        rows: Per shared layer: its name, how many tasks share it, how they pass it
            backwards, and how the gradients of its kernel are kept.
    """

    reason: str
    rows: tuple[tuple[str, int, str, str], ...]

    def table(self) -> Table:
        """A row per shared layer."""
        header = ("shared layer", "tasks", "backward", "gradients of its kernel")
        rows = tuple((name, f"{count}", *how) for name, count, *how in self.rows)
        return Table(header, rows, num_labels=1)

    def __str__(self):
        lines = [text_table(self.table())]
        if self.reason:
            lines += ["", f"One backward pass after the other: {self.reason}."]
        return "\n".join(lines)


def engine_report(model: Any) -> EngineReport:
    """Explains what `BalancingOptions(engine=…)` comes to for a compiled model.

    A layer that is not in the step's cut is passed by one task after the other. In
    one that is, `K` kernels' gradients of `n × m` entries take `K n m` more
    multiplications per row of the batch; their Gram matrix without them takes
    `rows² (n + K m)`. The cheaper of the two is used.

    Args:
        model: A compiled `MultiTaskModel`.

    Returns:
        An `EngineReport`.

    Raises:
        ValueError: If the model is not compiled.

    Example:
    >>> import keras_mtl as mtl
    >>> tasks = [mtl.Task(name, mtl.heads.Regression()) for name in "abcd"]
    >>> net = mtl.backbones.MLP(input_shape=(64,), units=(512,))
    >>> model = mtl.build_model(net, tasks)
    >>> model.compile("adam", balancer="pcgrad")
    >>> print(engine_report(model))
    shared layer  tasks  backward     gradients of its kernel
    ---------------------------------------------------------
    dense_0           4  together  never formed below 47 rows

    Cost: nothing is run.
    """
    if not model.compiled:
        raise ValueError(
            "Expected a compiled model, whose step there is something to say of. "
            f"Received: model={model.name!r}, not compiled"
        )
    step = model._step
    reach = step.reach
    tasks = {
        id(variable): sum(position in row for row in reach.reached_shared)
        for position, variable in enumerate(reach.shared)
    }
    times = _times_called(model)
    rows = []
    for layer in all_layers(model):
        sharing = [tasks.get(id(v), 0) for v in layer.trainable_variables]
        num_tasks = max(sharing, default=0)
        if num_tasks:
            how = ("one by one", "formed")
            if (
                any(layer is other for other in step.cut)
                and len(layer.input.shape) == 2
            ):
                how = ("together", _kernel(layer, num_tasks, times[id(layer)], step))
            rows.append((layer.name, num_tasks, *how))
    return EngineReport(_reason(step), tuple(rows))


def _kernel(layer, num_tasks, times, step):
    if isinstance(step.balancer, JacobianBalancer) or times > 1:
        return "formed"
    if keras.backend.standardize_dtype(layer.compute_dtype) not in _PRECISE:
        return "formed"
    inputs, units = layer.kernel.shape
    below = math.ceil(factors_pay_below(inputs, units, num_tasks))
    known = layer.input.shape[0] is not None
    if below <= 1 or (num_tasks < MANY_TASKS and not known):
        return "formed"
    return f"never formed below {below} rows"


def _reason(step):
    options = step.options
    if step.balancer is None:
        return "there is no balancer, so there is one pass, of the sum"
    if options.scope == "features":
        return "scope='features' needs one pass through the shared part only"
    if options.engine == "unrolled":
        return "engine='unrolled'"
    with step.model.distribute_strategy.scope():
        if distribution.num_replicas() > 1:
            return "there are several replicas, whose threads trace one layer at once"
    if not step.cut:
        return "no shared layer is a plain Dense layer"
    return ""


def _times_called(model):
    """How often each layer is called, by its id."""
    made = {k: v for output in model.output.values() for k, v in calls(output).items()}
    return collections.Counter(id(operation) for operation, _ in made.values())
