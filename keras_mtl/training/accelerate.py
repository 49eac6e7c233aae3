"""Puts faster layers in the place of Keras' own."""

import collections
import dataclasses
from typing import Any

import keras

from keras_mtl import layers
from keras_mtl.plots import Table, text_table

_FAST: dict[type, Any] = {
    keras.layers.BatchNormalization: layers.BatchNormalization,
    keras.layers.EinsumDense: layers.EinsumDense,
    keras.layers.LayerNormalization: layers.LayerNormalization,
    keras.layers.MultiHeadAttention: layers.MultiHeadAttention,
}
# Activations whose gradient Keras makes of many operations, by their registered name;
# for layers that do nothing after it.
_FUSED = ("gelu", "silu", "mish", "keras_hub>gelu_approximate")
_ACTIVATED = (keras.layers.Dense, keras.layers.EinsumDense, keras.layers.Activation)


@dataclasses.dataclass(frozen=True)
class Acceleration:
    """What `accelerate` did. `print` shows it as a table.

    Attributes:
        swapped: Dict from the path of a layer (or of a layer and "/activation") that is
            faster now to its kind.
        left: Dict from the path of a layer of such a kind that is as it was to its
            kind and the reason.
    """

    swapped: dict[str, str]
    left: dict[str, tuple[str, str]]

    def __str__(self):
        found = collections.Counter((kind, "faster") for kind in self.swapped.values())
        found.update((kind, f"as before: {why}") for kind, why in self.left.values())
        rows = [(*key, str(number)) for key, number in sorted(found.items())]
        return text_table(Table(("kind", "computed", "layers"), tuple(rows)))


def accelerate(model: keras.Model) -> Acceleration:
    """Puts the layers of `keras_mtl.layers` that are faster in the place of Keras' own.

    Swaps `BatchNormalization`, `LayerNormalization`, `MultiHeadAttention` and
    `EinsumDense` wherever the model has them, inside of nested models and of other
    layers too, such as keras-hub's; GELU, SiLU and Mish get a gradient that is one loop
    (`layers.FusedSlope`). The layers stay the same objects with the same
    variables: only their class changes, to a subclass of Keras' with the same
    configuration. So weights, optimizer state and `compile` stay, and weight files go
    both ways; what was traced is traced anew. A model that is saved as a whole
    afterwards needs keras_mtl to be loaded, and layers inside of other layers, such
    as keras-hub's, come back as Keras' own: call this again.

    Args:
        model: A `MultiTaskModel` or any other built Keras model.

    Returns:
        An `Acceleration`: what was swapped, and what was left and why.

    Raises:
        TypeError: If it is no Keras model.

    Example:
    >>> x = keras.Input((8, 8, 3))
    >>> y = keras.layers.BatchNormalization()(x)
    >>> y = keras.layers.BatchNormalization(axis=1)(y)
    >>> print(accelerate(keras.Model(x, y)))
    kind                computed                           layers
    -------------------------------------------------------------
    BatchNormalization  as before: axis=1 is not the last       1
    BatchNormalization  faster                                  1
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            "Expected `model` to be a Keras model. "
            f"Received: model={model!r} of type {type(model).__name__}"
        )
    swapped, left = {}, {}
    for layer in _all_layers(model).values():
        if isinstance(layer, keras.Model):
            # What was traced has the former layers in it.
            layer.train_function = layer.test_function = layer.predict_function = None
        if isinstance(layer, _ACTIVATED) and _name(layer.activation) in _FUSED:
            swapped[f"{layer.path or layer.name}/activation"] = _name(layer.activation)
            layer.activation = layers.FusedSlope(layer.activation)
        stock = next((kind for kind in _FAST if isinstance(layer, kind)), None)
        if stock is None or isinstance(layer, _FAST[stock]):
            continue
        reason = _reason(layer, stock)
        if reason is None:
            layer.__class__ = _FAST[stock]
            swapped[layer.path] = stock.__name__
        else:
            left[layer.path] = (stock.__name__, reason)
    return Acceleration(swapped, left)


def _name(function):
    """Its registered name; `None` for an object that is called."""
    named = hasattr(function, "__name__")
    return keras.saving.get_registered_name(function) if named else None


def _all_layers(layer):
    """A layer and those inside of it, at any depth, by their `id`."""
    found = {id(layer): layer}
    for part in layer._layers:
        if id(part) not in found:
            found |= _all_layers(part)
    return found


def _reason(layer, stock):
    if type(layer) is not stock:
        return f"a subclass, {type(layer).__name__}"
    if not layer.built:
        return "not built yet"
    return _FAST[stock].falls_back(layer)
