"""Adaptive information transfer along the steps of a funnel."""

import functools
import itertools
from collections.abc import Sequence

from keras import layers

from keras_mtl.architectures.architecture import Architecture, registry
from keras_mtl.architectures.features import Calls, features_of
from keras_mtl.architectures.mmoe import check_units
from keras_mtl.layers import InformationTransfer
from keras_mtl.utils.checks import check_decay, check_keys


@registry.register("aitm")
class AITM(Architecture):
    """A tower per task; each step of a chain also reads the step before it.

        backbone ──┬─ tower of click ─────────────────── features of click
                   │                       transfer ──┐
                   └─ tower of purchase ──────────────┴ attention ── … of purchase

    For the first task of the chain the features are those of its tower. For each
    further one they are what attention makes of its tower's output and of the
    features of the task before it, passed through a dense layer (`transfer`). The
    backbone is shared; the tower of a task, and the transfer and attention that it
    takes, belong to it and all tasks after it in the chain. Tasks outside of the
    chain have their tower alone.

    The paper's second part, that no step may be more probable than the one before,
    belongs to the outputs: the head
    `keras_mtl.heads.Conversion(after=…, coupling="calibrator")`.

    Args:
        chain: Names of the tasks in the order of the funnel. Defaults to all
            tasks in their order.
        units: Widths of the layers of each tower.
        activation: Activation of towers and transfers.
        dropout: Dropout rate after each of their layers.

    Raises:
        ValueError: In `build_model` for one task, for a chain that names a task
            twice or an unknown one, or whose tasks have different features.

    Example:
    >>> import keras_mtl as mtl
    >>> tasks = [mtl.Task("click", mtl.heads.BinaryClassification()),
    ...          mtl.Task("purchase", mtl.heads.Conversion(
    ...              after="click", coupling="calibrator"))]
    >>> net = mtl.backbones.MLP(input_shape=(8,), units=(32,))
    >>> model = mtl.build_model(net, tasks, architecture=AITM(units=(16,)))
    >>> model.get_layer("purchase_pooled_attention").output.shape
    (None, 16)

    Reference:
        - [Xi et al., 2021](https://arxiv.org/abs/2105.08489)
    """

    def __init__(
        self,
        chain: Sequence[str] | None = None,
        *,
        units: Sequence[int] = (64, 32),
        activation: str = "relu",
        dropout: float = 0.0,
    ):
        self.chain = None if chain is None else tuple(chain)
        if self.chain is not None and len(set(self.chain)) != len(self.chain):
            raise ValueError(
                "Expected `chain` to name every task once. "
                f"Received: chain={list(self.chain)}"
            )
        self.units = check_units("units", units, 1)
        self.activation = activation
        self.dropout = check_decay("dropout", dropout)

    def connect(self, inputs, backbones, tasks):
        given = features_of(self, inputs, backbones, tasks)
        names = [task.name for task in tasks]
        chain = tuple(names) if self.chain is None else self.chain
        check_keys("chain", chain, names)
        call = Calls()
        found = {
            task: {
                feature: self._tower(call, f"{task}_{feature}", x)
                for feature, x in features.items()
            }
            for task, features in given.items()
        }
        for earlier, task in itertools.pairwise(chain):
            if found[earlier].keys() != found[task].keys():
                raise ValueError(
                    "Expected neighbours in `chain` to have the same features. "
                    f"Received: {sorted(found[earlier])} for task {earlier!r} and "
                    f"{sorted(found[task])} for task {task!r}"
                )
            for feature, own in found[task].items():
                before = found[earlier][feature]
                name = f"{task}_{feature}_transfer"
                passed = self._dense(call, name, self.units[-1], before)
                name = f"{task}_{feature}_attention"
                found[task][feature] = call(name, InformationTransfer, [passed, own])
        return found

    def _tower(self, call, owner, x):
        for index, width in enumerate(self.units):
            x = self._dense(call, f"{owner}_tower_{index}", width, x)
        return x

    def _dense(self, call, name, width, x):
        make = functools.partial(layers.Dense, width, activation=self.activation)
        x = call(name, make, x)
        if self.dropout:
            drop = functools.partial(layers.Dropout, self.dropout)
            x = call(f"{name}_dropout", drop, x)
        return x

    def get_config(self):
        return {
            "chain": None if self.chain is None else list(self.chain),
            "units": list(self.units),
            "activation": self.activation,
            "dropout": self.dropout,
        }
