"""Export of a multi-task model as a TensorFlow SavedModel."""

import os
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_mtl.export.endpoints import (
    Endpoint,
    live_outputs,
    make_endpoints,
)
from keras_mtl.export.records import Expected, write_records
from keras_mtl.export.sample import given_inputs, random_inputs
from keras_mtl.export.versions import write_version
from keras_mtl.training import MultiTaskModel

# Largest relative and absolute difference from the live model, by the coarsest
# dtype that computes: the loader may fuse operations and round less often.
_TOLERANCES = {"bfloat16": 2e-2, "float16": 2e-3}
_TOLERANCE = 1e-5


def export_saved_model(
    model: MultiTaskModel,
    directory: str | os.PathLike,
    *,
    version: int | None = None,
    sample: Any = None,
) -> str:
    """Writes a model as the next version of a TensorFlow SavedModel.

    The signature `serving_default` gives the served outputs of all tasks, named
    `"<task>_<output>"` (`"digit_probabilities"`). For each task there is one
    signature with its name that runs only what the task needs, with outputs named
    by its head (`"probabilities"`). `assets.extra/` keeps the names of the
    classes, and inputs with the live model's outputs, for `verify_saved_model`.

    The version appears complete or not at all, while a server polls the folder.

    Args:
        model: A `MultiTaskModel`, trained or not, compiled or not.
        directory: Folder of numbered versions; made if need be.
        version: Integer `>= 1`. Defaults to one above the newest version.
        sample: Inputs to record, as the model takes them; the first 8 rows are
            kept **in the export**. Defaults to random inputs. Give some where
            random ones mean nothing to the model.

    Returns:
        Path of the new version, `"<directory>/<version>"`.

    Raises:
        TypeError: If `model` is no `MultiTaskModel`.
        ValueError: If the version exists, the sample does not fit the model, or
            the names of tasks cannot be served.
        OSError: If the folder cannot be written: versions that were there stay as
            they are.

    Cost:
        One trace per signature, and one forward pass of a few rows.

    Example:
    >>> import tempfile
    >>> import keras_mtl as mtl
    >>> tasks = [mtl.Task("kind", mtl.heads.Classification(3))]
    >>> model = mtl.build_model(mtl.backbones.MLP(input_shape=(4,)), tasks)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = export_saved_model(model, folder)
    ...     os.path.relpath(path, folder), sorted(os.listdir(path))[0]
    ('1', 'assets')
    """
    if not isinstance(model, MultiTaskModel):
        raise TypeError(
            "Expected `model` to be a `keras_mtl.MultiTaskModel`, as `build_model` "
            f"makes it. Received: model={model!r} of type {type(model).__name__}"
        )

    def write(folder):
        endpoints = make_endpoints(model)
        expected = _record(model, endpoints, sample)
        labels = {
            task.name: list(task.head.label_names)
            for task in model.tasks
            if task.head.label_names
        }
        _write_archive(endpoints, folder)
        write_records(folder, _describe(model, endpoints), expected, labels)

    return write_version(directory, write, version=version)


def _record(model, endpoints: dict[str, Endpoint], sample) -> Expected:
    """Inputs and the live model's outputs of each endpoint."""
    specs = next(iter(endpoints.values())).specs
    inputs = random_inputs(specs) if sample is None else given_inputs(sample, specs)
    live = live_outputs(model, inputs)

    def output(place):
        task, name = place
        array = live[task][name].numpy()
        return array.astype("S") if array.dtype.kind == "O" else np.asarray(array)

    return {
        signature: (
            {name: inputs[name] for name in endpoint.specs},
            {name: output(place) for name, place in endpoint.outputs.items()},
        )
        for signature, endpoint in endpoints.items()
    }


def _write_archive(endpoints, folder):
    archive = keras.export.ExportArchive()
    # Lookup tables are only found below what is tracked; a model that is tracked
    # itself gets its variables written twice.
    holder = tf.Module()
    holder.models = [endpoint.model for endpoint in endpoints.values()]
    archive.track(holder)
    for name, endpoint in endpoints.items():
        served = archive.add_endpoint(name, endpoint.function, [endpoint.specs])
        # Traced here, so that an error of the model is not taken for one of the disk.
        served.get_concrete_function()
    try:
        archive.write_out(folder, verbose=False)
    except tf.errors.OpError as error:
        # TensorFlow has a hierarchy of its own for what the file system reports.
        raise OSError(error.message) from error


def _describe(model, endpoints):
    return {
        "versions": {"keras": keras.__version__, "tensorflow": tf.__version__},
        "tasks": list(model.task_names),
        "tolerance": max(_TOLERANCES.get(d, _TOLERANCE) for d in _dtypes(model)),
        "signatures": {
            name: {
                "inputs": {
                    key: {"shape": spec.shape.as_list(), "dtype": spec.dtype.name}
                    for key, spec in endpoint.specs.items()
                },
                "outputs": list(endpoint.outputs),
            }
            for name, endpoint in endpoints.items()
        },
    }


def _dtypes(model) -> Iterator[str]:
    """Dtypes in which the layers compute, those of nested models included."""
    for layer in model.layers:
        yield layer.compute_dtype
        if isinstance(layer, keras.Model):
            yield from _dtypes(layer)
