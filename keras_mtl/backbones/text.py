"""Backbone for texts: a Transformer of keras-hub, by preset."""

import os
from typing import Any

import keras

from keras_mtl.backbones.backbone import Backbone, registry
from keras_mtl.layers import MeanOverTokens
from keras_mtl.utils.checks import check_choice, check_count
from keras_mtl.utils.types import Tensor

_POOLING = ("mean", "first", "trained")


@registry.register("text")
class Text(Backbone):
    """A Transformer of keras-hub, pretrained or not, as a backbone.

    Takes a dict of integer tensors of shape `(batch, tokens)`, those that the network
    takes: `"token_ids"`, `"padding_mask"` (0 at padding) and, for some networks,
    `"segment_ids"`; `keras_mtl.data.text.TextPreprocessor` makes them from strings.
    Gives `"sequence"` of shape `(batch, tokens, width)` and `"pooled"` of shape
    `(batch, width)`, on neither of which padding has an influence. The layers, and
    so the `stages`, are those of the network, `"transformer_layer_0"` and so on.

    A `.keras` file holds the network, so that it loads without the preset.

    Args:
        preset: Name of a preset of keras-hub (which downloads it), or a local folder,
            of keras-hub's layout (`save_to_preset`) or of Hugging Face's
            (`config.json`, `model.safetensors`); a folder is read without a network.
            `keras_mtl.data.text.pretrained` gives the folder of a small one.
        pooling: What `"pooled"` is: `"mean"`, over the tokens without padding;
            `"first"`, the features of the first token; `"trained"`, the network's own
            layer on the first token, which some files hold untrained.
        trainable_layers: How many Transformer layers are trained, counted from the
            end, with what comes after them; 0 freezes the whole network, `None`
            trains it. The embeddings are trained only with `None`.
        dropout: Dropout rate inside of the network of a preset; its own by default.
            Frozen layers have dropout too while the model trains.
        load_weights: Whether the weights of the preset are loaded; random otherwise.
        network: A backbone of keras-hub, or its configuration, which is taken instead
            of the preset.

    Attributes:
        max_sequence_length: How many tokens a text may have, or `None` if the network
            has no limit.
        vocabulary_size: Number of token ids that it knows.

    Raises:
        ValueError: If there is neither a preset nor a network, the network is no
            encoder or decoder of one text, or it has fewer Transformer layers.

    Example:
    >>> import keras_hub
    >>> import keras_mtl as mtl
    >>> bert = keras_hub.models.BertBackbone(
    ...     vocabulary_size=30, num_layers=3, num_heads=2, hidden_dim=8,
    ...     intermediate_dim=16, max_sequence_length=12)
    >>> text = mtl.backbones.Text(network=bert, trainable_layers=1)
    >>> text.output["sequence"].shape, text.output["pooled"].shape
    ((None, None, 8), (None, 8))
    >>> sorted({v.path.split("/")[0] for v in text.trainable_variables})
    ['transformer_layer_2']

    Reference:
        - [Devlin et al., 2019](https://arxiv.org/abs/1810.04805), BERT.
        - [Reimers & Gurevych, 2019](https://arxiv.org/abs/1908.10084), pooling.
    """

    def __init__(
        self,
        preset: str | os.PathLike | None = None,
        *,
        pooling: str = "mean",
        trainable_layers: int | None = None,
        dropout: float | None = None,
        load_weights: bool = True,
        network: Any = None,
        name: str = "text",
        **kwargs,
    ):
        check_choice("pooling", pooling, _POOLING)
        preset = None if preset is None else os.fspath(preset)

        # === Layers ===
        if network is None:
            network = _from_preset(preset, dropout, load_weights)
        elif isinstance(network, dict):
            network = _from_configuration(network)
        outputs = _outputs(network)

        # === Functional model ===
        features = {
            "sequence": outputs["sequence_output"],
            "pooled": _pooled(outputs, network.input, pooling),
        }
        super().__init__(network.input, features, name=name, **kwargs)
        stages = _stages(network)
        self.stages = tuple(layer.name for layer in stages)
        if trainable_layers is not None:
            for layer in _all_but_last(self, stages, trainable_layers):
                layer.trainable = False
        self.max_sequence_length = getattr(network, "max_sequence_length", None)
        self.vocabulary_size = getattr(network, "vocabulary_size", None)

        # === Config ===
        self._arguments = {
            "preset": preset,
            "pooling": pooling,
            "trainable_layers": trainable_layers,
            "dropout": dropout,
            "load_weights": load_weights,
        }
        self._network = keras.saving.serialize_keras_object(network)

    def split(self, count: int) -> tuple[keras.Model, keras.Model]:
        """The network in two: what stays as it is, and the last layers.

        What the first gives can be kept, so that a training of the last layers does
        not run the first again (`keras_mtl.data.text.cached_features` with
        `features=("sequence",)`). Both share their layers with this backbone.

        Args:
            count: Number of Transformer layers of the second part, 1 or more.

        Returns:
            Two models: from the inputs of the backbone to `{"sequence": …}`; and from
            `{"hidden": …, "padding_mask": …}`, where `"hidden"` is the first one's
            sequence, to the backbone's features.

        Raises:
            ValueError: If there are fewer layers, or the later ones need more than
                the sequence and the mask.

        Example:
        >>> import keras_hub
        >>> bert = keras_hub.models.BertBackbone(
        ...     vocabulary_size=30, num_layers=3, num_heads=2, hidden_dim=8,
        ...     intermediate_dim=16, max_sequence_length=12)
        >>> lower, upper = Text(network=bert).split(2)
        >>> sorted(upper.input)
        ['hidden', 'padding_mask']
        """
        check_count("count", count)
        if count > len(self.stages):
            raise ValueError(
                f"Expected `count` to be at most {len(self.stages)}, the number of "
                f"Transformer layers. Received: count={count}"
            )
        first = self.get_layer(self.stages[-count])
        taken = first.input
        hidden = taken[0] if isinstance(taken, list | tuple) else taken
        lower = keras.Model(self.input, {"sequence": hidden}, name=f"{self.name}_lower")
        try:
            inputs = {"hidden": hidden, "padding_mask": self.input["padding_mask"]}
            return lower, _after(inputs, self.output, f"{self.name}_upper")
        except (ValueError, KeyError) as error:
            raise ValueError(
                "Expected the last Transformer layers to take no more than a sequence "
                f"and a mask. Received: {self.stages[-count:]} of {self.name!r}"
            ) from error

    def get_config(self):
        # With the network's own configuration; the weights are those of the layers.
        return {**super().get_config(), **self._arguments, "network": self._network}


def _from_preset(preset, dropout, load_weights):
    """The network of a preset, or of a folder."""
    import keras_hub

    if preset is None:
        raise ValueError(
            "Expected `preset` (a name of keras-hub or a folder) or `network`. "
            "Received: preset=None, network=None"
        )
    if os.path.isdir(preset) and not os.path.isfile(
        os.path.join(preset, "config.json")
    ):
        raise ValueError(
            "Expected `preset` to be a folder with a `config.json`, of keras-hub's or "
            f"Hugging Face's layout. Received: preset={preset!r}, which has "
            f"{sorted(os.listdir(preset))[:8]}"
        )
    options = {} if dropout is None else {"dropout": dropout}
    return keras_hub.models.Backbone.from_preset(
        preset, load_weights=load_weights, **options
    )


def _from_configuration(network):
    import keras_hub  # noqa: F401  (registers its classes)

    return keras.saving.deserialize_keras_object(network)


def _after(tensors, outputs, name):
    """The model from tensors in the middle of a network to its outputs."""
    inputs = {
        key: keras.Input(batch_shape=t.shape, dtype=t.dtype, name=key)
        for key, t in tensors.items()
    }
    part = keras.Model(list(tensors.values()), outputs)
    return keras.Model(inputs, part(list(inputs.values())), name=name)


def _outputs(network: Any) -> dict[str, Tensor]:
    """What the network gives, as a dict, in keras-hub's words."""
    functional = isinstance(network, keras.Model) and isinstance(
        getattr(network, "input", None), dict
    )
    outputs = network.output if functional else {}
    if not isinstance(outputs, dict):
        outputs = {"sequence_output": outputs}
    if "token_ids" not in (network.input if functional else {}) or (
        "sequence_output" not in outputs
    ):
        raise ValueError(
            "Expected a network of keras-hub that takes `token_ids` and gives one "
            "sequence, an encoder or a decoder of texts. Received: "
            f"{type(network).__name__} with outputs {sorted(outputs)}"
        )
    return outputs


def _pooled(outputs, inputs, pooling):
    sequence = outputs["sequence_output"]
    if pooling == "first":
        return sequence[:, 0]
    if pooling == "trained":
        if "pooled_output" not in outputs:
            raise ValueError(
                "Expected a network that gives `pooled_output` for "
                f"`pooling='trained'`. Received: outputs {sorted(outputs)}. Use 'mean'"
            )
        return outputs["pooled_output"]
    if "padding_mask" in inputs:
        return MeanOverTokens(name="pooled")(sequence, inputs["padding_mask"])
    return keras.layers.GlobalAveragePooling1D(name="pooled")(sequence)


def _stages(network):
    """The Transformer layers, where each is called once."""
    layers = getattr(network, "transformer_layers", None) or []
    single = all(isinstance(layer, keras.layers.Layer) for layer in layers)
    return layers if single else []


def _all_but_last(backbone, stages, count):
    """The layers up to the last `count` stages."""
    check_count("trainable_layers", count, minimum=0)
    if count > len(stages):
        raise ValueError(
            "Expected `trainable_layers` to be at most the number of Transformer "
            f"layers that are called one by one, {len(stages)}. "
            f"Received: trainable_layers={count}"
        )
    if count == 0:
        return backbone.layers
    first = stages[-count]
    before = keras.Model(backbone.input, first.output).layers
    return [layer for layer in before if layer is not first]
