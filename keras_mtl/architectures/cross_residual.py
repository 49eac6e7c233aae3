"""Residual connections between the towers of several tasks."""

from keras_mtl.architectures.architecture import Architecture, registry
from keras_mtl.architectures.exchange import (
    Stages,
    check_several,
    check_stages,
    exchanged,
    unit_per_task,
)
from keras_mtl.layers import CrossResidualUnit


@registry.register("cross_residual")
class CrossResidual(Architecture):
    """One tower per task; each adds a learned residual of the others to its own.

    Drawing: every task has a copy of the backbone with layers of its own. After a
    stage stands one unit per task. It sees the stage's output `h_j` of all towers,
    and its own tower goes on with

        x_i = h_i + Σ_{j ≠ i} h_j R_ij

    where the matrices `R_ij` act on the channels of each position and start at zero:
    the towers are independent at first. Every layer before the last unit serves all
    tasks and is shared; what follows it, and the last unit itself, is the task's own.

    Args:
        stages: Names of the layers after which the towers meet; a list for all
            tasks, or a dict of lists by task. Defaults to the stages that the
            backbone names.

    Raises:
        ValueError: When the model is built: for one task only, stages that do not
            exist, or stages whose shape differs between the tasks' backbones.

    Example:
    >>> import keras_mtl as mtl
    >>> tasks = [mtl.Task("kind", mtl.heads.Classification(3)),
    ...          mtl.Task("price", mtl.heads.Regression())]
    >>> net = mtl.backbones.MLP(input_shape=(8,), units=(16, 4))
    >>> model = mtl.build_model(net, tasks, architecture="cross_residual")
    >>> [layer.name for layer in model.layers if "residual" in layer.name]
    ['kind_dense_0_cross_residual', 'price_dense_0_cross_residual',
     'kind_dense_1_cross_residual', 'price_dense_1_cross_residual']

    Reference:
        - [Jou & Chang, 2016](https://arxiv.org/abs/1604.01335). There, the residuals
          join the shortcuts of a residual network; here they stand between the stages
          of any network.
    """

    def __init__(self, *, stages: Stages = None):
        self.stages = check_stages(stages)

    def connect(self, inputs, backbones, tasks):
        check_several(self, tasks)
        return exchanged(inputs, backbones, tasks, self.stages, self._add)

    @staticmethod
    def _add(layers, tensors):
        return unit_per_task(layers, tensors, CrossResidualUnit, "cross_residual")

    def get_config(self):
        return {"stages": self.stages}
