"""A mixture of experts that is told the task by a learned vector."""

import functools
from collections.abc import Sequence

from keras_mtl.architectures.architecture import registry
from keras_mtl.architectures.features import Calls, check_widths, features_of
from keras_mtl.architectures.mmoe import MMoE
from keras_mtl.layers import Mixture, TaskEmbedding
from keras_mtl.utils.checks import check_choice, check_count


@registry.register("task_embedding_moe")
class TaskEmbeddingMoE(MMoE):
    """Shared experts and one shared gate, which get an embedding of the task.

        backbone ── x ─┬─ [x, vector of task a] ─ gate ─ mixture ── features of a
                       ├─ [x, vector of task b] ─ gate ─ mixture ── features of b
                       └─ experts (the mixtures read them)

    Only the vectors belong to the tasks; backbone, experts and gate are shared, so
    a further task costs `embedding_dim` numbers. The vectors may go to the gate, to
    the experts, or to both.

    Args:
        num_experts: Integer, number of experts.
        units: Widths of the layers of each expert.
        embedding_dim: Integer, width of the task's vector.
        told: `"gate"`, `"experts"` or `"both"`: who gets the vector.
        activation: Activation of experts and hidden layers of the gate.
        dropout: Dropout rate after each layer of the experts.
        gate_units: Widths of hidden layers of the gate. Without any, the vector
            shifts the gate's logits alike for all examples.

    Raises:
        ValueError: As `MMoE`, and for an unknown `told`.

    Cost:
        That of `MMoE`; where the experts get the vector, they run once per task.

    Example:
    >>> import keras_mtl as mtl
    >>> tasks = [mtl.Task(name, mtl.heads.Regression()) for name in ("a", "b")]
    >>> net = mtl.backbones.MLP(input_shape=(8,), units=(32,))
    >>> model = mtl.build_model(net, tasks, architecture="task_embedding_moe")
    >>> model.get_layer("a_pooled_embedding").output.shape
    (None, 48)

    Reference:
        - [Ye et al., 2022](https://arxiv.org/abs/2205.12701), whose router reads an
          embedding of the task alone; [Gupta et al., 2022](https://arxiv.org/abs/2204.07689),
          whose gate reads it beside the features.
    """

    def __init__(
        self,
        num_experts: int = 8,
        *,
        units: Sequence[int] = (64,),
        embedding_dim: int = 16,
        told: str = "gate",
        activation: str = "relu",
        dropout: float = 0.0,
        gate_units: Sequence[int] = (32,),
    ):
        super().__init__(
            num_experts,
            units=units,
            activation=activation,
            dropout=dropout,
            gate_units=gate_units,
            per_task_gates=False,
        )
        self.embedding_dim = check_count("embedding_dim", embedding_dim)
        self.told = check_choice("told", told, ("gate", "experts", "both"))

    def connect(self, inputs, backbones, tasks):
        given = features_of(self, inputs, backbones, tasks)
        check_widths(given)
        call = Calls()
        embedding = functools.partial(TaskEmbedding, self.embedding_dim)

        def mixed(task, feature, x):
            owner = f"{task}_{feature}"
            with_task = call(f"{owner}_embedding", embedding, x)
            seen = x if self.told == "gate" else with_task
            experts = call(f"{feature}_experts", self._bank(self.num_experts), seen)
            seen = x if self.told == "experts" else with_task
            hidden = self._hidden(call, feature, seen)
            weights = call(f"{feature}_gate", self._gate, hidden)
            return call(f"{owner}_mixture", Mixture, [weights, experts])

        return {
            task: {feature: mixed(task, feature, x) for feature, x in features.items()}
            for task, features in given.items()
        }

    def get_config(self):
        config = super().get_config()
        del config["per_task_gates"]
        return {**config, "embedding_dim": self.embedding_dim, "told": self.told}
