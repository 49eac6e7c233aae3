"""One pass through a backbone that can be stopped, changed and gone on with."""

import collections
import copy
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

import keras

from keras_mtl.utils.types import Tensor


class Tower:
    """Runs the layers of a backbone anew, as far as it is asked to.

    An architecture that lets tasks exchange features in the middle of a backbone
    runs one tower per task: it advances all of them to a stage, exchanges what they
    found there, puts it back and goes on. With one tower for all tasks it may also
    read or change what is between the stages.

    Args:
        backbone: Functional model whose outputs are a dict of named features.
        inputs: Tensors in the structure of the backbone's inputs.
        suffix: With a string every layer is a copy named `"<layer>_<suffix>"` that
            starts with the same weights, and nothing that is trained is shared with
            the backbone (layers that were adapted to data, such as lookups, are used
            as they are); with `None` the tower uses the backbone's own layers.

    Example:
    >>> import keras_mtl as mtl
    >>> net = mtl.backbones.MLP(input_shape=(8,), units=(16, 4))
    >>> tower = Tower(net, keras.Input((8,)), suffix="price")
    >>> x = tower.advance("dense_0")
    >>> tower.put("dense_0", 2 * x)
    >>> tower.features()["pooled"].shape
    (None, 4)
    """

    def __init__(self, backbone: keras.Model, inputs: Any, suffix: str | None):
        self._backbone = backbone
        self._suffix = suffix
        old = keras.tree.flatten(backbone.input)
        new = keras.tree.flatten(inputs)
        self._made: MutableMapping[int, Any] = {
            id(a): b for a, b in zip(old, new, strict=True)
        }
        self._layers: dict[int, Any] = {}
        self._outputs = outputs_by_layer(backbone)
        self._instead: dict[str, Callable] = {}
        self._trunk: Tower | None = None
        self._own: dict[int, Any] = {}

    def advance(self, stage: str) -> Tensor:
        """The output of the layer of this name; runs what it needs and no more."""
        return self._tensor(self._output_of(stage))

    def put(self, stage: str, tensor: Tensor) -> None:
        """Sets the tensor that the layers after the stage see.

        Call it before anything that follows the stage has run.
        """
        self._made[id(self._output_of(stage))] = tensor

    def replace(self, layer: str, call: Callable) -> None:
        """Calls a function in place of the layer of this name, with its arguments.

        Call it before the layer, or anything that follows it, has run.
        """
        self._instead[layer] = call

    def fork(self) -> "Tower":
        """A tower of its own from here on, for one task of several.

        What follows from a tensor that was put into the fork, or from a layer that
        was replaced in it, is the fork's. The rest runs once, for all forks, which
        therefore have to be changed at the same places.
        """
        fork = copy.copy(self)
        fork._own = {}
        fork._made = collections.ChainMap(fork._own, self._made)
        fork._instead = {}
        fork._trunk = self
        return fork

    def features(self) -> dict[str, Tensor]:
        """The backbone's named features; runs what is left."""
        return {name: self._tensor(t) for name, t in self._backbone.output.items()}

    def branch(self, suffix: str | None) -> "Tower":
        """A tower that goes on from here, with layers of its own for what is left.

        Args:
            suffix: As for a new tower.

        Example:
        >>> import keras_mtl as mtl
        >>> net = mtl.backbones.MLP(input_shape=(8,), units=(16, 4))
        >>> trunk = Tower(net, keras.Input((8,)), suffix=None)
        >>> x = trunk.advance("dense_0")
        >>> twigs = [trunk.branch(suffix=task) for task in ("kind", "price")]
        >>> [twig.features()["pooled"].shape for twig in twigs]
        [(None, 4), (None, 4)]
        """
        twig = copy.copy(self)
        twig._suffix, twig._made, twig._layers = suffix, dict(self._made), {}
        return twig

    def _output_of(self, stage):
        return self._outputs[stage][0]

    def _tensor(self, wanted):
        # A stack, not recursion: deep networks have more layers than Python frames.
        stack = [wanted]
        while stack:
            operation, node_index, _ = stack[-1]._keras_history
            node = operation._inbound_nodes[node_index]
            missing = [t for t in node.input_tensors if id(t) not in self._made]
            if id(stack[-1]) in self._made:
                stack.pop()
            elif missing:
                stack.extend(missing)
            else:
                self._call(operation, node)
        return self._made[id(wanted)]

    def _call(self, operation, node):
        if self._trunk is not None and not self._differs(operation, node):
            self._trunk._call(operation, node)
            return
        args, kwargs = node.arguments.fill_in(self._made)
        call = self._instead.get(operation.name) or self._copy(operation)
        results = keras.tree.flatten(call(*args, **kwargs))
        for old, new in zip(node.output_tensors, results, strict=True):
            self._made.setdefault(id(old), new)

    def _differs(self, operation, node):
        changed = any(id(tensor) in self._own for tensor in node.input_tensors)
        return changed or operation.name in self._instead

    def _copy(self, operation):
        is_layer = isinstance(operation, keras.layers.Layer)
        if self._suffix is None or not is_layer or _is_adapted(operation):
            return operation
        if id(operation) not in self._layers:
            self._layers[id(operation)] = copied(operation, self._suffix)
        return self._layers[id(operation)]


def _is_adapted(layer):
    """Whether a layer holds statistics or a vocabulary, which its config may lack."""
    return hasattr(layer, "adapt") and not layer.trainable_variables


def copied(layer: keras.layers.Layer, suffix: str) -> keras.layers.Layer:
    """A layer of its own, named `"<layer>_<suffix>"`, with the same weights.

    The layers of a nested model are named so as well.
    """
    name = f"{layer.name}_{suffix}"
    if _is_model_of_layers(layer):
        model = keras.models.clone_model(layer, clone_function=_inner_copy(suffix))
        model.name = name
        if not layer.trainable:
            model.trainable = False
        return model
    layer_copy = type(layer).from_config(layer.get_config() | {"name": name})
    if layer.built:
        layer_copy.build_from_config(layer.get_build_config() or {})
        layer_copy.set_weights(layer.get_weights())
    return layer_copy


def _is_model_of_layers(layer):
    functional = isinstance(layer, keras.Model) and hasattr(layer, "operations")
    return functional or isinstance(layer, keras.Sequential)


def _inner_copy(suffix):
    def copy_of(inner):
        is_layer = isinstance(inner, keras.layers.Layer)
        return copied(inner, suffix) if is_layer and not _is_adapted(inner) else inner

    return copy_of


def outputs_by_layer(backbone: keras.Model) -> dict[str, list[Tensor]]:
    """The tensors that every layer of a backbone gives inside of it, by its name."""
    found: dict[str, dict[int, Tensor]] = {}
    stack = keras.tree.flatten(backbone.output)
    seen = set()
    while stack:
        operation, node_index, _ = stack.pop()._keras_history
        if (id(operation), node_index) in seen:
            continue
        seen.add((id(operation), node_index))
        node = operation._inbound_nodes[node_index]
        if isinstance(operation, keras.layers.Layer):
            of_layer = found.setdefault(operation.name, {})
            of_layer.update((id(tensor), tensor) for tensor in node.output_tensors)
        stack.extend(node.input_tensors)
    return {name: list(tensors.values()) for name, tensors in found.items()}


def stages_of(
    backbone: keras.Model, stages: Sequence[str] | None, argument: str = "stages"
) -> tuple[str, ...]:
    """The names of the layers at which a backbone is cut, in their order.

    Args:
        backbone: The backbone.
        stages: Names that the user gave, or `None` for the backbone's own `stages`.
        argument: What the user calls them, for messages.

    Raises:
        ValueError: If there is none, a layer of such a name does not exist, or it
            gives several tensors.
    """
    names = tuple(getattr(backbone, "stages", ()) if stages is None else stages)
    outputs = outputs_by_layer(backbone)
    layers = [layer.name for layer in backbone.layers if layer.name in outputs]
    unknown = [name for name in names if name not in layers]
    if not names or unknown:
        raise ValueError(
            f"Expected `{argument}` to name the layers after which the backbone "
            f"{backbone.name!r} is cut, some of {_some(layers)}. "
            f"Received: {argument}={names}"
            + (f", of which {unknown} do not exist" if unknown else "")
        )
    several = [name for name in names if len(outputs[name]) > 1]
    if several:
        raise ValueError(
            f"Expected `{argument}` to name layers that are called once and give one "
            f"tensor. Received: {argument}={names}, of which {several} give several "
            f"in the backbone {backbone.name!r}"
        )
    return tuple(sorted(set(names), key=layers.index))


def _some(names):
    """The names, or the first and the last ones of a deep network's hundreds."""
    if len(names) <= 30:
        return names
    shown = ", ".join(map(repr, names[:10])), ", ".join(map(repr, names[-10:]))
    return f"[{shown[0]}, … {len(names) - 20} more …, {shown[1]}]"
