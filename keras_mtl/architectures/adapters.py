"""Adapters: small bottlenecks per task in a backbone that all tasks share."""

from collections.abc import Sequence

from keras_mtl.architectures.architecture import registry
from keras_mtl.architectures.insertion import Insertion
from keras_mtl.architectures.tower import stages_of
from keras_mtl.layers import Adapter
from keras_mtl.utils.checks import check_count


@registry.register("adapters")
class Adapters(Insertion):
    """After each stage, every task adds a small correction of its own.

    The layers of the backbone are shared; `x + up(activation(down(x)))` with a narrow
    middle follows each stage, one per task. It starts as zero, so that at first all
    tasks see what the plain backbone gives. From the first adapter on there is one
    pass per task, which is what it costs. On a map the two projections work per
    pixel.

    Meant for a pretrained backbone that is frozen: `build_model(...,
    backbone_trainable=False)`. Then no variable is shared, no task can harm another,
    and a balancer has nothing to do. In a trained backbone batch normalisation gathers
    one set of statistics over the passes of all tasks; prefer layer normalisation.

    Args:
        bottleneck_dim: Width of the middle.
        activation: Activation there.
        stages: Names of the layers of the backbone after which adapters are put.
            Defaults to the backbone's own `stages`.

    Raises:
        ValueError: If a stage does not exist.

    Example:
    >>> import keras_mtl as mtl
    >>> tasks = [mtl.Task(name, mtl.heads.Regression()) for name in ("a", "b")]
    >>> net = mtl.backbones.MLP(input_shape=(8,), units=(16, 16))
    >>> model = mtl.build_model(net, tasks, architecture=Adapters(bottleneck_dim=2))
    >>> model.get_layer("a_dense_0_adapter").count_params()
    82

    Reference:
        - [Houlsby et al., 2019](https://arxiv.org/abs/1902.00751), one adapter per
          stage, where they put two into every layer of a transformer.
        - [Rebuffi et al., 2017](https://arxiv.org/abs/1705.08045), on maps.
    """

    def __init__(
        self,
        bottleneck_dim: int = 16,
        *,
        activation: str = "relu",
        stages: Sequence[str] | None = None,
    ):
        self.bottleneck_dim = check_count("bottleneck_dim", bottleneck_dim)
        self.activation = activation
        self.stages = None if stages is None else list(stages)

    def inserter(self, backbone):
        stages = stages_of(backbone, self.stages)

        def insert(tower, task):
            for stage in stages:
                adapter = Adapter(
                    self.bottleneck_dim,
                    activation=self.activation,
                    name=f"{task}_{stage}_adapter",
                )
                tower.put(stage, adapter(tower.advance(stage)))

        return insert

    def get_config(self):
        return {
            "bottleneck_dim": self.bottleneck_dim,
            "activation": self.activation,
            "stages": self.stages,
        }
