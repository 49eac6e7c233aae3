"""Convolutional backbone for small images."""

import keras
from keras import layers

from keras_mtl.backbones.backbone import Backbone, registry
from keras_mtl.layers import BatchNormalization
from keras_mtl.utils.checks import check_choice, check_count


@registry.register("convnet")
class ConvNet(Backbone):
    """Stages of convolution, max pooling, normalisation and ReLU.

    Gives `"map"`, the output of the last stage, and `"pooled"`, a dense layer on
    the flattened map (`pooling="flatten"`, which keeps places and so suits boxes)
    or the mean over its pixels (`pooling="average"`).

    Args:
        input_shape: Shape of one image, `(height, width, channels)`.
        filters: Channels of the stages; each halves height and width.
        kernel_size: Side of the kernels.
        batch_norm: Whether every convolution is followed by batch normalisation.
        units: Width of `"pooled"` when `pooling` is `"flatten"`.
        pooling: `"flatten"` or `"average"`.

    Example:
    >>> import keras_mtl as mtl
    >>> net = mtl.backbones.ConvNet(input_shape=(48, 48, 1), filters=(8, 16))
    >>> net.output["map"].shape, net.output["pooled"].shape
    ((None, 12, 12, 16), (None, 128))
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        *,
        filters: tuple[int, ...] = (16, 32, 64, 64),
        kernel_size: int = 3,
        batch_norm: bool = True,
        units: int = 128,
        pooling: str = "flatten",
        name: str = "convnet",
        **kwargs,
    ):
        check_choice("pooling", pooling, ("flatten", "average"))
        if len(input_shape) != 3:
            raise ValueError(
                "Expected `input_shape` to be (height, width, channels). "
                f"Received: input_shape={input_shape}"
            )

        # === Layers ===
        stages = [
            self._stage(index, check_count("filters", width), kernel_size, batch_norm)
            for index, width in enumerate(filters)
        ]
        if pooling == "flatten":
            pool = [
                layers.Flatten(name="flatten"),
                layers.Dense(units, activation="relu", name="pooled"),
            ]
        else:
            pool = [layers.GlobalAveragePooling2D(name="pooled")]

        # === Functional model ===
        inputs = keras.Input(tuple(input_shape), name="image")
        x = inputs
        for stage in stages:
            for layer in stage:
                x = layer(x)
        pooled = x
        for layer in pool:
            pooled = layer(pooled)
        super().__init__(inputs, {"map": x, "pooled": pooled}, name=name, **kwargs)

        # === Config ===
        self.stages = tuple(stage[-1].name for stage in stages)
        self._arguments = {
            "input_shape": list(input_shape),
            "filters": list(filters),
            "kernel_size": kernel_size,
            "batch_norm": batch_norm,
            "units": units,
            "pooling": pooling,
        }

    @staticmethod
    def _stage(index, filters, kernel_size, batch_norm):
        # Pooling comes before normalisation and ReLU, which then see a quarter of
        # the pixels: on CPU they cost more than the convolution.
        stage = [
            layers.Conv2D(
                filters,
                kernel_size,
                padding="same",
                use_bias=not batch_norm,
                name=f"stage_{index}_conv",
            ),
            layers.MaxPooling2D(2, padding="same", name=f"stage_{index}_pool"),
        ]
        if batch_norm:
            stage.append(BatchNormalization(name=f"stage_{index}_norm"))
        stage.append(layers.ReLU(name=f"stage_{index}_relu"))
        return stage

    def get_config(self):
        return {**super().get_config(), **self._arguments}
