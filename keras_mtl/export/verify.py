"""Exported models in another process: check their numbers, predict with them."""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_mtl.export import runner
from keras_mtl.export.records import read_arrays, write_arrays
from keras_mtl.export.versions import version_folder


@dataclasses.dataclass(frozen=True)
class OutputCheck:
    """Result for one output of one signature.

    Args:
        signature: Name of the signature.
        output: Name of the output; empty if the signature could not be run.
        shape: Shape of the recorded batch's output, or `None`.
        dtype: Dtype of the output, or `None`.
        difference: Largest absolute difference from the recorded output.
        ok: Whether it is within tolerance.
        message: What went wrong, if it is no number.
    """

    signature: str
    output: str
    shape: list[int] | None
    dtype: str | None
    difference: float | None
    ok: bool
    message: str


@dataclasses.dataclass(frozen=True)
class VerificationReport:
    """Result of `verify_saved_model`.

    Args:
        folder: Folder of the version.
        checks: One `OutputCheck` per output of every signature.
    """

    folder: str
    checks: tuple[OutputCheck, ...]

    @property
    def ok(self) -> bool:
        """Whether every output is right, and there is one."""
        return bool(self.checks) and all(check.ok for check in self.checks)


def verify_saved_model(
    directory: str | os.PathLike, *, version: int | None = None
) -> VerificationReport:
    """Compares an exported model with the outputs recorded at its export.

    TensorFlow's C++ loader runs every signature, in a new process that does not
    import Python TensorFlow: the way in which TensorFlow Serving loads the model,
    and the way to find ops that exist in the exporting process only.

    Args:
        directory: Folder of numbered versions, or the folder of one version.
        version: Number of the version. Defaults to the newest.

    Returns:
        A `VerificationReport`; its `ok` tells whether all is right.

    Raises:
        ValueError: If there is no such version, or the model cannot be loaded.

    Example:
    >>> import keras_mtl as mtl
    >>> from keras_mtl.export import export_saved_model
    >>> tasks = [mtl.Task("kind", mtl.heads.Classification(3))]
    >>> model = mtl.build_model(mtl.backbones.MLP(input_shape=(4,)), tasks)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = export_saved_model(model, folder)
    ...     verify_saved_model(folder).ok
    True
    """
    folder = version_folder(directory, version)
    checks = _run("verify", folder)["checks"]
    return VerificationReport(folder, tuple(OutputCheck(**check) for check in checks))


def predict_saved_model(
    directory: str | os.PathLike,
    inputs: Mapping[str, Any],
    *,
    signature: str = "serving_default",
    version: int | None = None,
) -> dict[str, np.ndarray]:
    """Outputs of an exported model, computed by another process.

    The process loads the model with TensorFlow's C++ loader and does not import
    Python TensorFlow. It loads it anew for each call: meant for checks and
    demonstrations, not for serving.

    Args:
        directory: Folder of numbered versions, or the folder of one version.
        inputs: Dict from the names of the signature's inputs to arrays.
        signature: Name of a task, or `"serving_default"` for all tasks.
        version: Number of the version. Defaults to the newest.

    Returns:
        Dict of arrays, as `MultiTaskModel.predict_tasks` gives for a task.

    Raises:
        TypeError: If `inputs` is no dict.
        ValueError: If there is no such version or signature, or the inputs do
            not fit it.

    Example:
    >>> import keras_mtl as mtl
    >>> from keras_mtl.export import export_saved_model
    >>> tasks = [mtl.Task("kind", mtl.heads.Classification(3))]
    >>> model = mtl.build_model(mtl.backbones.MLP(input_shape=(4,)), tasks)
    >>> inputs = {"features": np.zeros((2, 4))}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = export_saved_model(model, folder)
    ...     served = predict_saved_model(folder, inputs, signature="kind")
    >>> served["probabilities"].shape
    (2, 3)
    """
    if not isinstance(inputs, Mapping):
        raise TypeError(
            "Expected `inputs` to be a dict from the names of the signature's inputs "
            f"to arrays. Received: inputs of type {type(inputs).__name__}"
        )
    folder = version_folder(directory, version)
    arrays = {name: _plain(value) for name, value in inputs.items()}
    with tempfile.TemporaryDirectory() as scratch:
        source, target = (os.path.join(scratch, f"{n}.npz") for n in ("in", "out"))
        write_arrays(source, arrays)
        _run("predict", folder, signature, source, target)
        return {name: _text(array) for name, array in read_arrays(target).items()}


def _text(array):
    """Strings as Python's; what is no UTF-8 can be had back by encoding."""
    if array.dtype.kind != "S":
        return array
    return np.char.decode(array, "utf-8", "surrogateescape")


def _plain(value):
    """An array that can be stored without pickling."""
    array = np.asarray(value)
    if array.dtype.kind != "O":
        return array
    texts = [t.encode() if isinstance(t, str) else t for t in array.ravel()]
    return np.array(texts, dtype="S").reshape(array.shape)


def _run(*arguments):
    """Runs the program of `runner.py`; returns what it prints."""
    # `-P`: the folder of the script must not come first on the import path.
    process = subprocess.run(
        [sys.executable, "-P", runner.__file__, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = process.stdout.strip().splitlines()
    try:
        result = json.loads(lines[-1])
    except (IndexError, ValueError):
        tail = "\n".join(process.stderr.strip().splitlines()[-5:])
        raise ValueError(
            f"Cannot run the exported model: the process ended with status "
            f"{process.returncode} and said:\n{tail}"
        ) from None
    if "error" in result:
        raise ValueError(result["error"])
    if result["python_tensorflow"]:
        raise ValueError(
            "Expected the process that runs the exported model not to import "
            "Python TensorFlow. Received: a Python start-up file (`.pth`, "
            "`sitecustomize`) that does"
        )
    return result
