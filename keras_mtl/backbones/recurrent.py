"""Recurrent backbone for time series."""

import keras
from keras import layers

from keras_mtl.backbones.backbone import Backbone, registry
from keras_mtl.layers import LastStep
from keras_mtl.utils.checks import check_choice, check_count

_CELLS = {"gru": layers.GRU, "lstm": layers.LSTM}


@registry.register("recurrent")
class Recurrent(Backbone):
    """A stack of GRU or LSTM layers over the steps of a time series.

    Gives `"sequence"`, the state of the last layer after every step, and `"pooled"`,
    its state after the last step (`pooling="last"`) or the mean over the steps
    (`pooling="average"`). Steps of padding, where all channels are `mask_value`, do
    not change a state, and are left out of both.

    Args:
        input_shape: Shape of one series, `(steps, channels)`; `steps` may be `None`
            where it varies from batch to batch.
        units: Units of the layers, per direction.
        cell: `"gru"` or `"lstm"`.
        bidirectional: Whether every layer also runs backwards; features are then
            twice as wide. Not for forecasts while a series still comes in.
        pooling: `"last"` or `"average"`.
        mask_value: Value of padding, or `None` if all steps count.
        dropout: Dropout rate after each layer.

    Example:
    >>> import keras_mtl as mtl
    >>> net = mtl.backbones.Recurrent(input_shape=(24, 8), units=(16,))
    >>> net.output["sequence"].shape, net.output["pooled"].shape
    ((None, 24, 16), (None, 16))

    Reference:
        - [Cho et al., 2014](https://arxiv.org/abs/1406.1078), the GRU.
        - [Hochreiter & Schmidhuber, 1997](https://doi.org/10.1162/neco.1997.9.8.1735),
          the LSTM.
    """

    def __init__(
        self,
        input_shape: tuple[int | None, int],
        *,
        units: tuple[int, ...] = (64,),
        cell: str = "gru",
        bidirectional: bool = False,
        pooling: str = "last",
        mask_value: float | None = None,
        dropout: float = 0.0,
        name: str = "recurrent",
        **kwargs,
    ):
        check_choice("cell", cell, tuple(_CELLS))
        check_choice("pooling", pooling, ("last", "average"))
        if len(input_shape) != 2 or not units:
            raise ValueError(
                "Expected `input_shape` to be (steps, channels), and `units` to have "
                f"an entry per layer. Received: input_shape={input_shape}, "
                f"units={units}"
            )

        # === Layers ===
        stack = []
        for index, width in enumerate(units):
            stack.append(self._layer(index, width, cell, bidirectional))
            if dropout:
                stack.append(layers.Dropout(dropout, name=f"dropout_{index}"))
        if pooling == "last":
            backward = units[-1] if bidirectional else 0
            pool = LastStep(backward, name="pooled")
        else:
            pool = layers.GlobalAveragePooling1D(name="pooled")

        # === Functional model ===
        inputs = keras.Input(tuple(input_shape), name="series")
        x = inputs
        if mask_value is not None:
            x = layers.Masking(mask_value, name="padding")(x)
        for layer in stack:
            x = layer(x)
        super().__init__(
            inputs, {"sequence": x, "pooled": pool(x)}, name=name, **kwargs
        )

        # === Config ===
        self.stages = tuple(f"{cell}_{index}" for index in range(len(units)))
        self._arguments = {
            "input_shape": list(input_shape),
            "units": list(units),
            "cell": cell,
            "bidirectional": bidirectional,
            "pooling": pooling,
            "mask_value": mask_value,
            "dropout": dropout,
        }

    @staticmethod
    def _layer(index, units, cell, bidirectional):
        name = f"{cell}_{index}"
        check_count("units", units)
        if not bidirectional:
            return _CELLS[cell](units, return_sequences=True, name=name)
        one_way = _CELLS[cell](units, return_sequences=True)
        return layers.Bidirectional(one_way, name=name)

    def get_config(self):
        return {**super().get_config(), **self._arguments}
