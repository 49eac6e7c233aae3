"""Signatures of a SavedModel, read from the bytes of its `MetaGraphDef`.

Needs nothing but Python: a process without Python TensorFlow reads with it.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Numbers of the fields, from tensorflow/core/protobuf/meta_graph.proto.
_SIGNATURE_DEF = 5
_INPUTS, _OUTPUTS = 1, 2
_NAME, _DTYPE, _SHAPE = 1, 2, 3
_DIM, _UNKNOWN_RANK = 2, 3
_KEY, _VALUE = 1, 2


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """A tensor that a signature takes or gives.

    Args:
        tensor: Name in the graph, such as `"StatefulPartitionedCall:0"`.
        dtype: Number in the enumeration `TF_DataType`.
        shape: Sizes, `-1` for an unknown one; `None` for an unknown rank.
    """

    tensor: str
    dtype: int
    shape: tuple[int, ...] | None


@dataclasses.dataclass(frozen=True)
class Signature:
    """Inputs and outputs of one signature, by name."""

    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]


def read_signatures(meta_graph: bytes) -> dict[str, Signature]:
    """Signatures of a serialised `MetaGraphDef`, by name.

    `__saved_model_init_op` and other pseudo-signatures that TensorFlow keeps
    beside them are left out: they cannot be served.

    Args:
        meta_graph: The bytes that `TF_LoadSessionFromSavedModel` returns.

    Returns:
        Dict from the name to the `Signature`, sorted by name.

    Raises:
        ValueError: If the bytes are no protocol buffer message.

    Example:
    >>> read_signatures(b"")
    {}
    """
    entries = [
        _map_entry(value)
        for field, value in _fields(meta_graph)
        if field == _SIGNATURE_DEF
    ]
    return {
        name: Signature(_tensors(value, _INPUTS), _tensors(value, _OUTPUTS))
        for name, value in sorted(entries)
        if not name.startswith("__saved_model")
    }


def _tensors(signature, part):
    entries = [
        _map_entry(value) for field, value in _fields(signature) if field == part
    ]
    return {name: _tensor_info(value) for name, value in sorted(entries)}


def _tensor_info(message):
    fields = dict(_fields(message))
    if _NAME not in fields:
        raise ValueError("Expected dense tensors in the signatures of a SavedModel")
    return TensorInfo(
        tensor=fields[_NAME].decode(),
        dtype=fields.get(_DTYPE, 0),
        shape=_shape(fields.get(_SHAPE, b"")),
    )


def _shape(message):
    sizes = []
    for field, value in _fields(message):
        if field == _UNKNOWN_RANK and value:
            return None
        if field == _DIM:
            size = dict(_fields(value)).get(1, 0)
            sizes.append(size - (1 << 64) if size >= 1 << 63 else size)
    return tuple(sizes)


def _map_entry(message):
    fields = dict(_fields(message))
    return fields.get(_KEY, b"").decode(), fields.get(_VALUE, b"")


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Pairs of field number and value (an integer or bytes) of a message."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        field, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, position = _varint(message, position)
        elif kind == _BYTES:
            size, position = _varint(message, position)
            value, position = _take(message, position, size)
        elif kind in (_FIXED32, _FIXED64):
            value, position = _take(message, position, 4 if kind == _FIXED32 else 8)
        else:
            raise ValueError(f"Expected a protocol buffer. Received: wire type {kind}")
        yield field, value


def _take(message, position, size):
    end = position + size
    if end > len(message):
        raise ValueError("Expected a protocol buffer. Received: a truncated message")
    return message[position:end], end


def _varint(message, position):
    value = shift = 0
    while True:
        byte, position = _take(message, position, 1)
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value, position
        shift += 7
