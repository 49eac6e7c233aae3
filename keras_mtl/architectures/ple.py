"""Progressive layered extraction: task experts beside shared ones, in levels."""

import functools
import itertools
from collections.abc import Sequence

from keras_mtl.architectures.architecture import Architecture, registry
from keras_mtl.architectures.features import Calls, features_of
from keras_mtl.architectures.mmoe import check_units
from keras_mtl.layers import ExpertBank, Gate, Mixture
from keras_mtl.utils.checks import check_count, check_decay


@registry.register("ple")
class PLE(Architecture):
    """Levels of task experts and shared experts; gates keep them apart.

    One level, where every task has experts and a gate, and `shared` likewise:

        task a  ──┬─ experts of a ──── mixture by the gate of a ────── task a
        shared  ──┼─ shared experts ── mixture of all, by its gate ─── shared
        task b  ──┴─ experts of b ──── mixture by the gate of b ────── task b

    A task's mixture takes its own and the shared experts. That of the shared lane
    takes the experts of all tasks besides; the last level has none. At the first
    level all lanes begin with the backbone's features. Experts and gates of a task
    belong to the task in the last level; in a level before, the other tasks reach
    its experts through the shared lane, and they are shared by then.

    Args:
        num_levels: Integer, number of levels.
        shared_experts: Integer, shared experts per level.
        task_experts: Integer, experts of each task per level.
        units: Widths of the layers of each expert; the last is the width of the
            lanes and of the features that the heads get.
        activation: Activation of the experts.
        dropout: Dropout rate after each layer of the experts.

    Raises:
        ValueError: At construction for no level, no expert, no or an empty layer;
            in `build_model` for one task, or one backbone per task.

    Cost:
        Per level one computation for the shared experts and one for those of each
        task, see `keras_mtl.layers.ExpertBank`.

    Example:
    >>> import keras_mtl as mtl
    >>> tasks = [mtl.Task(name, mtl.heads.Regression()) for name in ("a", "b")]
    >>> net = mtl.backbones.MLP(input_shape=(8,), units=(32,))
    >>> model = mtl.build_model(net, tasks, architecture=PLE(2, units=(16,)))
    >>> model.get_layer("a_pooled_mixture_1").output.shape
    (None, 16)

    Reference:
        - [Tang et al., 2020](https://doi.org/10.1145/3383313.3412236), sections 4.1
          and 4.2.
    """

    def __init__(
        self,
        num_levels: int = 2,
        *,
        shared_experts: int = 4,
        task_experts: int = 4,
        units: Sequence[int] = (64,),
        activation: str = "relu",
        dropout: float = 0.0,
    ):
        self.num_levels = check_count("num_levels", num_levels)
        self.shared_experts = check_count("shared_experts", shared_experts, 0)
        self.task_experts = check_count("task_experts", task_experts, 0)
        if shared_experts + task_experts < 1:
            raise ValueError(
                "Expected at least one expert for every task. Received: "
                f"shared_experts={shared_experts}, task_experts={task_experts}"
            )
        self.units = check_units("units", units, 1)
        self.activation = activation
        self.dropout = check_decay("dropout", dropout)

    def connect(self, inputs, backbones, tasks):
        given = features_of(self, inputs, backbones, tasks)
        if len({id(backbones[task.name]) for task in tasks}) > 1:
            raise ValueError(
                f"Expected one backbone for all tasks of {type(self).__name__}, whose "
                "shared experts begin with its features. Received: backbones "
                f"{ {task.name: backbones[task.name].name for task in tasks} }. Use "
                "architecture='mmoe', or one backbone"
            )
        names = [task.name for task in tasks]
        lanes = {
            feature: self._lanes(names, feature, x)
            for feature, x in given[names[0]].items()
        }
        return {
            task: {feature: found[task] for feature, found in lanes.items()}
            for task in names
        }

    def _lanes(self, names, feature, x):
        """The last state of every task's lane."""
        call = Calls()
        lanes, shared = dict.fromkeys(names, x), x
        for level in range(self.num_levels):
            common = self._experts(call, feature, level, self.shared_experts, shared)
            own = {
                task: self._experts(
                    call, f"{task}_{feature}", level, self.task_experts, lanes[task]
                )
                for task in names
            }
            lanes = {
                task: self._mixed(
                    call, f"{task}_{feature}", level, lanes[task], own[task] + common
                )
                for task in names
            }
            if level < self.num_levels - 1 and common:
                banks = [*itertools.chain(*own.values()), *common]
                shared = self._mixed(call, feature, level, shared, banks)
        return lanes

    def _experts(self, call, owner, level, count, x):
        """A list of the lane's bank of experts, empty if it has none."""
        if not count:
            return []
        bank = functools.partial(
            ExpertBank,
            count,
            self.units,
            activation=self.activation,
            dropout=self.dropout,
        )
        return [call(f"{owner}_experts_{level}", bank, x)]

    @staticmethod
    def _mixed(call, owner, level, x, banks):
        gate = functools.partial(Gate, sum(bank.shape[-2] for bank in banks))
        weights = call(f"{owner}_gate_{level}", gate, x)
        return call(f"{owner}_mixture_{level}", Mixture, [weights, *banks])

    def get_config(self):
        return {
            "num_levels": self.num_levels,
            "shared_experts": self.shared_experts,
            "task_experts": self.task_experts,
            "units": list(self.units),
            "activation": self.activation,
            "dropout": self.dropout,
        }


@registry.register("cgc")
class CGC(PLE):
    """Customised gate control: `PLE` with one level.

        backbone ── x ──┬─ experts of a ── mixture by the gate of a ── task a
                        ├─ shared experts (both mixtures read them)
                        └─ experts of b ── mixture by the gate of b ── task b

    Args:
        shared_experts: Integer, number of shared experts.
        task_experts: Integer, number of experts of each task.
        units: Widths of the layers of each expert.
        activation: Activation of the experts.
        dropout: Dropout rate after each layer of the experts.

    Example:
    >>> import keras_mtl as mtl
    >>> tasks = [mtl.Task(name, mtl.heads.Regression()) for name in ("a", "b")]
    >>> net = mtl.backbones.MLP(input_shape=(8,), units=(32,))
    >>> model = mtl.build_model(net, tasks, architecture=CGC(task_experts=1))
    >>> model.get_layer("a_pooled_experts_0").output.shape
    (None, 1, 64)

    Reference:
        - [Tang et al., 2020](https://doi.org/10.1145/3383313.3412236), section 4.1.
    """

    def __init__(
        self,
        *,
        shared_experts: int = 4,
        task_experts: int = 4,
        units: Sequence[int] = (64,),
        activation: str = "relu",
        dropout: float = 0.0,
    ):
        super().__init__(
            1,
            shared_experts=shared_experts,
            task_experts=task_experts,
            units=units,
            activation=activation,
            dropout=dropout,
        )

    def get_config(self):
        config = super().get_config()
        del config["num_levels"]
        return config
