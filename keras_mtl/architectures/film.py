"""FiLM: a scale and a shift per channel and task, in a backbone that tasks share."""

from collections.abc import Sequence

from keras_mtl.architectures.architecture import registry
from keras_mtl.architectures.insertion import Insertion
from keras_mtl.architectures.tower import stages_of
from keras_mtl.layers import FeatureModulation


@registry.register("film")
class FiLM(Insertion):
    """After each stage, every task scales and shifts the channels in its own way.

    The layers of the backbone are shared; `(1 + scale) * x + shift` follows each
    stage, two numbers per channel and task, the least that can tell tasks apart.
    Both start at zero, so that at first all tasks see what the plain backbone gives.
    From the first stage on there is one pass per task. As with `Adapters`, batch
    normalisation in a trained backbone mixes the statistics of all tasks.

    Args:
        stages: Names of the layers of the backbone whose outputs are modulated.
            Defaults to the backbone's own `stages`.

    Raises:
        ValueError: If a stage does not exist.

    Example:
    >>> import keras_mtl as mtl
    >>> tasks = [mtl.Task(name, mtl.heads.Regression()) for name in ("a", "b")]
    >>> net = mtl.backbones.MLP(input_shape=(8,), units=(16, 16))
    >>> model = mtl.build_model(net, tasks, architecture="film")
    >>> model.get_layer("b_dense_1_film").count_params()
    32

    Reference:
        - [Perez et al., 2018](https://arxiv.org/abs/1709.07871), equation 2; the
          condition is the task, so that the two vectors are variables and not made
          by a network.
    """

    def __init__(self, *, stages: Sequence[str] | None = None):
        self.stages = None if stages is None else list(stages)

    def inserter(self, backbone):
        stages = stages_of(backbone, self.stages)

        def insert(tower, task):
            for stage in stages:
                film = FeatureModulation(name=f"{task}_{stage}_film")
                tower.put(stage, film(tower.advance(stage)))

        return insert

    def get_config(self):
        return {"stages": self.stages}
