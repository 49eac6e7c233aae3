"""A program that runs an exported model, without Python TensorFlow.

    python runner.py verify FOLDER
    python runner.py predict FOLDER SIGNATURE INPUTS.npz OUTPUTS.npz

It prints one JSON object. `keras_mtl.export.verify` starts it in a new process,
by its path: importing it through the package would import Keras, and with it
Python TensorFlow, which registers kernels that no server has.
"""

import json
import os
import sys
import types

import numpy as np


def main(arguments: list[str]) -> int:
    """Runs one command; returns the exit status, 1 after an error."""
    _stand_alone()
    command, folder, *rest = arguments
    try:
        if command == "verify":
            result: dict = {"checks": verify(folder)}
        else:
            result = predict(folder, *rest)
    except (ValueError, OSError) as error:
        result = {"error": str(error)}
    loaded = {name.partition(".")[0] for name in sys.modules}
    result["python_tensorflow"] = "tensorflow" in loaded
    print(json.dumps(result))
    return int("error" in result)


def verify(folder: str) -> list[dict]:
    """Compares every signature with its recorded outputs.

    Args:
        folder: Folder of one version.

    Returns:
        One dict per output, with the fields of `keras_mtl.export.OutputCheck`.
    """
    from keras_mtl.export.c_loader import SavedModel
    from keras_mtl.export.records import read_description, read_expected

    expected = read_expected(folder)
    tolerance = read_description(folder)["tolerance"]
    checks = []
    with SavedModel(folder) as model:
        for name in sorted(set(model.signatures) | set(expected)):
            checks += _verify_signature(model, name, expected, tolerance)
    return checks


def predict(folder: str, signature: str, inputs: str, outputs: str) -> dict:
    """Runs a signature on the arrays of one file; writes its outputs to another."""
    from keras_mtl.export.c_loader import SavedModel
    from keras_mtl.export.records import read_arrays, write_arrays

    with SavedModel(folder) as model:
        write_arrays(outputs, model.run(signature, read_arrays(inputs)))
    return {}


def compare(actual: np.ndarray, expected: np.ndarray, tolerance: float) -> tuple:
    """Largest difference of two arrays, and whether it is within tolerance.

    Floating point values agree if `|actual - expected| <= tolerance +
    tolerance * |expected|`, and where both are NaN; others if they are equal.

    Args:
        actual: Array.
        expected: Array of the same shape.
        tolerance: Number `>= 0`.

    Returns:
        The largest absolute difference (of strings: 1.0 where they differ), and
        a bool.

    Example:
    >>> compare(np.array([1.0, 2.5]), np.array([1.0, 2.0]), 1e-5)
    (0.5, False)
    """
    if actual.dtype.kind == "S":
        differences = (actual != expected).astype("float64")
        return float(np.max(differences, initial=0.0)), not differences.any()
    tolerance = tolerance if actual.dtype.kind == "f" else 0.0
    same = (actual == expected) | ((actual != actual) & (expected != expected))
    actual, wanted = actual.astype("float64"), expected.astype("float64")
    with np.errstate(invalid="ignore"):
        differences = np.where(same, 0.0, np.abs(actual - wanted))
        # A NaN on one side, or infinity where a number was recorded, is not near.
        near = np.isfinite(wanted) & (differences <= tolerance * (1 + np.abs(wanted)))
    return float(np.max(differences, initial=0.0)), bool(np.all(same | near))


def _verify_signature(model, name, expected, tolerance):
    from keras_mtl.export.c_tensor import dtype_name

    def row(output, ok, *, actual=None, difference=None, message=""):
        info = signature.outputs.get(output) if signature else None
        return {
            "signature": name,
            "output": output,
            "shape": None if actual is None else list(actual.shape),
            "dtype": None if info is None else dtype_name(info.dtype),
            "difference": difference,
            "ok": ok,
            "message": message,
        }

    signature = model.signatures.get(name)
    if signature is None or name not in expected:
        missing = "the model" if signature is None else "the recorded outputs"
        return [row("", False, message=f"not in {missing}")]
    inputs, wanted = expected[name]
    try:
        served = model.run(name, inputs)
    except ValueError as error:
        return [row("", False, message=str(error))]
    rows = []
    for output in sorted(set(served) | set(wanted)):
        if output not in served or output not in wanted:
            missing = "the recorded outputs" if output in served else "the model"
            rows.append(row(output, False, message=f"not in {missing}"))
            continue
        actual, target = served[output], wanted[output]
        if actual.shape != target.shape or actual.dtype.kind != target.dtype.kind:
            message = f"recorded as {target.dtype} of shape {target.shape}"
            rows.append(row(output, False, actual=actual, message=message))
            continue
        difference, ok = compare(actual, target, tolerance)
        rows.append(row(output, ok, actual=actual, difference=difference))
    return rows


def _stand_alone():
    """Lets `keras_mtl.export.<module>` be imported without the packages' code."""
    folder = os.path.dirname(os.path.abspath(__file__))
    for name, path in (
        ("keras_mtl", os.path.dirname(folder)),
        ("keras_mtl.export", folder),
    ):
        if name not in sys.modules:
            package = types.ModuleType(name)
            package.__path__ = [path]
            sys.modules[name] = package


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
