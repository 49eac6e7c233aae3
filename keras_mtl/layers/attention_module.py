"""Attention module of MTAN: a task's mask over the features of a shared stage."""

import keras
from keras import layers, ops

from keras_mtl.utils.checks import check_count
from keras_mtl.utils.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mtl")
class AttentionModule(keras.layers.Layer):
    """Multiplies shared features with a mask that the task learns.

    With `p` the shared features of this stage, `a` those that the task attended to
    at the stage before, `[;]` concatenation of channels and `*` matrices that act on
    the channels of each position,

        f = ReLU(BN(conv(a))), brought to the size of p
        x = σ(BN(W₂ * ReLU(BN(W₁ * [p; f])))) ⊙ p

    `conv` has kernels of size 3 over positions (none for rank 2) and as many
    channels as `p`. Smaller sizes are reached by max pooling where a stride fits,
    all others bilinearly; positions are averaged where `p` has rank 2 and `a` more.

    Args:
        units: Number of rows of `W₁`; the channels of `p` by default.

    Call arguments:
        inputs: List of `p` and, after the first stage, `a`; tensors of shape
            `(batch, channels)`, `(batch, tokens, channels)` or
            `(batch, height, width, channels)`.

    Returns:
        Tensor of the shape of `p`.

    Raises:
        ValueError: If `p` has more positions' axes than `a`, or ranks are no
            feature's.

    Example:
    >>> module = AttentionModule()
    >>> small, large = ops.ones((2, 3, 3, 8)), ops.ones((2, 6, 6, 4))
    >>> module([small, large]).shape
    TensorShape([2, 3, 3, 8])

    Reference:
        - [Liu et al., 2019](https://arxiv.org/abs/1803.10704), equations 1 and 2.
    """

    def __init__(self, units: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.units = None if units is None else check_count("units", units)

    def build(self, input_shape):
        shared = tuple(input_shape[0])
        width = shared[-1]
        channels = width
        self.extract = None
        if len(input_shape) > 1:
            attended = tuple(input_shape[1])
            _check_ranks(shared, attended)
            self.extract = self._extractor(len(attended), width)
            self.extract_norm = self._norm("extract_norm")
            self.extract.build(attended)
            self.extract_norm.build((*attended[:-1], width))
            channels += width
        units = width if self.units is None else self.units
        self.hidden = self._dense(units, "hidden")
        self.hidden_norm = self._norm("hidden_norm")
        self.gate = self._dense(width, "gate")
        self.gate_norm = self._norm("gate_norm")
        self.hidden.build((*shared[:-1], channels))
        self.hidden_norm.build((*shared[:-1], units))
        self.gate.build((*shared[:-1], units))
        self.gate_norm.build(shared)

    def _extractor(self, rank, width):
        kind = {2: layers.Dense, 3: layers.Conv1D, 4: layers.Conv2D}[rank]
        kwargs = {} if rank == 2 else {"kernel_size": 3, "padding": "same"}
        return kind(
            width, use_bias=False, dtype=self.dtype_policy, name="extract", **kwargs
        )

    def _dense(self, units, name):
        return layers.Dense(units, use_bias=False, dtype=self.dtype_policy, name=name)

    def _norm(self, name):
        return layers.BatchNormalization(dtype=self.dtype_policy, name=name)

    def call(self, inputs: list[Tensor], training: bool | None = None) -> Tensor:
        shared = inputs[0]
        x = shared
        if self.extract is not None:
            f = self.extract_norm(self.extract(inputs[1]), training=training)
            f = _resized(ops.relu(f), shared)
            x = ops.concatenate([shared, f], axis=-1)
        x = ops.relu(self.hidden_norm(self.hidden(x), training=training))
        mask = ops.sigmoid(self.gate_norm(self.gate(x), training=training))
        return mask * shared

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[0])

    def compute_mask(self, inputs, previous_mask):
        return None if previous_mask is None else previous_mask[0]

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def _check_ranks(shared, attended):
    ranks = len(shared), len(attended)
    if ranks[1] not in (2, 3, 4) or ranks[0] not in (2, ranks[1]):
        raise ValueError(
            "Expected stages of one rank, 2, 3 or 4, or one of rank 2 after others. "
            f"Received: a stage of shape {shared} after one of shape {attended}"
        )


def _resized(x, like):
    """`x` with the positions of `like`."""
    axes = tuple(range(1, len(x.shape) - 1))
    if len(like.shape) < len(x.shape):
        return ops.mean(x, axis=axes)
    old, new = [x.shape[a] for a in axes], [like.shape[a] for a in axes]
    if None not in old + new:
        strides = [-(-a // b) for a, b in zip(old, new, strict=True)]
        if old == new:
            return x
        if [-(-a // s) for a, s in zip(old, strides, strict=True)] == new:
            return ops.max_pool(x, strides, strides, padding="same")
    return _interpolated(x, [ops.shape(like)[axis] for axis in axes])


def _interpolated(x, size):
    tokens = len(size) == 1
    maps = ops.expand_dims(x, 2) if tokens else x
    maps = ops.image.resize(
        maps,
        (*size, 1) if tokens else tuple(size),
        interpolation="bilinear",
        data_format="channels_last",
    )
    maps = ops.cast(maps, x.dtype)
    return ops.squeeze(maps, 2) if tokens else maps
