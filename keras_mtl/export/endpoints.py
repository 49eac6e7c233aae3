"""The functions that an exported model serves."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_mtl.training import MultiTaskModel
from keras_mtl.utils.types import Tensor

SERVING_DEFAULT = "serving_default"
_AUTOMATIC_NAME = "keras_tensor"
# Attributes of the object that TensorFlow saves: an endpoint would overwrite them.
_RESERVED = {
    SERVING_DEFAULT,
    "signatures",
    "variables",
    "trainable_variables",
    "non_trainable_variables",
}


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A function to serve.

    Args:
        function: Takes a dict of tensors, returns a dict of tensors.
        specs: Dict from the name of an input to its `tf.TensorSpec`.
        model: Plain functional model that holds the variables and tables.
        outputs: Dict from the name of an output to `(task, name)`, its place in
            what `live_outputs` returns.
    """

    function: Callable[[dict[str, Tensor]], dict[str, Tensor]]
    specs: dict[str, tf.TensorSpec]
    model: keras.Model
    outputs: dict[str, tuple[str, str]]


def make_endpoints(model: MultiTaskModel) -> dict[str, Endpoint]:
    """Endpoints of a `MultiTaskModel`: all tasks, then one for each.

    Args:
        model: A `MultiTaskModel`.

    Returns:
        Dict from the name of a signature to its `Endpoint`. Outputs of a task's
        own signature are named by its head (`"probabilities"`); those of
        `serving_default` carry the task (`"digit_probabilities"`).

    Raises:
        ValueError: If a task has a name that a SavedModel cannot have, or two
            outputs would have one name.
    """
    for name in model.task_names:
        if name in _RESERVED or name.startswith("_"):
            raise ValueError(
                "Expected the name of a task to be usable as the name of a "
                f"signature. Received: {name!r}. Rename it: no leading '_', and "
                f"none of {sorted(_RESERVED)}"
            )
    # A plain model: what `compile` and `fit` left on `model` is not for serving.
    whole = model.serving_model()
    names = input_names(whole)
    endpoints = {SERVING_DEFAULT: _endpoint(whole, model.tasks, names, prefix=True)}
    for task in model.tasks:
        part = model.serving_model(task.name)
        endpoints[task.name] = _endpoint(part, (task,), names, prefix=False)
    return endpoints


def input_names(model: keras.Model) -> dict[str, str]:
    """Names under which inputs are served, by the name of the symbolic tensor.

    They are the keys of a dict, or the names of the `keras.Input`; `"inputs"` if
    the only one was never named.
    """
    structure = model.input
    if isinstance(structure, dict):
        return {tensor.name: key for key, tensor in structure.items()}
    tensors = keras.tree.flatten(structure)
    if len(tensors) == 1 and tensors[0].name.startswith(_AUTOMATIC_NAME):
        return {tensors[0].name: "inputs"}
    return {tensor.name: tensor.name for tensor in tensors}


def live_outputs(
    model: MultiTaskModel, inputs: dict[str, Any]
) -> dict[str, dict[str, Tensor]]:
    """What the live model answers, `{task: {name: tensor}}`, computed on the CPU.

    The CPU, since a GPU may round float32 products to TF32 and the recorded
    outputs should be the model's, not the machine's.
    """

    whole = model.serving_model()
    names = input_names(whole)

    @tf.function(autograph=False)
    def answer(tensors):
        outputs = whole(_arrange(whole, names, tensors), training=False)
        return {task.name: _serve(task, outputs[task.name]) for task in model.tasks}

    with tf.device("CPU:0"):
        return answer({name: tf.constant(value) for name, value in inputs.items()})


def _endpoint(part, tasks, names, *, prefix):
    def function(tensors):
        outputs = part(_arrange(part, names, tensors), training=False)
        served = {}
        for task in tasks:
            raw = outputs[task.name] if prefix else outputs
            for name, tensor in _serve(task, raw).items():
                served[_output_name(task.name, name, prefix)] = tensor
        return served

    flat = keras.tree.flatten(part.input)
    specs = {
        names[t.name]: tf.TensorSpec(t.shape, t.dtype, names[t.name]) for t in flat
    }
    outputs: dict[str, tuple[str, str]] = {}
    for task in tasks:
        raw = part.output[task.name] if prefix else part.output
        for name in _served_names(task, raw):
            key = _output_name(task.name, name, prefix)
            if key in outputs:
                raise ValueError(
                    "Expected the outputs `<task>_<output>` to have different "
                    f"names. Received: {key!r} of the tasks {outputs[key][0]!r} "
                    f"and {task.name!r}. Rename one"
                )
            outputs[key] = (task.name, name)
    return Endpoint(function, specs, part, outputs)


def _output_name(task, name, prefix):
    return f"{task}_{name}" if prefix else name


def _served_names(task, raw):
    """Names of the outputs of a head, without running the model."""
    specs = keras.tree.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype), raw)
    serve = tf.function(task.head.serving, autograph=False)
    return list(serve.get_concrete_function(specs).structured_outputs)


def _serve(task, raw):
    """Served outputs; half precision, which clients cannot read, as float32."""
    return {
        name: tf.cast(tensor, tf.float32)
        if tensor.dtype in (tf.bfloat16, tf.float16)
        else tf.convert_to_tensor(tensor)
        for name, tensor in task.head.serving(raw).items()
    }


def _arrange(part, names, tensors):
    """Tensors by name, in the structure that the model takes."""
    return keras.tree.map_structure(lambda t: tensors[names[t.name]], part.input)
