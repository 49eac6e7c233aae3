"""Which layers of a backbone are trained."""

from collections.abc import Iterable
from typing import Any

import keras

from keras_mtl.training.graph import upstream
from keras_mtl.utils.checks import check_count


def freeze(backbones: Iterable[keras.Model], trainable: Any) -> None:
    """Sets `trainable` of the layers of backbones to False, all but some.

    Args:
        backbones: Functional models.
        trainable: `backbone_trainable` of `build_model`.

    Raises:
        TypeError: If it is of another type.
        ValueError: For a number below 1, or names that no backbone has.
    """
    unique = list({id(backbone): backbone for backbone in backbones}.values())
    if trainable is True:
        return
    if trainable is False:
        for backbone in unique:
            backbone.trainable = False
        return
    if isinstance(trainable, int):
        check_count("backbone_trainable", trainable)
        frozen = [_all_but_last(backbone, trainable) for backbone in unique]
    else:
        frozen = _all_but_named(unique, trainable)
    for layers in frozen:
        for layer in layers:
            layer.trainable = False


def _all_but_last(backbone, count):
    """Layers up to the stage before the last `count` of them."""
    stages = getattr(backbone, "stages", ())
    if stages:
        before = stages[:-count]
        return upstream(backbone.get_layer(before[-1]).output)[0] if before else []
    layers = backbone.layers
    with_variables = [i for i, layer in enumerate(layers) if layer.trainable_variables]
    return layers[: with_variables[-count]] if len(with_variables) > count else []


def _all_but_named(backbones, names):
    known = {layer.name for backbone in backbones for layer in backbone.layers}
    strings = isinstance(names, list | tuple) and all(isinstance(n, str) for n in names)
    if not strings:
        raise TypeError(
            "Expected `backbone_trainable` to be a bool, a number of stages, or a list "
            "with names of layers of the backbone. "
            f"Received: backbone_trainable={names!r}"
        )
    unknown = sorted(set(names) - known)
    if unknown:
        raise ValueError(
            "Expected `backbone_trainable` to name layers of the backbone, some of "
            f"{sorted(known)}. Received: backbone_trainable={list(names)}, of which "
            f"{unknown} do not exist"
        )
    return [
        [layer for layer in backbone.layers if layer.name not in names]
        for backbone in backbones
    ]


def frozen_layers(model: keras.Model) -> list[str]:
    """Paths of the layers that are not trained; nested models are entered.

    The configuration of a nested model need not tell: a backbone that is rebuilt
    from its own arguments has all layers trainable.
    """
    return [path for path, layer in _layers(model) if not layer.trainable]


def set_frozen(model: keras.Model, paths: Iterable[str]) -> None:
    """Freezes the layers of these paths."""
    for path, layer in _layers(model):
        if path in paths:
            # The setter reaches the variables, and layers inside of the layer.
            layer.trainable = False


def _layers(model, prefix=""):
    for layer in model.layers:
        path = f"{prefix}{layer.name}"
        if isinstance(layer, keras.Model):
            yield from _layers(layer, f"{path}/")
        elif isinstance(layer, keras.layers.Wrapper):
            yield f"{path}/{layer.layer.name}", layer.layer
        else:
            yield path, layer
