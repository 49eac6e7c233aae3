"""What reaches what, read from the graph of a functional model."""

import keras

from keras_mtl.utils.types import Tensor


def upstream(output: Tensor) -> tuple[list, list]:
    """Layers and inputs that an output of a functional model is made from.

    Nested functional models are entered, so that of a backbone with several
    outputs only those layers count that the used ones need.

    Args:
        output: A symbolic Keras tensor.

    Returns:
        List of layers, and list of input tensors, each once.
    """
    layers: dict[int, keras.layers.Layer] = {}
    inputs: dict[int, Tensor] = {}
    _walk([output], layers, inputs, set())
    return list(layers.values()), list(inputs.values())


def _walk(tensors, layers, inputs, seen):
    stack = list(tensors)
    while stack:
        tensor = stack.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        operation, node_index, tensor_index = tensor._keras_history
        node = operation._inbound_nodes[node_index]
        if node.is_input:
            inputs[id(tensor)] = tensor
        elif isinstance(operation, keras.Model) and hasattr(operation, "operations"):
            stack.extend(_through_model(operation, node, tensor_index, layers))
        else:
            if isinstance(operation, keras.layers.Layer):
                layers[id(operation)] = operation
            stack.extend(node.input_tensors)


def _through_model(model, node, tensor_index, layers):
    """The arguments of a nested model that one of its outputs depends on."""
    inner_inputs: dict[int, Tensor] = {}
    _walk([model.outputs[tensor_index]], layers, inner_inputs, set())
    return [
        argument
        for argument, inner in zip(node.input_tensors, model.inputs, strict=True)
        if id(inner) in inner_inputs
    ]


def task_variables(model: keras.Model) -> dict[str, list]:
    """Trainable variables that reach each output, in the order of the model's.

    Args:
        model: Functional model with a dict of outputs.
    """
    reach = {}
    for name, output in model.output.items():
        layers, _ = upstream(output)
        reached = {id(v) for layer in layers for v in layer.trainable_variables}
        reach[name] = [v for v in model.trainable_variables if id(v) in reached]
    return reach
