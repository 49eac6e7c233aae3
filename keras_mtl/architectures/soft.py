"""Soft sharing: a tower per task, and a penalty on the distance of the towers."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_mtl.architectures.architecture import Architecture, registry
from keras_mtl.architectures.exchange import check_several
from keras_mtl.architectures.tower import Tower
from keras_mtl.utils.checks import check_choice, check_non_negative
from keras_mtl.utils.types import Tensor

_DISTANCES = ("l2", "trace_norm", "relation")


@registry.register("soft")
class SoftSharing(Architecture):
    """One tower per task with variables of its own; a penalty keeps them alike.

    Drawing: every task has a copy of the backbone, and nothing connects the copies,
    so no variable is shared and there is nothing for a balancer to balance. Trained
    is the sum of the losses and `weight` times a penalty. With the variables that
    correspond to each other in all towers, made flat, as the columns `w_t` of a
    matrix `W`, it is one of

        "l2"           Σ_W Σ_{s < t} ‖w_s - w_t‖²
        "trace_norm"   Σ_W tr (WᵀW)^½, the sum of the singular values of W
        "relation"     tr(Ω⁻¹ Σ_W WᵀW)

    `Ω`, of shape `(num_tasks, num_tasks)` and trace 1, tells how the tasks are
    related. It is learned in closed form: the best one for given variables is
    `(Σ_W WᵀW)^½` over its trace; `relations` returns it. With it, the penalty is the
    square of the trace norm of all variables together.

    Variables correspond when their layers have the same name in the backbones of all
    tasks, and all variables of these layers the same shapes. Those of the heads, and
    frozen ones, are left out. No loss weighting touches the penalty.

    Args:
        distance: `"l2"`, `"trace_norm"` or `"relation"`.
        weight: Number `>= 0`. With 0, the towers are independent.

    Raises:
        ValueError: For arguments out of range. When the model is built: for one
            task only, or backbones without a variable that corresponds.

    Example:
    >>> import keras_mtl as mtl
    >>> tasks = [mtl.Task("kind", mtl.heads.Classification(3)),
    ...          mtl.Task("price", mtl.heads.Regression())]
    >>> net = mtl.backbones.MLP(input_shape=(8,), units=(16, 4))
    >>> model = mtl.build_model(net, tasks, architecture=SoftSharing("trace_norm"))
    >>> [layer.name for layer in model.layers if "dense" in layer.name]
    ['dense_0_kind', 'dense_0_price', 'dense_1_kind', 'dense_1_price']

    Reference:
        - [Duong et al., 2015](https://aclanthology.org/P15-2139), L2
        - [Yang & Hospedales, 2017](https://arxiv.org/abs/1606.04038), trace norm;
          of their three ways to a matrix, the one with a column per task
        - [Zhang & Yeung, 2010](https://arxiv.org/abs/1203.3536), the relation matrix
          and its closed form; there, of linear models, with a penalty on `W` besides
    """

    def __init__(self, distance: str = "l2", *, weight: float = 0.01):
        self.distance = check_choice("distance", distance, _DISTANCES)
        self.weight = check_non_negative("weight", weight)

    def connect(self, inputs, backbones, tasks):
        check_several(self, tasks)
        features = {}
        for task in tasks:
            tower = Tower(backbones[task.name], inputs[task.name], suffix=task.name)
            features[task.name] = tower.features()
        self._check_backbones(backbones)
        return features

    def _check_backbones(self, backbones):
        shapes = {
            task: {
                layer.name: [tuple(v.shape) for v in layer.trainable_variables]
                for layer in backbone.layers
                if layer.trainable_variables
            }
            for task, backbone in backbones.items()
        }
        first = next(iter(shapes))
        alike = [
            name
            for name, own in shapes[first].items()
            if all(other.get(name) == own for other in shapes.values())
        ]
        if self.weight and not alike and any(shapes.values()):
            raise ValueError(
                "Expected the backbones of all tasks to have layers of one name with "
                "variables of one shape, whose distance SoftSharing penalises. "
                f"Received: {shapes}. Rename the layers, or set `weight=0`"
            )

    def penalty(self, variables_by_task):
        matrices = corresponding(variables_by_task)
        if not self.weight or not matrices:
            return None
        if self.distance == "l2":
            total = sum(_squared_distances(columns) for columns in matrices)
        elif self.distance == "trace_norm":
            total = sum(_trace_norm(_gram([columns])) for columns in matrices)
        else:
            gram = _gram(matrices)
            root, inverse = _roots(gram)
            inverse_relation = ops.trace(root) * inverse
            total = ops.sum(ops.stop_gradient(inverse_relation) * gram)
        return self.weight * total

    def relations(self, variables_by_task: dict[str, list]) -> Tensor:
        """The relation matrix `Ω` that is the best for the variables.

        Args:
            variables_by_task: Dict from task name to its trainable variables, for
                example `{t: model.task_model(t).trainable_variables for t in …}`.

        Returns:
            Tensor of shape `(num_tasks, num_tasks)` and trace 1; its entries over the
            roots of their row's and column's diagonal are correlations of tasks.
        """
        root, _ = _roots(_gram(corresponding(variables_by_task)))
        return root / ops.trace(root)

    def get_config(self):
        return {"distance": self.distance, "weight": self.weight}


def corresponding(variables_by_task: dict[str, list]) -> list[list]:
    """Variables of the towers that correspond, as lists with one per task.

    Args:
        variables_by_task: Dict from task name to the variables that it reaches.
    """
    by_layer = [
        _by_layer(variables, f"_{task}")
        for task, variables in variables_by_task.items()
    ]
    shapes = [
        {name: [tuple(v.shape) for v in variables] for name, variables in table.items()}
        for table in by_layer
    ]
    return [
        list(columns)
        for name in by_layer[0]
        if all(table.get(name) == shapes[0][name] for table in shapes)
        for columns in zip(*(table[name] for table in by_layer), strict=True)
    ]


def _by_layer(variables: Sequence[Any], suffix: str) -> dict[str, list]:
    """Variables of a tower, by the name that their layer has in the backbone."""
    table: dict[str, list] = {}
    for variable in variables:
        layer = variable.path.split("/")[0]
        if layer.endswith(suffix):
            table.setdefault(layer.removesuffix(suffix), []).append(variable)
    return table


def _flat(columns):
    dtype = keras.config.floatx()
    return ops.stack([ops.reshape(ops.cast(w, dtype), (-1,)) for w in columns])


def _squared_distances(columns):
    """`Σ_{s < t} ‖w_s - w_t‖²`, by way of the distances to the mean."""
    rows = _flat(columns)
    return len(columns) * ops.sum(ops.square(rows - ops.mean(rows, axis=0)))


def _gram(matrices):
    """`Σ_W WᵀW`, of shape `(num_tasks, num_tasks)`."""
    rows = [_flat(columns) for columns in matrices]
    return sum(ops.matmul(w, ops.transpose(w)) for w in rows)


def _roots(gram):
    """`gram ** 0.5` and `gram ** -0.5`, of towers that may be alike or zero."""
    values, vectors = ops.eigh(ops.stop_gradient(gram))
    # Towers start alike: all eigenvalues but one are rounding errors then.
    floor = 1e-6 * ops.max(values) + keras.config.epsilon() ** 2
    roots = ops.sqrt(ops.maximum(values, 0.0))
    inverse = vectors / ops.sqrt(ops.maximum(values, floor))
    turned = ops.transpose(vectors)
    return ops.matmul(vectors * roots, turned), ops.matmul(inverse, turned)


def _trace_norm(gram):
    """`tr gram ** 0.5`, with the gradient `gram ** -0.5 / 2`.

    That of an eigendecomposition is not defined where two eigenvalues are equal.
    """
    root, inverse = _roots(gram)
    slope = ops.sum(inverse * gram) / 2.0
    return ops.trace(root) + slope - ops.stop_gradient(slope)
