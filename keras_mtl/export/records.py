"""What an export says about itself, in the folder `assets.extra` of a version.

TensorFlow Serving ignores the folder. Nothing here needs Keras or TensorFlow.
"""

import json
import os
import zipfile
from typing import Any

import numpy as np

FOLDER = "assets.extra"
_DESCRIPTION = "keras_mtl.json"
_EXPECTED = "expected.npz"
_LABELS = "labels.json"

Arrays = dict[str, np.ndarray]
Expected = dict[str, tuple[Arrays, Arrays]]


def write_records(
    folder: str, description: dict, expected: Expected, labels: dict[str, list[str]]
) -> None:
    """Writes the records of a version.

    Args:
        folder: Folder of the version.
        description: What fits in JSON.
        expected: Dict from the name of a signature to its inputs and outputs.
        labels: Dict from the name of a task to the names of its classes.
    """
    extra = os.path.join(folder, FOLDER)
    os.makedirs(extra, exist_ok=True)
    arrays = {
        f"{signature}/{part}/{name}": array
        for signature, pair in expected.items()
        for part, values in zip(("inputs", "outputs"), pair, strict=True)
        for name, array in values.items()
    }
    write_arrays(os.path.join(extra, _EXPECTED), arrays)
    for name, content in ((_DESCRIPTION, description), (_LABELS, labels)):
        with open(os.path.join(extra, name), "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2, ensure_ascii=False)
            file.write("\n")


def read_expected(folder: str) -> Expected:
    """Recorded inputs and outputs of every signature.

    Raises:
        ValueError: If the file is missing or damaged.
    """
    path = os.path.join(folder, FOLDER, _EXPECTED)
    expected: Expected = {}
    for key, array in read_arrays(path).items():
        signature, part, name = key.split("/", 2)
        pair = expected.setdefault(signature, ({}, {}))
        pair[part == "outputs"][name] = array
    return expected


def read_description(folder: str) -> dict[str, Any]:
    """The description that was written with the version."""
    return _read_json(folder, _DESCRIPTION)


def read_labels(folder: str) -> dict[str, list[str]]:
    """Names of the classes, for the tasks that have them."""
    return _read_json(folder, _LABELS)


def write_arrays(path: str | os.PathLike, arrays: Arrays) -> None:
    """Writes an `.npz` file; unlike `numpy.savez` it takes every name ("file")."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def read_arrays(path: str | os.PathLike) -> Arrays:
    """Arrays of an `.npz` file.

    Raises:
        ValueError: If the file is missing, damaged or of another kind.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    # A single array in an `.npy` file has no `files`, and is no context manager.
    except (
        *(OSError, ValueError, EOFError, zipfile.BadZipFile),
        *(AttributeError, TypeError),
    ) as error:
        raise ValueError(
            "Expected a file of named arrays, as `numpy.savez` writes it. "
            f"Received: {os.fspath(path)!r} ({type(error).__name__}: {error})"
        ) from error


def _read_json(folder, name):
    path = os.path.join(folder, FOLDER, name)
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise ValueError(
            "Expected a model that `keras_mtl.export.export_saved_model` wrote. "
            f"Received: {path!r} ({error})"
        ) from error
