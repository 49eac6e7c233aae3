"""Multi-gate mixture of experts: shared experts, weighted by a gate per task."""

import functools
from collections.abc import Sequence
from typing import Any

from keras import layers

from keras_mtl.architectures.architecture import Architecture, registry
from keras_mtl.architectures.features import Calls, check_widths, features_of
from keras_mtl.layers import ExpertBank, Gate, Mixture
from keras_mtl.utils.checks import check_count, check_decay


@registry.register("mmoe")
class MMoE(Architecture):
    """Experts that all tasks share, and a gate per task that weighs them.

                        ┌─ experts 0 … n-1 ──┐
        backbone ── x ──┼─ gate of task a ───┴─ mixture ── features of task a
                        └─ gate of task b ──── mixture ── features of task b

    Backbone and experts are shared, gates belong to the tasks. Experts and gates
    read the same features `x`, and every feature of the backbone has its own; with
    features of rank 3 and 4 they work on each token or pixel. Where the backbone is
    little more than an input, as `Tabular(units=())` is with its embeddings, the
    experts are the network. With one backbone per task, all of them feed the same
    experts.

    Args:
        num_experts: Integer, number of experts.
        units: Widths of the layers of each expert; the last is the width of the
            features that the heads get.
        activation: Activation of experts and hidden layers of gates.
        dropout: Dropout rate after each layer of the experts.
        gate_units: Widths of hidden layers of the gates. The paper has none.
        per_task_gates: With `False` one gate serves all tasks, which then have the
            same features (the paper's baseline, a mixture with one gate).

    Raises:
        ValueError: At construction for less than one expert, no or an empty layer;
            in `build_model` for one task, or backbones of different widths.

    Cost:
        All experts are one computation, see `keras_mtl.layers.ExpertBank`. The
        activations are `batch * num_experts * sum(units)` numbers.

    Example:
    >>> import keras_mtl as mtl
    >>> tasks = [mtl.Task(name, mtl.heads.Regression()) for name in ("a", "b")]
    >>> mmoe = mtl.architectures.MMoE(num_experts=4, units=(16,))
    >>> net = mtl.backbones.MLP(input_shape=(8,), units=(32,))
    >>> model = mtl.build_model(net, tasks, architecture=mmoe)
    >>> model.get_layer("pooled_experts").output.shape
    (None, 4, 16)

    Reference:
        - [Ma et al., 2018](https://doi.org/10.1145/3219819.3220007), section 4.2.
    """

    def __init__(
        self,
        num_experts: int = 8,
        *,
        units: Sequence[int] = (64,),
        activation: str = "relu",
        dropout: float = 0.0,
        gate_units: Sequence[int] = (),
        per_task_gates: bool = True,
    ):
        self.num_experts = check_count("num_experts", num_experts)
        self.units = check_units("units", units, 1)
        self.activation = activation
        self.dropout = check_decay("dropout", dropout)
        self.gate_units = check_units("gate_units", gate_units)
        self.per_task_gates = per_task_gates

    def connect(self, inputs, backbones, tasks):
        given = features_of(self, inputs, backbones, tasks)
        check_widths(given)
        call = Calls()

        def mixed(task, feature, x):
            owner = f"{task}_{feature}" if self.per_task_gates else feature
            bank = self._bank(self.num_experts)
            experts = call(f"{feature}_experts", bank, x)
            weights = call(f"{owner}_gate", self._gate, self._hidden(call, owner, x))
            return call(f"{owner}_mixture", Mixture, [weights, experts])

        return {
            task: {feature: mixed(task, feature, x) for feature, x in features.items()}
            for task, features in given.items()
        }

    def _bank(self, num_experts):
        """A function that makes experts."""
        return functools.partial(
            ExpertBank,
            num_experts,
            self.units,
            activation=self.activation,
            dropout=self.dropout,
        )

    def _gate(self, name):
        return Gate(self.num_experts, name=name)

    def _hidden(self, call, owner, x):
        """What the gate reads: the features, through its hidden layers."""
        for index, width in enumerate(self.gate_units):
            make = functools.partial(layers.Dense, width, activation=self.activation)
            x = call(f"{owner}_gate_hidden_{index}", make, x)
        return x

    def get_config(self):
        return {
            "num_experts": self.num_experts,
            "units": list(self.units),
            "activation": self.activation,
            "dropout": self.dropout,
            "gate_units": list(self.gate_units),
            "per_task_gates": self.per_task_gates,
        }


def check_units(name: str, units: Any, fewest: int = 0) -> tuple[int, ...]:
    """The widths as a tuple of at least so many integers of at least 1."""
    if not isinstance(units, list | tuple) or len(units) < fewest:
        raise ValueError(
            f"Expected `{name}` to be a list of at least {fewest} integers >= 1. "
            f"Received: {name}={units!r}"
        )
    return tuple(check_count(name, width) for width in units)
