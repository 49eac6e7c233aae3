"""Task attention: every task weighs the parts of one shared layer by itself."""

from keras_mtl.architectures.architecture import Architecture, registry
from keras_mtl.architectures.exchange import one_backbone
from keras_mtl.architectures.tower import Tower, stages_of
from keras_mtl.layers import FeatureAttention
from keras_mtl.utils.checks import check_count


@registry.register("task_attention")
class TaskAttention(Architecture):
    """One backbone for all tasks; each attends to the parts of one layer of it.

    Drawing: the backbone runs once up to one layer and is shared. There, every task
    has an attention of its own: over the tokens of a sequence, the positions of a
    map, or the units of a pooled feature. The layers after it run once per task,
    with shared variables; a mean over tokens or pixels becomes the task's weighted
    mean. (Batch normalisation among them has one running mean for all tasks: attend
    after the last of it.) At the start all weights are equal, which is hard sharing.
    It also takes one task.

    Args:
        stage: Name of the layer that tasks attend to. Defaults to the last stage that
            the backbone names; where it names none, to what it gives as `"map"`, else
            `"sequence"`, else `"pooled"`.
        units: Width of the hidden layer that scores the parts.

    Raises:
        ValueError: For arguments out of range. When the model is built: for a layer
            that does not exist, or for several backbones.

    Example:
    >>> import keras_mtl as mtl
    >>> tasks = [mtl.Task("kind", mtl.heads.Classification(3)),
    ...          mtl.Task("price", mtl.heads.Regression())]
    >>> net = mtl.backbones.ConvNet(input_shape=(16, 16, 1), filters=(4, 8))
    >>> model = mtl.build_model(net, tasks, architecture="task_attention")
    >>> [layer.name for layer in model.layers if "attention" in layer.name]
    ['kind_stage_1_relu_attention', 'price_stage_1_relu_attention']

    Reference:
        - [Yang et al., 2016](https://aclanthology.org/N16-1174), the attention; every
          task here has its own.
    """

    def __init__(self, *, stage: str | None = None, units: int = 32):
        if stage is not None and not isinstance(stage, str):
            raise ValueError(
                "Expected `stage` to be the name of a layer or `None`. "
                f"Received: stage={stage!r}"
            )
        self.stage = stage
        self.units = check_count("units", units)

    def connect(self, inputs, backbones, tasks):
        backbone = one_backbone(self, backbones)
        shared = Tower(backbone, inputs[tasks[0].name], suffix=None)
        stage = self._stage(backbone)
        tensor = shared.advance(stage)
        features = {}
        for task in tasks:
            name = f"{task.name}_{stage}_attention"
            own = shared.branch(suffix=None)
            own.put(stage, FeatureAttention(self.units, name=name)(tensor))
            features[task.name] = own.features()
        return features

    def _stage(self, backbone):
        if self.stage is not None:
            return stages_of(backbone, [self.stage], "stage")[0]
        if getattr(backbone, "stages", ()):
            return stages_of(backbone, None, "stage")[-1]
        features = backbone.output
        names = [n for n in ("map", "sequence", "pooled") if n in features]
        tensor = features[names[0] if names else next(iter(features))]
        name = tensor._keras_history.operation.name
        return stages_of(backbone, [name], "stage")[0]

    def get_config(self):
        return {"stage": self.stage, "units": self.units}
