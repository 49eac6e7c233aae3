"""Which expert serves whom: the mean weights of all gates of a model."""

from typing import Any

import keras
from keras import ops

from keras_mtl.layers import Mixture

GateWeights = dict[str, dict[str, float]]

# An expert counts as unused if no gate gives it a tenth of an equal share.
_USED = 0.1


class GateReader:
    """Reads the gates of a model, again and again without tracing it anew.

    Args:
        model: A functional model with a mixture of experts (`MMoE`, `PLE` …).

    Raises:
        ValueError: If the model has no mixture of experts.
    """

    def __init__(self, model: keras.Model):
        found = _mixtures(model)
        if not found:
            raise ValueError(
                "Expected a model with a mixture of experts, as the architectures "
                "'mmoe', 'ple', 'cgc', 'dselect_k' and 'task_embedding_moe' make it. "
                f"Received: model={model!r}"
            )
        self._experts = {name: experts for name, (_, experts) in found.items()}
        means = {
            # Over tokens or pixels, where there are any.
            name: ops.mean(weights, axis=tuple(range(1, len(weights.shape) - 1)))
            if len(weights.shape) > 2
            else weights
            for name, (weights, _) in found.items()
        }
        self._model = keras.Model(model.input, means)

    def read(self, x: Any, **kwargs: Any) -> GateWeights:
        """Mean gate weights over the examples; arguments as of `gate_weights`."""
        rows = self._model.predict(x, verbose=0, **kwargs)
        means = {name: row.astype("float64").mean(axis=0) for name, row in rows.items()}
        return {
            name: dict(zip(experts, means[name].tolist(), strict=True))
            for name, experts in self._experts.items()
        }


def gate_weights(model: keras.Model, x: Any, **kwargs: Any) -> GateWeights:
    """How much each gate takes of each expert, on average over examples.

    Args:
        model: A functional model with a mixture of experts (`MMoE`, `PLE` …).
        x: Inputs, as for `predict`.
        **kwargs: Other arguments of `predict`.

    Returns:
        Dict by gate (`"<task>_<feature>"`, with the level for `PLE`; the lane of the
        shared experts is `"<feature>_<level>"`) of dicts by expert
        (`"<bank>/<number>"`) of mean weights.

    Raises:
        ValueError: If the model has no mixture of experts.

    Example:
    >>> import keras_mtl as mtl
    >>> import numpy as np
    >>> tasks = [mtl.Task(name, mtl.heads.Regression()) for name in ("a", "b")]
    >>> mmoe = mtl.architectures.MMoE(num_experts=2, units=(4,))
    >>> net = mtl.backbones.MLP(input_shape=(3,), units=(4,))
    >>> model = mtl.build_model(net, tasks, architecture=mmoe)
    >>> gate_weights(model, np.zeros((5, 3)))["a_pooled"]
    {'pooled_experts/0': 0.5, 'pooled_experts/1': 0.5}
    """
    return GateReader(model).read(x, **kwargs)


def unused_experts(weights: GateWeights) -> list[str]:
    """Experts that no gate uses: a sign that the experts have collapsed into few.

    An expert is unused if every gate over it gives it less than a tenth of what it
    would have if the gate weighed all its experts alike.

    Args:
        weights: What `gate_weights` returns.

    Example:
    >>> unused_experts({"a": {"x/0": 0.96, "x/1": 0.04}, "b": {"x/0": 0.5, "y/0": 0.5}})
    ['x/1']
    """
    largest: dict[str, float] = {}
    for experts in weights.values():
        for expert, weight in experts.items():
            share = weight * len(experts)
            largest[expert] = max(share, largest.get(expert, 0.0))
    return [expert for expert, share in largest.items() if share < _USED]


def _mixtures(model):
    """By name of the gate: its weights, and the names of its experts."""
    found = {}
    stack, seen = keras.tree.flatten(model.output), set()
    while stack:
        tensor = stack.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        operation, node_index, _ = tensor._keras_history
        inputs = operation._inbound_nodes[node_index].input_tensors
        stack.extend(inputs)
        if isinstance(operation, Mixture):
            weights, *banks = inputs
            found[operation.name] = (weights, [e for b in banks for e in _experts(b)])
    order = [layer.name for layer in model.layers if layer.name in found]
    return {name.replace("_mixture", ""): found[name] for name in order}


def _experts(bank):
    name = bank._keras_history.operation.name
    return [f"{name}/{index}" for index in range(bank.shape[-2])]
