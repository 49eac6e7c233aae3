"""NumPy arrays to and from the tensors of TensorFlow's C API."""

import ctypes
from typing import Any

import numpy as np

from keras_mtl.export.signatures import TensorInfo

_STRING = 7
# Numbers of the enumeration `TF_DataType`.
_DTYPES: dict[int, np.dtype] = {
    1: np.dtype("float32"),
    2: np.dtype("float64"),
    3: np.dtype("int32"),
    4: np.dtype("uint8"),
    5: np.dtype("int16"),
    6: np.dtype("int8"),
    9: np.dtype("int64"),
    10: np.dtype("bool"),
    17: np.dtype("uint16"),
    19: np.dtype("float16"),
    22: np.dtype("uint32"),
    23: np.dtype("uint64"),
}
_SIZE_OF_STRING = 24


def declare(library: ctypes.CDLL, functions: dict[str, tuple]) -> None:
    """Sets result and argument types: `{name: (result, *arguments)}`."""
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    own = {
        "TF_AllocateTensor": (pointer, ctypes.c_int, pointer, ctypes.c_int, size),
        "TF_DeleteTensor": (None, pointer),
        "TF_TensorData": (pointer, pointer),
        "TF_TensorType": (ctypes.c_int, pointer),
        "TF_NumDims": (ctypes.c_int, pointer),
        "TF_Dim": (ctypes.c_int64, pointer, ctypes.c_int),
        "TF_TensorByteSize": (size, pointer),
        "TF_StringInit": (None, pointer),
        "TF_StringCopy": (None, pointer, ctypes.c_char_p, size),
        "TF_StringGetDataPointer": (pointer, pointer),
        "TF_StringGetSize": (size, pointer),
        "TF_StringDealloc": (None, pointer),
    }
    for name, (result, *arguments) in (own | functions).items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments


def dtype_name(number: int) -> str:
    """Name of a `TF_DataType`, as NumPy has it, or `"string"`."""
    if number == _STRING:
        return "string"
    return _DTYPES[number].name if number in _DTYPES else f"TF_DataType {number}"


def to_tensor(library: ctypes.CDLL, name: str, value: Any, info: TensorInfo) -> int:
    """A new `TF_Tensor` with the values of an array.

    Args:
        library: The C library.
        name: Name of the input, for messages.
        value: Array, or what NumPy makes one of.
        info: What the signature expects.

    Returns:
        Its address; `free_array` frees it.

    Raises:
        ValueError: If the shape or the dtype does not fit the signature.
    """
    array = _cast(name, value, info.dtype)
    _check_shape(name, array.shape, info.shape)
    strings = info.dtype == _STRING
    size = array.size * _SIZE_OF_STRING if strings else array.nbytes
    shape = (ctypes.c_int64 * array.ndim)(*array.shape)
    tensor = library.TF_AllocateTensor(info.dtype, shape, array.ndim, size)
    start = library.TF_TensorData(tensor)
    if strings:
        for index, text in enumerate(array.ravel().tolist()):
            address = start + index * _SIZE_OF_STRING
            library.TF_StringInit(address)
            library.TF_StringCopy(address, text, len(text))
    elif size:
        ctypes.memmove(start, array.ctypes.data, size)
    return tensor


def free_array(library: ctypes.CDLL, tensor: int) -> None:
    """Frees a tensor of `to_tensor`, its strings included."""
    if library.TF_TensorType(tensor) == _STRING:
        start = library.TF_TensorData(tensor)
        for offset in range(0, library.TF_TensorByteSize(tensor), _SIZE_OF_STRING):
            library.TF_StringDealloc(start + offset)
    library.TF_DeleteTensor(tensor)


def from_tensor(library: ctypes.CDLL, tensor: int) -> np.ndarray:
    """The values of a `TF_Tensor`, copied."""
    number = library.TF_TensorType(tensor)
    shape = [library.TF_Dim(tensor, d) for d in range(library.TF_NumDims(tensor))]
    start, size = library.TF_TensorData(tensor), library.TF_TensorByteSize(tensor)
    if number == _STRING:
        texts = [
            ctypes.string_at(
                library.TF_StringGetDataPointer(start + offset),
                library.TF_StringGetSize(start + offset),
            )
            for offset in range(0, size, _SIZE_OF_STRING)
        ]
        return np.array(texts, dtype="S").reshape(shape)
    if number not in _DTYPES:
        raise ValueError(f"Expected outputs of a NumPy dtype. Received: {number}")
    data = ctypes.string_at(start, size) if size else b""
    return np.frombuffer(data, _DTYPES[number]).reshape(shape).copy()


def _cast(name, value, number):
    array = np.asarray(value)
    if number == _STRING and array.dtype.kind == "U":
        return np.char.encode(array, "utf-8")
    if number == _STRING and array.dtype.kind == "O":
        texts = [t.encode() if isinstance(t, str) else t for t in array.ravel()]
        return np.array(texts, dtype="S").reshape(array.shape)
    strings = number == _STRING
    dtype = array.dtype if strings else _DTYPES.get(number)
    if strings:
        fits = array.dtype.kind == "S"
    else:
        fits = dtype is not None and np.can_cast(array.dtype, dtype, "same_kind")
    if not fits:
        raise ValueError(
            f"Expected the input {name!r} to be of dtype {dtype_name(number)}. "
            f"Received: dtype={array.dtype}"
        )
    return np.asarray(array, dtype, order="C")


def _check_shape(name, shape, expected):
    fits = expected is None or (
        len(shape) == len(expected)
        and all(e in (-1, s) for s, e in zip(shape, expected, strict=True))
    )
    if not fits:
        wanted = tuple(None if size == -1 else size for size in expected)
        raise ValueError(
            f"Expected the input {name!r} to have shape {wanted}. "
            f"Received: shape={tuple(shape)}"
        )
