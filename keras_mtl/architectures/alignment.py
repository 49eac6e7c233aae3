"""Alignment: a linear layer per task turns its features into a common space."""

from typing import Any

from keras import layers

from keras_mtl.architectures.architecture import Architecture, registry
from keras_mtl.layers import CovarianceAlignment
from keras_mtl.utils.checks import check_count, check_non_negative


@registry.register("alignment")
class Alignment(Architecture):
    """Every task's features are aligned before a layer that all tasks share.

    A task's features (of the one backbone, or of the task's own where `build_model`
    is given one per task) pass a linear layer of the task, which maps them into one
    space, and then a dense layer that all tasks share. A task whose data vary in other
    directions than the others' would pull that layer its own way; the linear layer can
    turn them. It starts as the identity where the widths are equal.

    With `weight` a loss is added that draws the covariance matrices of the aligned
    features together, see `CovarianceAlignment`; it is no task's, so a balancer leaves
    it alone. Like batch normalisation it sees the batch of its replica only.

    Every feature of the backbone (pooled, sequence, map) has its own layers, which
    work on its last axis.

    Args:
        units: Width of the common space and of the shared layer; defaults to the
            width of the features.
        weight: Number `>= 0`, weight of the alignment loss.
        activation: Activation of the shared layer.

    Raises:
        ValueError: For one task, or features of different widths without `units`.

    Example:
    >>> import keras_mtl as mtl
    >>> tasks = [mtl.Task(name, mtl.heads.Regression()) for name in ("a", "b")]
    >>> nets = {"a": mtl.backbones.MLP(input_shape=(8,), units=(6,), name="left"),
    ...         "b": mtl.backbones.MLP(input_shape=(8,), units=(4,), name="right")}
    >>> model = mtl.build_model(nets, tasks, architecture=Alignment(5, weight=0.1))
    >>> tuple(model.get_layer("b_pooled_alignment").kernel.shape)
    (4, 5)

    Reference:
        - [Wu et al., 2020](https://arxiv.org/abs/2005.00944): the alignment layers
          before a shared module. They are trained by the tasks' losses alone there;
          the loss on covariances is ours, of the kind of
          [Sun & Saenko, 2016](https://arxiv.org/abs/1607.01719), free of scale.
    """

    def __init__(
        self,
        units: int | None = None,
        *,
        weight: float = 0.0,
        activation: str = "relu",
    ):
        self.units = None if units is None else check_count("units", units)
        self.weight = check_non_negative("weight", weight)
        self.activation = activation

    def connect(self, inputs, backbones, tasks):
        if len(tasks) < 2:
            raise ValueError(
                "Expected at least two tasks whose features can be aligned. "
                f"Received: tasks {[task.name for task in tasks]}. Use "
                "architecture='hard'"
            )
        made: dict[int, Any] = {}
        features: dict[str, dict[str, Any]] = {}
        for task in tasks:
            backbone = backbones[task.name]
            if id(backbone) not in made:
                made[id(backbone)] = backbone(inputs[task.name])
            features[task.name] = dict(made[id(backbone)])
        for name in {n: None for given in features.values() for n in given}:
            of_task = {t: given[name] for t, given in features.items() if name in given}
            for task, tensor in self._aligned(name, of_task).items():
                features[task][name] = tensor
        return features

    def _aligned(self, feature, of_task):
        """Tensors by task, from tensors by task, for one of the features."""
        widths = {task: tensor.shape[-1] for task, tensor in of_task.items()}
        if self.units is None and len(set(widths.values())) > 1:
            raise ValueError(
                "Expected `units`, the width of a common space, where features of the "
                f"tasks differ in width. Received: units=None and feature {feature!r} "
                f"of widths {widths}"
            )
        units = self.units or next(iter(widths.values()))
        memory = CovarianceAlignment(
            len(of_task), weight=self.weight, name=f"{feature}_covariance"
        )
        shared = layers.Dense(
            units, activation=self.activation, name=f"{feature}_shared"
        )
        aligned = {}
        for index, (task, tensor) in enumerate(of_task.items()):
            start = "identity" if widths[task] == units else "orthogonal"
            turn = layers.Dense(
                units,
                use_bias=False,
                kernel_initializer=start,
                name=f"{task}_{feature}_alignment",
            )
            x = turn(tensor)
            if self.weight:
                x = memory(x, task=index)
            aligned[task] = shared(x)
        return aligned

    def get_config(self):
        return {
            "units": self.units,
            "weight": self.weight,
            "activation": self.activation,
        }
