"""MTAN: one shared network, and attention masks of every task over its stages."""

from collections.abc import Sequence

from keras_mtl.architectures.architecture import Architecture, registry
from keras_mtl.architectures.exchange import check_stages, one_backbone
from keras_mtl.architectures.tower import Tower, stages_of
from keras_mtl.layers import AttentionModule
from keras_mtl.utils.checks import check_count


@registry.register("mtan")
class MTAN(Architecture):
    """One backbone for all tasks; each task attends to every stage of it.

    Drawing: the backbone runs once and is shared. Beside it, every task has one
    attention module per stage. The module sees the shared features of its stage and
    what the task attended to at the stage before, and masks the former. What the
    task attended to takes the place of the stages' outputs for all that follows the
    last of them: those layers run once per task, with shared variables (batch
    normalisation among them has one running mean for all tasks, so let the last stage
    come after it). The modules are the task's own.

    Stages may differ in size, width and, where positions are pooled on the way, in
    rank. With one task this is the single-task attention network of the paper.

    Args:
        stages: Names of the layers to which tasks attend. Defaults to the stages
            that the backbone names.
        units: Width of the hidden layer of every module; by default that of its
            stage.

    Raises:
        ValueError: For arguments out of range. When the model is built: for stages
            that do not exist, or for several backbones.

    Example:
    >>> import keras_mtl as mtl
    >>> tasks = [mtl.Task("kind", mtl.heads.Classification(3)),
    ...          mtl.Task("price", mtl.heads.Regression())]
    >>> net = mtl.backbones.ConvNet(input_shape=(16, 16, 1), filters=(4, 8))
    >>> model = mtl.build_model(net, tasks, architecture=MTAN())
    >>> [layer.name for layer in model.layers if "attention" in layer.name]
    ['kind_stage_0_relu_attention', 'price_stage_0_relu_attention',
     'kind_stage_1_relu_attention', 'price_stage_1_relu_attention']

    Reference:
        - [Liu et al., 2019](https://arxiv.org/abs/1803.10704). There, a mask is
          computed from the first features of a block and applied to its last; here a
          stage gives one tensor, which is both.
    """

    def __init__(
        self, *, stages: Sequence[str] | None = None, units: int | None = None
    ):
        self.stages = check_stages(stages)
        self.units = None if units is None else check_count("units", units)

    def connect(self, inputs, backbones, tasks):
        backbone = one_backbone(self, backbones)
        stages = stages_of(backbone, self.stages)
        shared = Tower(backbone, inputs[tasks[0].name], suffix=None)
        tensors = {stage: shared.advance(stage) for stage in stages}
        features = {}
        for task in tasks:
            own = shared.branch(suffix=None)
            attended: list = []
            for stage, tensor in tensors.items():
                name = f"{task.name}_{stage}_attention"
                module = AttentionModule(self.units, name=name)
                attended = [module([tensor, *attended])]
                own.put(stage, attended[0])
            features[task.name] = own.features()
        return features

    def get_config(self):
        return {"stages": self.stages, "units": self.units}
