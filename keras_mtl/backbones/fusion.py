"""Several encoders, one per modality, and what joins them."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import layers, ops

from keras_mtl.backbones.backbone import Backbone, named_features, registry
from keras_mtl.layers import (
    BilinearAttention,
    FillAbsent,
    GatedSum,
    ModalityDropout,
    PresentRows,
)
from keras_mtl.utils.checks import check_choice, check_count
from keras_mtl.utils.types import Tensor

_RESERVED = ("pooled", "sequence", "map")
_MISSING = ("error", "zeros", "learned")
_MASK = "mask"  # beside the features of an encoder


@registry.register("fusion")
class Fusion(Backbone):
    """One encoder per modality, whose features are joined to one.

    Gives `"pooled"`, the joined feature; every modality's own pooled feature under the
    name of the modality, for tasks that read one alone or align two; and `"sequence"`
    and `"map"` where one encoder alone has such a feature.

    Args:
        encoders: Dict from the name of a modality to a functional Keras model, such as
            a backbone, or its configuration.
        fusion: How they are joined.
            `"concat"`: a dense layer on all pooled features.
            `"gated"`: `layers.GatedSum` of the pooled features, to which an absent
            modality adds nothing.
            `"multi_head"`: every modality attends to the tokens of every other one
            (positions of a map are tokens) with multi-head attention; what it finds is
            added to its own tokens and normalised. Their means are concatenated, and
            joined by a dense layer.
            `"bilinear"`: the same with one head and the score `qᵀ W k`.
        units: Width of the joined feature, and of the tokens that attend.
        num_heads: Heads of `"multi_head"`; has to divide `units`.
        missing: What happens where an example lacks a modality. `"error"`: it may not,
            and a dict of inputs without one is refused. `"zeros"`, `"learned"`: the
            model has one more input per modality, `"<modality>_present"`, boolean of
            shape `(batch,)`. Encoders then run on the examples that have their
            modality (`layers.PresentRows`), and zeros or a trained vector stand for
            the others in what is joined, in training and in serving alike. The features
            of a single modality are zero where it lacks.
        modality_dropout: Probability with which an example in training loses each of
            its modalities, except the last; not with `missing="error"`.
        dropout: Dropout rate after the joined feature.

    Raises:
        ValueError: If there are fewer than two encoders, two have inputs of one name,
            or a modality has a name that a feature has.

    Example:
    >>> import keras_mtl as mtl
    >>> net = mtl.backbones.Fusion(
    ...     {"photo": mtl.backbones.ConvNet(input_shape=(32, 32, 3), filters=(8,)),
    ...      "facts": mtl.backbones.MLP(input_shape=(5,), units=(8,))},
    ...     fusion="gated", units=16, missing="learned")
    >>> sorted(net.input)
    ['facts_present', 'features', 'image', 'photo_present']
    >>> {name: feature.shape for name, feature in net.output.items() if name != "map"}
    {'photo': (None, 128), 'facts': (None, 8), 'pooled': (None, 16)}

    Reference:
        - [Arevalo et al., 2017](https://arxiv.org/abs/1702.01992), gates.
        - [Luong et al., 2015](https://arxiv.org/abs/1508.04025), the bilinear score
          ("general").
        - [Lu et al., 2019](https://arxiv.org/abs/1908.02265), attention across
          modalities.
    """

    def __init__(
        self,
        encoders: Mapping[str, Any],
        *,
        fusion: str = "concat",
        units: int = 128,
        num_heads: int = 4,
        missing: str = "error",
        modality_dropout: float = 0.0,
        dropout: float = 0.0,
        name: str = "fusion",
        **kwargs,
    ):
        joins = {
            "concat": self._concatenated,
            "gated": self._gated,
            "multi_head": self._attending,
            "bilinear": self._attending,
        }
        check_choice("fusion", fusion, tuple(joins))
        check_choice("missing", missing, _MISSING)
        check_count("units", units)
        if fusion == "multi_head" and units % check_count("num_heads", num_heads):
            raise ValueError(
                "Expected `num_heads` to divide `units`. Received: "
                f"num_heads={num_heads}, units={units}"
            )
        if modality_dropout and missing == "error":
            raise ValueError(
                "Expected `missing` to be 'zeros' or 'learned' beside "
                "`modality_dropout`, which makes modalities missing. Received: "
                f"missing='error', modality_dropout={modality_dropout}"
            )
        models = _encoders(encoders)
        settings = {"fusion": fusion, "units": units, "num_heads": num_heads}

        # === Layers ===
        inputs, calls = _inputs(models)
        present: dict[str, Tensor] | None = None
        if missing != "error":
            flags = {
                modality: keras.Input((), dtype="bool", name=f"{modality}_present")
                for modality in models
            }
            inputs |= {tensor.name: tensor for tensor in flags.values()}
            present = flags
            if modality_dropout:
                drop = ModalityDropout(modality_dropout, name="modality_dropout")
                kept = drop(list(flags.values()))
                present = dict(zip(flags, kept, strict=True))

        # === Functional model ===
        features = {
            modality: _encoded(modality, model, calls[modality], present)
            for modality, model in models.items()
        }
        outputs = {modality: found["pooled"] for modality, found in features.items()}
        for kind in ("sequence", "map"):
            having = [found[kind] for found in features.values() if kind in found]
            if len(having) == 1:
                outputs[kind] = having[0]
        if missing == "learned" and present is not None:
            for modality, found in features.items():
                kind = "pooled" if fusion in ("concat", "gated") else _token_kind(found)
                fill = FillAbsent(name=f"{modality}_or_absent")
                found[kind] = fill(found[kind], present[modality])
        pooled = joins[fusion](features, present, settings)
        if dropout:
            pooled = layers.Dropout(dropout, name="dropout")(pooled)
        super().__init__(inputs, {**outputs, "pooled": pooled}, name=name, **kwargs)

        # === Config ===
        self._modalities = tuple(models)
        self._settings = {
            **settings,
            "missing": missing,
            "modality_dropout": modality_dropout,
            "dropout": dropout,
        }

    @staticmethod
    def _concatenated(features, present, settings):
        del present  # what is absent is filled
        pooled = [found["pooled"] for found in features.values()]
        joined = layers.Concatenate(name="joined")(pooled)
        return layers.Dense(settings["units"], activation="relu", name="fused")(joined)

    @staticmethod
    def _gated(features, present, settings):
        pooled = [found["pooled"] for found in features.values()]
        flags = None if present is None else list(present.values())
        return GatedSum(settings["units"], name="fused")(pooled, present=flags)

    @staticmethod
    def _attending(features, present, settings):
        tokens, masks = {}, {}
        for modality, found in features.items():
            project = layers.Dense(settings["units"], name=f"{modality}_tokens")
            values, masks[modality] = _tokens(modality, found)
            tokens[modality] = project(values)
        joined = {}
        for modality, queries in tokens.items():
            found = [
                _attended(
                    f"{modality}_to_{other}", queries, keys, masks[other], settings
                )
                for other, keys in tokens.items()
                if other != modality
            ]
            total = layers.Add(name=f"{modality}_sum")([queries, *found])
            total = layers.LayerNormalization(name=f"{modality}_norm")(total)
            pool = layers.GlobalAveragePooling1D(name=f"{modality}_mean")
            joined[modality] = {"pooled": pool(total, mask=masks[modality])}
        return Fusion._concatenated(joined, present, settings)

    @property
    def encoders(self) -> dict[str, keras.Model]:
        """The encoders by modality, as models with named features."""
        rows = self._settings["missing"] != "error"
        return {
            modality: self.get_layer(f"{modality}_rows").encoder
            if rows
            else self.get_layer(_name_of_encoder(modality))
            for modality in self._modalities
        }

    def get_config(self):
        encoders = {
            modality: keras.saving.serialize_keras_object(model)
            for modality, model in self.encoders.items()
        }
        return {**super().get_config(), "encoders": encoders, **self._settings}


def _encoders(encoders):
    """The encoders as models with named features, by modality."""
    clash = sorted(set(encoders) & set(_RESERVED))
    if len(encoders) < 2 or clash:
        raise ValueError(
            "Expected `encoders` to be a dict of at least two modalities, none of them "
            f"called like a feature {list(_RESERVED)}. Received: {list(encoders)}"
        )
    models = {}
    for modality, encoder in encoders.items():
        model = registry.get(encoder)
        if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
            raise ValueError(
                f"Expected the encoder of {modality!r} to be a functional (built) "
                f"keras.Model or the configuration of a backbone. Received: {model!r}"
            )
        models[modality] = model
    return models


def _inputs(models):
    """Fresh inputs by name, and by modality in the structure that its encoder takes."""
    inputs: dict[str, Tensor] = {}
    calls = {}
    for modality, model in models.items():
        for tensor in keras.tree.flatten(model.input):
            if tensor.name in inputs:
                raise ValueError(
                    "Expected the encoders to have inputs of different names. "
                    f"Received: {tensor.name!r} of {modality!r} and of another one. "
                    "Name the `keras.Input` of your own encoders"
                )
            inputs[tensor.name] = keras.Input(
                batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name
            )
        calls[modality] = keras.tree.map_structure(
            lambda tensor: inputs[tensor.name], model.input
        )
    return inputs, calls


def _encoded(modality, model, call, present):
    """Features of a modality, zero where it is absent."""
    features = named_features(model.output)
    mask = getattr(features.get("sequence"), "_keras_mask", None)
    if mask is not None:
        # As a feature, since a mask does not leave a model that is called.
        features = {**features, _MASK: ops.cast(mask, "float32")}
    encoder = keras.Model(model.input, features, name=_name_of_encoder(modality))
    if present is None:
        return encoder(call)
    there = present[modality]
    found = PresentRows(encoder, name=f"{modality}_rows")(call, there)
    if _MASK in found:
        # The tokens of what is absent are real, all alike: a mean of none is NaN.
        absent = ops.cast(ops.logical_not(there), "float32")
        found[_MASK] = found[_MASK] + ops.expand_dims(absent, axis=-1)
    return found


def _name_of_encoder(modality):
    return f"{modality}_encoder"


def _token_kind(features):
    """Which feature of a modality is taken as tokens."""
    return next(kind for kind in ("sequence", "map", "pooled") if kind in features)


def _tokens(modality, features):
    """The feature of a modality as tokens `(batch, tokens, width)`, and their mask."""
    kind = _token_kind(features)
    mask = features.get(_MASK) if kind == "sequence" else None
    tokens = features[kind]
    if kind != "sequence":
        flat = layers.Reshape((-1, tokens.shape[-1]), name=f"{modality}_flat")
        tokens = flat(tokens)
    return tokens, None if mask is None else ops.cast(mask, "bool")


def _attended(name, queries, keys, mask, settings):
    """What tokens find in those of another modality, of which `mask` are real."""
    if settings["fusion"] == "multi_head":
        heads, units = settings["num_heads"], settings["units"]
        attention = layers.MultiHeadAttention(heads, units // heads, name=name)
        return attention(queries, keys, value_mask=mask)
    return BilinearAttention(name=name)(queries, keys, keys_mask=mask)
