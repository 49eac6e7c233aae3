"""Who shares what: the parameters and the arithmetic of a model, by their tasks."""

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from keras_mtl.analysis.flops import call_flops
from keras_mtl.plots import Table, sharing_figure, text_table
from keras_mtl.training.graph import calls

Tasks = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class SharingReport:
    """What `sharing_report` finds. `print` shows it as a table.

    Attributes:
        task_names: Names of the tasks.
        parameters: Dict from a tuple of task names to the number of parameters that
            exactly these tasks use.
        flops: The same of the floating-point operations of one forward pass of one
            example.
        unreached: Paths of trainable variables that no task's gradient reaches.
    """

    task_names: Tasks
    parameters: dict[Tasks, int]
    flops: dict[Tasks, int]
    unreached: Tasks

    def table(self) -> Table:
        """A row per group of tasks, the largest groups first."""
        groups = sorted(
            self.parameters.keys() | self.flops.keys(),
            key=lambda group: (-len(group), [self.task_names.index(n) for n in group]),
        )
        columns = (self.parameters, self.flops)
        totals = [sum(column.values()) for column in columns]
        rows = []
        for group in groups:
            cells = []
            for column, total in zip(columns, totals, strict=True):
                value = column.get(group, 0)
                cells += [f"{value:,}", f"{value / max(total, 1):.1%}"]
            rows.append((self._name(group), *cells))
        total_cells = [cell for total in totals for cell in (f"{total:,}", "")]
        rows.append(("total", *total_cells))
        header = ("used by", "parameters", "share", "FLOPs", "share")
        return Table(header, tuple(rows), num_labels=1)

    def figure(self) -> Any:
        """A bar per task of what it shares with all, with some, and with none.

        Returns:
            A `matplotlib.figure.Figure`.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        panels = {
            "parameters": self._split(self.parameters),
            "FLOPs of a forward pass": self._split(self.flops),
        }
        return sharing_figure(panels, self.task_names)

    def _split(self, column):
        """Per task, what all tasks, some tasks and it alone use."""
        found = []
        for name in self.task_names:
            parts = [0, 0, 0]
            for group, value in column.items():
                if name in group:
                    alone = len(group) == 1
                    shared_by_all = len(group) == len(self.task_names)
                    parts[2 if alone else 0 if shared_by_all else 1] += value
            found.append(parts)
        return found

    def _name(self, group):
        if len(group) == len(self.task_names) > 1:
            return f"all {len(group)} tasks"
        return ", ".join(group) if group else "no task"

    def __str__(self):
        lines = [text_table(self.table())]
        if self.unreached:
            lines += ["", "No gradient reaches: " + ", ".join(self.unreached)]
        return "\n".join(lines)


def sharing_report(model: keras.Model) -> SharingReport:
    """Finds from the graph of a model which tasks share what.

    Args:
        model: A `MultiTaskModel`, or any functional model with a dict of outputs.

    Returns:
        A `SharingReport`: print it, or draw it with `figure()`.

    Raises:
        TypeError: If the model has no dict of outputs.

    Example:
    >>> import keras_mtl as mtl
    >>> tasks = [mtl.Task("kind", mtl.heads.Classification(3)),
    ...          mtl.Task("price", mtl.heads.Regression())]
    >>> net = mtl.backbones.MLP(input_shape=(8,), units=(16,))
    >>> print(sharing_report(mtl.build_model(net, tasks)))
    used by      parameters  share  FLOPs  share
    --------------------------------------------
    all 2 tasks         144  67.9%    272  67.3%
    kind                 51  24.1%     99  24.5%
    price                17   8.0%     33   8.2%
    total               212           404
    """
    if not isinstance(getattr(model, "output", None), dict):
        raise TypeError(
            "Expected `model` to be a functional model with a dict of outputs, one "
            f"per task, as `build_model` makes it. Received: model={model!r}"
        )
    of_task = {name: calls(output) for name, output in model.output.items()}
    flops: dict[Tasks, int] = {}
    users: dict[int, Tasks] = {}
    for key in {key: None for found in of_task.values() for key in found}:
        group = tuple(name for name, found in of_task.items() if key in found)
        operation, node = of_task[group[0]][key]
        flops[group] = flops.get(group, 0) + call_flops(operation, node)
        for variable in getattr(operation, "weights", ()):
            before = users.get(id(variable), ())
            users[id(variable)] = tuple(n for n in of_task if n in {*before, *group})
    parameters: dict[Tasks, int] = {}
    for variable in model.weights:
        group = users.get(id(variable), ())
        size = int(tf.size(variable.value))
        parameters[group] = parameters.get(group, 0) + size
    return SharingReport(tuple(of_task), parameters, flops, _unreached(model))


def _unreached(model):
    """Paths of the trainable variables that no output depends on."""

    @tf.function(autograph=False)
    def connected(inputs):
        with tf.GradientTape() as tape:
            outputs = keras.tree.flatten(model(inputs, training=True))
            total = tf.add_n([tf.reduce_sum(tf.cast(o, "float32")) for o in outputs])
        values = [v.value for v in model.trainable_variables]
        gradients = tape.gradient(total, values)
        reached.extend(g is not None for g in gradients)

    def spec(tensor):
        return tf.TensorSpec([size or 1 for size in tensor.shape], tensor.dtype)

    reached: list[bool] = []
    connected.get_concrete_function(keras.tree.map_structure(spec, model.input))
    variables = zip(model.trainable_variables, reached, strict=True)
    return tuple(variable.path for variable, found in variables if not found)
