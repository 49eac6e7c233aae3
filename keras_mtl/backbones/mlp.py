"""Fully connected backbone."""

import keras

from keras_mtl.backbones.backbone import Backbone, dense_stack, registry


@registry.register("mlp")
class MLP(Backbone):
    """A stack of dense layers; gives the feature `"pooled"`.

    Args:
        input_shape: Shape of one example, `(features,)`.
        units: Widths of the layers; `()` gives the inputs as they are.
        activation: Activation of every layer.
        dropout: Dropout rate after each layer.

    Example:
    >>> import keras_mtl as mtl
    >>> mtl.backbones.MLP(input_shape=(8,), units=(16,)).output["pooled"].shape
    (None, 16)
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        *,
        units: tuple[int, ...] = (128, 128),
        activation: str = "relu",
        dropout: float = 0.0,
        name: str = "mlp",
        **kwargs,
    ):
        # === Functional model ===
        inputs = keras.Input(tuple(input_shape), name="features")
        pooled = dense_stack(inputs, units, activation, dropout)
        super().__init__(inputs, {"pooled": pooled}, name=name, **kwargs)

        # === Config ===
        self.stages = tuple(f"dense_{index}" for index in range(len(units)))
        self._arguments = {
            "input_shape": list(input_shape),
            "units": list(units),
            "activation": activation,
            "dropout": dropout,
        }

    def get_config(self):
        return {**super().get_config(), **self._arguments}
