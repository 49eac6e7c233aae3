"""The faster layers, in all their configurations, and how they are called."""

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_mtl import layers


@dataclasses.dataclass(frozen=True)
class Case:
    """A layer's kind, configuration, input shape and call arguments."""

    kind: str
    shape: tuple[int, ...]
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    call: dict[str, Any] = dataclasses.field(default_factory=dict)
    other: tuple[int, ...] | None = None  # of a second input
    falls_back: bool = False


def mask(*shape):
    """Random booleans, with a row that has none."""
    drawn = np.random.default_rng(3).random(shape) < 0.6
    drawn[..., 0, :] = False
    return tf.constant(drawn)


def _norm(*args, **kwargs):
    return Case("BatchNormalization", *args, **kwargs)


def _layer_norm(*args, **kwargs):
    return Case("LayerNormalization", *args, **kwargs)


def _attention(config=(), shape=(2, 5, 6), **kwargs):
    config = {"num_heads": 2, "key_dim": 4} | dict(config)
    return Case("MultiHeadAttention", shape, config, other=shape, **kwargs)


def _einsum(equation, shape, output_shape, bias_axes, **kwargs):
    config = {"output_shape": output_shape, "bias_axes": bias_axes}
    return Case("EinsumDense", shape, {"equation": equation} | config, **kwargs)


MAIN = {
    "norm": _norm((4, 3, 5, 6)),
    "layer_norm": _layer_norm((4, 5, 6)),
    "attention": _attention(),
    "einsum": _einsum("abc,cde->abde", (2, 5, 6), (None, 2, 4), "de"),
}
CASES = MAIN | {
    "norm_rows": _norm((7, 6), {"momentum": 0.5, "epsilon": 1e-2}),
    "norm_sequence": _norm((2, 5, 6), {"axis": 2, "scale": False}),
    "norm_volume": _norm((2, 2, 3, 2, 6), {"center": False}),
    "norm_one_row": _norm((1, 1, 1, 6)),
    "norm_axis": _norm((4, 6, 3, 5), {"axis": 1}, falls_back=True),
    "norm_renorm": _norm((4, 3, 5, 6), {"renorm": True}, falls_back=True),
    "norm_synchronized": _norm((7, 6), {"synchronized": True}, falls_back=True),
    "norm_epsilon": _norm((4, 3, 5, 6), {"epsilon": 1e-6}, falls_back=True),
    "norm_mask": _norm((2, 5, 6), call={"mask": mask(2, 5)}),
    "layer_norm_rows": _layer_norm((7, 6), {"center": False, "epsilon": 1e-6}),
    "layer_norm_plain": _layer_norm((4, 5, 6), {"scale": False, "center": False}),
    "layer_norm_axes": _layer_norm((4, 5, 6), {"axis": [1, 2]}, falls_back=True),
    "attention_values": _attention({"value_dim": 3, "use_bias": False}),
    "attention_output": _attention({"output_shape": 7}),
    "attention_causal": _attention(call={"use_causal_mask": True}),
    "attention_mask": _attention(call={"attention_mask": mask(2, 5, 5)}),
    "attention_head_mask": _attention(call={"attention_mask": mask(2, 2, 5, 5)}),
    "attention_one_mask": _attention(call={"attention_mask": mask(5, 5)}),
    "attention_padding": _attention(call={"value_mask": mask(2, 5)}),
    "attention_window": _attention({"sliding_window": 2}),
    "attention_gate": _attention({"use_gate": True}),
    "attention_scores": _attention(
        call={"return_attention_scores": True, "attention_mask": mask(2, 5, 5)}
    ),
    "attention_dropout": _attention(
        {"dropout": 0.5, "seed": 7}, call={"attention_mask": mask(2, 5, 5)}
    ),
    "attention_map": _attention(
        {"attention_axes": (2,)}, shape=(2, 3, 5, 6), falls_back=True
    ),
    "einsum_back": _einsum("abcd,cde->abe", (2, 5, 3, 4), (None, 6), "e"),
    "einsum_rows": _einsum("...x,xy->...y", (2, 5, 6), 3, None),
    "einsum_part_bias": _einsum(
        "abc,cde->abde", (2, 5, 6), (None, 2, 4), "e", falls_back=True
    ),
    "einsum_other": _einsum("abc,bd->adc", (2, 5, 6), (4, 6), None, falls_back=True),
}


def pair(case: Case, dtype: str) -> tuple[keras.layers.Layer, keras.layers.Layer]:
    """Ours and Keras' own, with the same random weights."""
    rng = np.random.default_rng(1)
    found = []
    for module in (layers, keras.layers):
        layer = getattr(module, case.kind)(**case.config, dtype=dtype)
        shapes = [s for s in (case.shape, case.other) if s]
        layer.build(*shapes)
        found.append(layer)
    stock = found[1]
    for variable in stock.weights:
        if variable.dtype != "uint32":  # not a random state
            drawn = rng.uniform(0.5, 1.5, variable.shape)
            variable.assign(drawn - (variable.path.split("/")[-1] == "kernel"))
    for ours, other in zip(found[0].weights, stock.weights, strict=True):
        ours.assign(other)
    return found[0], stock


def inputs(case: Case, dtype: str) -> list[tf.Tensor]:
    """The layer's tensors."""
    rng = np.random.default_rng(2)
    shapes = [s for s in (case.shape, case.other) if s]
    return [tf.constant(rng.normal(1.0, 2.0, s), dtype) for s in shapes]


def outcome(layer, case: Case, tensors: list, training: bool | None = True) -> dict:
    """Outputs, gradients on inputs and variables, and what the layer updated."""
    arguments = dict(case.call)
    if case.kind != "EinsumDense" and case.kind != "LayerNormalization":
        arguments["training"] = training
    variables = [v.value for v in layer.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        outputs = keras.tree.flatten(layer(*tensors, **arguments))
        slopes = [
            tf.reshape(tf.cos(tf.range(tf.cast(tf.size(o), "float32"))), tf.shape(o))
            for o in outputs
        ]
        total = tf.add_n(
            [
                tf.reduce_sum(tf.cast(o, "float32") * s)
                for o, s in zip(outputs, slopes, strict=True)
            ]
        )
    gradients = tape.gradient(total, [*tensors, *variables])
    updated = [v.value for v in layer.non_trainable_variables]
    return {"outputs": outputs, "gradients": gradients, "updated": updated}
