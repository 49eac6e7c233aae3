"""Cross-stitch networks: towers that mix their features after every stage."""

import functools

from keras_mtl.architectures.architecture import Architecture, registry
from keras_mtl.architectures.exchange import (
    Stages,
    check_several,
    check_stages,
    exchanged,
    unit_per_task,
)
from keras_mtl.layers import CrossStitchUnit
from keras_mtl.utils.checks import check_choice, check_share


@registry.register("cross_stitch")
class CrossStitch(Architecture):
    """One tower per task; after every stage each mixes the features of all.

    Drawing: every task has a copy of the backbone with layers of its own. After a
    stage stands one cross-stitch unit per task. It sees the stage's output `h_j` of
    all towers, and its own tower goes on with their mixture,

        x_i = Σ_j α_ij ⊙ h_j

    with one learned factor per channel (`mixing="channel"`) or with a matrix per pair
    of towers (`mixing="full"`, the tensor of tasks × tasks × channels × channels).
    Every layer before the last unit serves all tasks and is shared; what follows it,
    and the last unit itself, is the task's own.

    With `own_weight=1.0` the towers are independent at the start.

    Args:
        stages: Names of the layers after which the towers mix; a list for all
            tasks, or a dict of lists by task. Defaults to the stages that the
            backbone names.
        mixing: `"channel"` or `"full"`.
        own_weight: Number from 0 to 1, the first weight of a tower's own features.
            The other towers begin with equal shares of the rest.

    Raises:
        ValueError: For arguments out of range. When the model is built: for one
            task only, stages that do not exist, or stages whose shape differs
            between the tasks' backbones.

    Example:
    >>> import keras_mtl as mtl
    >>> tasks = [mtl.Task("kind", mtl.heads.Classification(3)),
    ...          mtl.Task("price", mtl.heads.Regression())]
    >>> net = mtl.backbones.MLP(input_shape=(8,), units=(16, 4))
    >>> model = mtl.build_model(net, tasks, architecture="cross_stitch")
    >>> [layer.name for layer in model.layers if "cross_stitch" in layer.name]
    ['kind_dense_0_cross_stitch', 'price_dense_0_cross_stitch',
     'kind_dense_1_cross_stitch', 'price_dense_1_cross_stitch']

    Reference:
        - [Misra et al., 2016](https://arxiv.org/abs/1604.03539). There, the towers
          are trained alone first, there are two of them, and the weights start at
          0.9 and 0.1.
    """

    def __init__(
        self,
        *,
        stages: Stages = None,
        mixing: str = "channel",
        own_weight: float = 0.9,
    ):
        self.stages = check_stages(stages)
        self.mixing = check_choice("mixing", mixing, ("channel", "full"))
        self.own_weight = check_share("own_weight", own_weight)

    def connect(self, inputs, backbones, tasks):
        check_several(self, tasks)
        return exchanged(inputs, backbones, tasks, self.stages, self._mix)

    def _mix(self, layers, tensors):
        make = functools.partial(
            CrossStitchUnit, mixing=self.mixing, own_weight=self.own_weight
        )
        return unit_per_task(layers, tensors, make, "cross_stitch")

    def get_config(self):
        return {
            "stages": self.stages,
            "mixing": self.mixing,
            "own_weight": self.own_weight,
        }
