"""Hard sharing: all tasks take their features from one backbone."""

from keras_mtl.architectures.architecture import Architecture, registry


@registry.register("hard")
class HardSharing(Architecture):
    """One backbone, called once; every task reads its output.

    With one backbone per task (a dict in `build_model`) each is called once, and
    tasks share what they have one and the same backbone object for.

    Reference:
        - [Caruana, 1997](https://doi.org/10.1023/A:1007379606734)
    """

    def connect(self, inputs, backbones, tasks):
        features = {}
        for task in tasks:
            backbone = backbones[task.name]
            if id(backbone) not in features:
                features[id(backbone)] = backbone(inputs[task.name])
        return {task.name: features[id(backbones[task.name])] for task in tasks}
