"""Sluice networks: towers that mix subspaces, and heads that mix layers."""

import functools

from keras_mtl.architectures.architecture import Architecture, registry
from keras_mtl.architectures.exchange import (
    Stages,
    check_several,
    check_stages,
    exchanged,
    stages_by_task,
    unit_per_task,
)
from keras_mtl.layers import LayerMixture, SluiceUnit
from keras_mtl.utils.checks import check_count, check_non_negative, check_share


@registry.register("sluice")
class Sluice(Architecture):
    """One tower per task; subspaces are mixed after every stage, stages at the end.

    Drawing: every task has a copy of the backbone with layers of its own. After a
    stage stands one unit per task, which cuts the channels of all towers into
    subspaces and mixes these (`α`, one number per pair of subspaces), so that a task
    may share one part of its features and keep another. After the last stage each
    tower goes on with a mixture of what it had after all stages (`β`, one number per
    stage), of those at least that have the shape of the last. Every layer before the
    last unit serves all tasks and is shared; what follows it, the last unit and the
    mixture of stages are the task's own.

    A penalty keeps the subspaces of a tower apart. It is a loss of the layers, so no
    loss weighting and no balancer touches it; see `SluiceUnit`.

    With `own_weight=1.0` the towers are independent at the start.

    Args:
        stages: Names of the layers after which the towers meet; a list for all
            tasks, or a dict of lists by task. Defaults to the stages that the
            backbone names.
        num_subspaces: Number of subspaces; it must divide the channels of every
            stage.
        own_weight: Number from 0 to 1, the first weight of a tower's own subspace
            and of its last stage. The others begin with equal shares of the rest.
        orthogonality: Number `>= 0`, the weight of the penalty.

    Raises:
        ValueError: For arguments out of range. When the model is built: for one
            task only, stages that do not exist or cannot be cut, or stages whose
            shape differs between the tasks' backbones.

    Example:
    >>> import keras_mtl as mtl
    >>> tasks = [mtl.Task("kind", mtl.heads.Classification(3)),
    ...          mtl.Task("price", mtl.heads.Regression())]
    >>> net = mtl.backbones.MLP(input_shape=(8,), units=(16, 16))
    >>> model = mtl.build_model(net, tasks, architecture="sluice")
    >>> model.get_layer("kind_dense_0_sluice").alpha.shape
    TensorShape([2, 4])
    >>> model.get_layer("kind_stages").beta.shape
    TensorShape([2])

    Reference:
        - [Ruder et al., 2019](https://arxiv.org/abs/1705.08142). In the authors'
          code the penalty is that of weight matrices of recurrent layers which the
          user chooses; here, as any layer may be a stage, it is that of the features.
    """

    def __init__(
        self,
        *,
        stages: Stages = None,
        num_subspaces: int = 2,
        own_weight: float = 0.9,
        orthogonality: float = 0.01,
    ):
        self.stages = check_stages(stages)
        self.num_subspaces = check_count("num_subspaces", num_subspaces)
        self.own_weight = check_share("own_weight", own_weight)
        self.orthogonality = check_non_negative("orthogonality", orthogonality)

    def connect(self, inputs, backbones, tasks):
        check_several(self, tasks)
        last = {
            task: names[-1]
            for task, names in stages_by_task(backbones, tasks, self.stages).items()
        }
        before: dict[str, list] = {task.name: [] for task in tasks}

        def mix(layers, tensors):
            mixed = self._mix(layers, tensors)
            for task, tensor in mixed.items():
                before[task].append(tensor)
            return self._of_all_stages(before) if layers == last else mixed

        return exchanged(inputs, backbones, tasks, self.stages, mix)

    def _mix(self, layers, tensors):
        make = functools.partial(
            SluiceUnit,
            num_subspaces=self.num_subspaces,
            own_weight=self.own_weight,
            orthogonality=self.orthogonality,
        )
        return unit_per_task(layers, tensors, make, "sluice")

    def _of_all_stages(self, before):
        mixed = {}
        for task, tensors in before.items():
            alike = [t for t in tensors if t.shape == tensors[-1].shape]
            mixed[task] = tensors[-1]
            if len(alike) > 1:
                mixture = LayerMixture(self.own_weight, name=f"{task}_stages")
                mixed[task] = mixture(alike)
        return mixed

    def get_config(self):
        return {
            "stages": self.stages,
            "num_subspaces": self.num_subspaces,
            "own_weight": self.own_weight,
            "orthogonality": self.orthogonality,
        }
