"""DSelect-k: a mixture of experts of which every task selects a few, smoothly."""

from collections.abc import Sequence

from keras_mtl.architectures.architecture import registry
from keras_mtl.architectures.mmoe import MMoE
from keras_mtl.layers.gate import DSelectKGate, check_selected
from keras_mtl.utils.checks import check_count, check_non_negative, check_positive


@registry.register("dselect_k")
class DSelectK(MMoE):
    """Shared experts, of which each task selects at most `num_selected`.

    Who shares what is as in `MMoE`; the gates are `keras_mtl.layers.DSelectKGate`,
    which write the numbers of the selected experts in binary and smooth steps, so
    that selecting has gradients everywhere. Each task's gate adds its own entropy
    to the loss (beside the task losses: no loss weighting or balancer touches it),
    which leads the selectors to one expert each.

    Args:
        num_experts: Integer, at least 2.
        num_selected: Integer, experts that a task selects, at most `num_experts`.
        units: Widths of the layers of each expert.
        activation: Activation of experts and hidden layers of gates.
        dropout: Dropout rate after each layer of the experts.
        gate_units: Widths of hidden layers of the gates. The paper has none.
        gamma: Positive number, width of the smooth step.
        entropy_weight: Number `>= 0`, factor of the entropies.
        per_example: Whether every example selects for itself, or a task selects
            once for all.

    Raises:
        ValueError: At construction, if more experts are selected than there are,
            and as `MMoE`.

    Cost:
        That of `MMoE`: all experts are computed, whichever are selected.

    Example:
    >>> import keras_mtl as mtl
    >>> tasks = [mtl.Task(name, mtl.heads.Regression()) for name in ("a", "b")]
    >>> net = mtl.backbones.MLP(input_shape=(8,), units=(32,))
    >>> model = mtl.build_model(net, tasks, architecture=DSelectK(8, num_selected=2))
    >>> model.get_layer("a_pooled_gate").num_selected
    2

    Reference:
        - [Hazimeh et al., 2021](https://arxiv.org/abs/2106.03760)
    """

    def __init__(
        self,
        num_experts: int = 8,
        *,
        num_selected: int = 2,
        units: Sequence[int] = (64,),
        activation: str = "relu",
        dropout: float = 0.0,
        gate_units: Sequence[int] = (),
        gamma: float = 1.0,
        entropy_weight: float = 0.01,
        per_example: bool = True,
    ):
        super().__init__(
            check_count("num_experts", num_experts, 2),
            units=units,
            activation=activation,
            dropout=dropout,
            gate_units=gate_units,
        )
        self.num_selected = check_selected(num_selected, num_experts)
        self.gamma = check_positive("gamma", gamma)
        self.entropy_weight = check_non_negative("entropy_weight", entropy_weight)
        self.per_example = per_example

    def _gate(self, name):
        return DSelectKGate(
            self.num_experts,
            self.num_selected,
            gamma=self.gamma,
            entropy_weight=self.entropy_weight,
            per_example=self.per_example,
            name=name,
        )

    def get_config(self):
        config = super().get_config()
        del config["per_task_gates"]
        return {
            **config,
            "num_selected": self.num_selected,
            "gamma": self.gamma,
            "entropy_weight": self.entropy_weight,
            "per_example": self.per_example,
        }
