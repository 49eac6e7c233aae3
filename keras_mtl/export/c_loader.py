"""TensorFlow's C++ SavedModel loader, through the C API and ctypes.

This is the code path by which TensorFlow Serving loads a model. The shared
library of the installed wheel is enough: Python TensorFlow is never imported, so
that an op which only exists there (`tf.numpy_function`) is found out.
"""

import ctypes
import glob
import importlib.util
import os
from typing import Any

import numpy as np

from keras_mtl.export.c_tensor import declare, free_array, from_tensor, to_tensor
from keras_mtl.export.signatures import Signature, read_signatures

# A serialised ConfigProto: device_count {"GPU": 0}, allow_soft_placement: true.
# Expected outputs are recorded on the CPU, so they are checked there.
_CPU_ONLY = b"\x0a\x07\x0a\x03GPU\x10\x00\x38\x01"


class _Buffer(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("deallocator", ctypes.c_void_p),
    ]


class _Output(ctypes.Structure):
    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


def load_library() -> ctypes.CDLL:
    """The C library of the installed TensorFlow, with typed functions.

    Raises:
        OSError: If TensorFlow is not installed, or has no such library.
    """
    spec = importlib.util.find_spec("tensorflow")
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    for folder in folders:
        pattern = os.path.join(glob.escape(folder), "libtensorflow_cc*")
        found = sorted(glob.glob(pattern))
        if found:
            return _declare(ctypes.CDLL(found[0]))
    raise OSError(
        "Expected an installed TensorFlow with the library `libtensorflow_cc`. "
        f"Received: folders={folders}"
    )


class SavedModel:
    """A SavedModel in the C++ runtime.

    Args:
        folder: Folder of one version, with `saved_model.pb`.

    Attributes:
        signatures: Dict from the name to the `Signature`, pseudo-signatures left
            out.

    Raises:
        ValueError: If the runtime refuses the model; the message is TensorFlow's.

    Example:
    >>> import tempfile
    >>> import tensorflow as tf
    >>> spec = tf.TensorSpec((None,), "float32", name="x")
    >>> double = tf.function(lambda x: {"y": 2.0 * x}, [spec])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tf.saved_model.save(tf.Module(), folder, {"double": double})
    ...     with SavedModel(folder) as model:
    ...         model.run("double", {"x": [1.0, 2.5]})["y"].tolist()
    [2.0, 5.0]
    """

    def __init__(self, folder: str | os.PathLike):
        self._library = load_library()
        self._session = None
        self._graph = self._library.TF_NewGraph()
        meta_graph = self._library.TF_NewBuffer()
        options = self._library.TF_NewSessionOptions()
        tags = (ctypes.c_char_p * 1)(b"serve")
        try:
            self._call("TF_SetConfig", options, _CPU_ONLY, len(_CPU_ONLY))
            self._session = self._call(
                "TF_LoadSessionFromSavedModel",
                *(options, None, os.fsencode(folder)),
                *(tags, len(tags), self._graph, meta_graph),
            )
            content = meta_graph.contents
            message = ctypes.string_at(content.data, content.length)
            self.signatures: dict[str, Signature] = read_signatures(message)
        except BaseException:
            self.close()
            raise
        finally:
            self._library.TF_DeleteSessionOptions(options)
            self._library.TF_DeleteBuffer(meta_graph)

    def run(self, signature: str, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        """Outputs of a signature.

        Args:
            signature: Its name.
            inputs: Dict from the names of its inputs to arrays. Numbers are cast
                to the dtype of the input where nothing is lost but precision.

        Returns:
            Dict of arrays; strings have a NumPy `S` dtype.

        Raises:
            ValueError: For an unknown signature, missing or unknown inputs, a
                wrong shape or dtype, and for what the runtime refuses.
        """
        if signature not in self.signatures:
            raise ValueError(
                f"Expected `signature` to be one of {list(self.signatures)}. "
                f"Received: signature={signature!r}"
            )
        expected = self.signatures[signature]
        if set(inputs) != set(expected.inputs):
            raise ValueError(
                f"Expected inputs {list(expected.inputs)} for the signature "
                f"{signature!r}. Received: {sorted(inputs)}"
            )
        tensors = []
        try:
            for name, info in expected.inputs.items():
                tensors.append(to_tensor(self._library, name, inputs[name], info))
            results = self._run(expected, tensors)
        finally:
            for tensor in tensors:
                free_array(self._library, tensor)
        return dict(zip(expected.outputs, results, strict=True))

    def close(self) -> None:
        """Frees the session; the object cannot be used afterwards."""
        if self._session is not None:
            self._call("TF_CloseSession", self._session)
            self._call("TF_DeleteSession", self._session)
            self._session = None
        if self._graph is not None:
            self._library.TF_DeleteGraph(self._graph)
            self._graph = None

    def __enter__(self) -> "SavedModel":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _run(self, signature, tensors):
        wanted = list(signature.outputs.values())
        values = (ctypes.c_void_p * len(tensors))(*tensors)
        results = (ctypes.c_void_p * len(wanted))()
        try:
            self._call(
                "TF_SessionRun",
                *(self._session, None),
                *(self._outputs(signature.inputs.values()), values, len(tensors)),
                *(self._outputs(wanted), results, len(wanted)),
                *(None, 0, None),
            )
            return [from_tensor(self._library, tensor) for tensor in results if tensor]
        finally:
            for tensor in filter(None, results):
                self._library.TF_DeleteTensor(tensor)

    def _outputs(self, infos):
        outputs = (_Output * len(infos))()
        for output, info in zip(outputs, infos, strict=True):
            name, _, index = info.tensor.partition(":")
            output.operation = self._library.TF_GraphOperationByName(
                self._graph, name.encode()
            )
            output.index = int(index or 0)
        return outputs

    def _call(self, function, *arguments):
        """Calls a function that reports through a trailing `TF_Status`."""
        status = self._library.TF_NewStatus()
        try:
            result = getattr(self._library, function)(*arguments, status)
            if self._library.TF_GetCode(status):
                message = self._library.TF_Message(status).decode(errors="replace")
                raise ValueError(
                    f"TensorFlow's C++ runtime refuses the model: {message}"
                )
            return result
        finally:
            self._library.TF_DeleteStatus(status)


def _declare(library):
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    buffer, number, text = ctypes.POINTER(_Buffer), ctypes.c_int, ctypes.c_char_p
    declare(
        library,
        {
            "TF_NewStatus": (pointer,),
            "TF_DeleteStatus": (None, pointer),
            "TF_GetCode": (number, pointer),
            "TF_Message": (text, pointer),
            "TF_NewGraph": (pointer,),
            "TF_DeleteGraph": (None, pointer),
            "TF_NewBuffer": (buffer,),
            "TF_DeleteBuffer": (None, buffer),
            "TF_NewSessionOptions": (pointer,),
            "TF_DeleteSessionOptions": (None, pointer),
            "TF_SetConfig": (None, pointer, text, size, pointer),
            "TF_LoadSessionFromSavedModel": (
                *(pointer, pointer, pointer, text),
                *(ctypes.POINTER(text), number, pointer, buffer, pointer),
            ),
            "TF_CloseSession": (None, pointer, pointer),
            "TF_DeleteSession": (None, pointer, pointer),
            "TF_GraphOperationByName": (pointer, pointer, text),
            "TF_SessionRun": (
                *(None, pointer, pointer),
                *(ctypes.POINTER(_Output), ctypes.POINTER(pointer), number),
                *(ctypes.POINTER(_Output), ctypes.POINTER(pointer), number),
                *(pointer, number, pointer, pointer),
            ),
        },
    )
    return library
