"""NDDR: towers whose concatenated features are reduced to those of each task."""

import functools

from keras_mtl.architectures.architecture import Architecture, registry
from keras_mtl.architectures.exchange import (
    Stages,
    check_several,
    check_stages,
    exchanged,
    unit_per_task,
)
from keras_mtl.layers import NDDRUnit
from keras_mtl.utils.checks import check_share


@registry.register("nddr")
class NDDR(Architecture):
    """One tower per task; each reduces the channels of all towers to its own number.

    Drawing: every task has a copy of the backbone with layers of its own. After a
    stage stands one unit per task. It concatenates the channels of all towers, and
    its own tower goes on with

        x_i = activation(BN([h_1; …; h_K] W_i))

    where `W_i` mixes every channel with every other. Every layer before the last unit
    serves all tasks and is shared; what follows it, and the last unit itself, is the
    task's own.

    With `own_weight=1.0` the towers are independent at the start.

    Args:
        stages: Names of the layers after which the towers meet; a list for all
            tasks, or a dict of lists by task. Defaults to the stages that the
            backbone names.
        own_weight: Number from 0 to 1, the first diagonal of a tower's own block of
            `W_i`. The others' blocks begin with equal shares of the rest.
        activation: Name of the activation after the normalisation.
        synchronized: Whether batch normalisation takes its statistics over all
            replicas; without, several devices do not train as one does.

    Raises:
        ValueError: For arguments out of range. When the model is built: for one
            task only, stages that do not exist, or stages whose shape differs
            between the tasks' backbones.

    Example:
    >>> import keras_mtl as mtl
    >>> tasks = [mtl.Task("kind", mtl.heads.Classification(3)),
    ...          mtl.Task("price", mtl.heads.Regression())]
    >>> net = mtl.backbones.MLP(input_shape=(8,), units=(16, 4))
    >>> model = mtl.build_model(net, tasks, architecture=NDDR(stages=["dense_1"]))
    >>> model.get_layer("kind_dense_1_nddr").kernel.shape
    TensorShape([8, 4])

    Reference:
        - [Gao et al., 2019](https://arxiv.org/abs/1801.08297). The shortcuts of
          their second network, from all stages to the last, are left out.
    """

    def __init__(
        self,
        *,
        stages: Stages = None,
        own_weight: float = 0.9,
        activation: str = "relu",
        synchronized: bool = False,
    ):
        self.stages = check_stages(stages)
        self.own_weight = check_share("own_weight", own_weight)
        self.activation = activation
        self.synchronized = synchronized

    def connect(self, inputs, backbones, tasks):
        check_several(self, tasks)
        return exchanged(inputs, backbones, tasks, self.stages, self._reduce)

    def _reduce(self, layers, tensors):
        make = functools.partial(
            NDDRUnit,
            own_weight=self.own_weight,
            activation=self.activation,
            synchronized=self.synchronized,
        )
        return unit_per_task(layers, tensors, make, "nddr")

    def get_config(self):
        return {
            "stages": self.stages,
            "own_weight": self.own_weight,
            "activation": self.activation,
            "synchronized": self.synchronized,
        }
