"""Kernels of a layer, changed for one call by products of low rank."""

import math
from typing import Any

import keras
from keras import layers, ops

from keras_mtl.layers.einsum_dense import EinsumDense
from keras_mtl.utils.checks import check_count, check_positive
from keras_mtl.utils.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mtl")
class LowRankUpdate(layers.Layer):
    """What is to be added to some kernels: `alpha / rank * A @ B` for each.

    `A` of shape `(inputs, rank)` starts with random numbers and `B` of shape
    `(rank, outputs)` at zero, and so does the update. `inputs` and `outputs` count
    the entries of the kernel's input and output axes.

    Args:
        shapes: Shape of every kernel.
        input_axes: For every kernel, its axes that are summed over when it is
            applied; the others are output axes.
        rank: Rank of the updates.
        alpha: Number `> 0`; defaults to `rank`, a factor of 1.

    Call arguments:
        inputs: Any tensor. It only gives the layer its place in the model.

    Returns:
        List of tensors of the kernels' shapes.

    Example:
    >>> update = LowRankUpdate([(8, 2, 4)], [(0,)], rank=3)
    >>> [u.shape for u in update(ops.zeros((1, 8)))], update.count_params()
    ([TensorShape([8, 2, 4])], 48)

    Reference:
        - [Hu et al., 2021](https://arxiv.org/abs/2106.09685), section 4.1.
    """

    def __init__(
        self,
        shapes: list[tuple[int, ...]],
        input_axes: list[tuple[int, ...]],
        *,
        rank: int,
        alpha: float | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.shapes = [tuple(shape) for shape in shapes]
        self.input_axes = [tuple(axes) for axes in input_axes]
        self.rank = check_count("rank", rank)
        self.alpha = float(rank if alpha is None else check_positive("alpha", alpha))

    def build(self, input_shape):
        self.factors = []
        for index, (shape, axes) in enumerate(
            zip(self.shapes, self.input_axes, strict=True)
        ):
            inputs = math.prod(shape[axis] for axis in axes)
            outputs = math.prod(shape) // inputs
            a = self.add_weight(
                name=f"a_{index}", shape=(inputs, self.rank), initializer="he_uniform"
            )
            b = self.add_weight(
                name=f"b_{index}", shape=(self.rank, outputs), initializer="zeros"
            )
            self.factors.append((a, b))

    def call(self, inputs: Tensor) -> list[Tensor]:
        updates = []
        for shape, axes, (a, b) in zip(
            self.shapes, self.input_axes, self.factors, strict=True
        ):
            # The product has the input axes first.
            order = [*axes, *(i for i in range(len(shape)) if i not in axes)]
            product = ops.matmul(a, b) * (self.alpha / self.rank)
            product = ops.reshape(product, [shape[axis] for axis in order])
            back = [order.index(axis) for axis in range(len(shape))]
            updates.append(ops.transpose(product, back))
        return updates

    def compute_output_shape(self, input_shape):
        return list(self.shapes)

    def get_config(self):
        return {
            **super().get_config(),
            "shapes": [list(shape) for shape in self.shapes],
            "input_axes": [list(axes) for axes in self.input_axes],
            "rank": self.rank,
            "alpha": self.alpha,
        }


@keras.saving.register_keras_serializable(package="keras_mtl")
class WithUpdates(layers.Wrapper):
    """Another layer, called with something added to some of its kernels.

    The kernels themselves stay as they are; several calls may add different updates
    to them. Whatever else the layer updates (batch statistics, random states) it
    still does.

    Args:
        layer: A built layer of any kind.
        kernels: Which kernels are meant: positions in `dense_layers(layer)`.

    Call arguments:
        inputs: The layer's first argument.
        updates: List with a tensor of each kernel's shape.
        tensors: Dict of its other arguments that are tensors.
        options: Dict of its other arguments.

    Returns:
        What the layer returns.

    Example:
    >>> dense = layers.Dense(3, activation="relu", use_bias=False)
    >>> dense.build((None, 2))
    >>> x, update = ops.ones((1, 2)), ops.ones((2, 3))
    >>> changed = WithUpdates(dense, [0])(x, updates=[update])
    >>> bool(ops.all(ops.isclose(changed, ops.relu(x @ (dense.kernel + update)))))
    True
    """

    def __init__(self, layer: layers.Layer, kernels: list[int], **kwargs):
        kwargs.setdefault("name", layer.name)
        kwargs.setdefault("dtype", layer.dtype_policy)
        super().__init__(layer, **kwargs)
        self.kernels = list(kernels)
        self.supports_masking = True

    def call(
        self,
        inputs: Any,
        updates: list[Tensor],
        tensors: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
    ) -> Any:
        found = dense_layers(self.layer)
        kernels = [found[position].kernel for position in self.kernels]
        values = [
            ops.cast(kernel.value, kernel.dtype) + ops.cast(update, kernel.dtype)
            for kernel, update in zip(kernels, updates, strict=True)
        ]
        with keras.StatelessScope(
            list(zip(kernels, values, strict=True)),
            collect_losses=True,
            initialize_variables=False,
        ) as scope:
            outputs = self.layer(inputs, **(tensors or {}), **(options or {}))
        for variable in self.layer.variables:
            value = scope.get_current_value(variable)
            if value is not None and all(variable is not k for k in kernels):
                variable.assign(value)
        for loss in scope.losses:
            self.add_loss(loss)
        return outputs

    def compute_output_spec(self, inputs, updates, tensors=None, options=None):
        return self.layer.compute_output_spec(
            inputs, **(tensors or {}), **(options or {})
        )

    def compute_mask(self, inputs, previous_mask):
        return self.layer.compute_mask(inputs, previous_mask)

    def get_build_config(self):
        return {"layer": self.layer.get_build_config()}

    def build_from_config(self, config):
        if not self.layer.built:
            self.layer.build_from_config(config["layer"] or {})
        self.built = True

    def get_config(self):
        return {**super().get_config(), "kernels": self.kernels}


def dense_layers(layer: layers.Layer) -> list[layers.Layer]:
    """The dense and convolutional layers in a layer, itself included, in its order.

    Layers whose kernel is no plain variable (quantised, or with Keras' own LoRA) are
    left out.
    """
    inner = [dense for part in layer._layers for dense in dense_layers(part)]
    found = [layer, *inner] if _has_kernel(layer) else inner
    return list({id(dense): dense for dense in found}.values())


def _has_kernel(layer):
    kinds = (
        layers.Dense,
        layers.EinsumDense,
        EinsumDense,
        layers.Conv1D,
        layers.Conv2D,
        layers.Conv3D,
    )
    # A layer that inherits from `Conv2D`, such as a transposed convolution, may use
    # its kernel in another way.
    plain = type(layer) in kinds and layer.built
    return plain and isinstance(layer.kernel, keras.Variable)


def input_axes(layer: layers.Layer) -> tuple[int, ...]:
    """The axes of a kernel that are summed over when the layer applies it.

    Example:
    >>> attention = layers.EinsumDense("abcd,cde->abe", output_shape=(None, 5))
    >>> input_axes(attention)
    (0, 1)
    """
    if isinstance(layer, layers.EinsumDense):
        operands, result = layer.equation.replace(" ", "").split("->")
        kernel = operands.split(",")[1]
        return tuple(i for i, axis in enumerate(kernel) if axis not in result)
    if isinstance(layer, layers.Dense):
        return (0,)
    return tuple(range(len(layer.kernel.shape) - 1))
