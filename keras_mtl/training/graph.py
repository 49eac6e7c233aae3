"""What reaches what, read from the graph of a functional model."""

from typing import Any

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
    found, inputs = _walk([output])
    operations = {id(operation): operation for operation, _ in found.values()}
    layers = [o for o in operations.values() if isinstance(o, keras.layers.Layer)]
    return layers, list(inputs.values())


def calls(output: Tensor) -> dict[tuple, tuple[Any, Any]]:
    """Every call of an operation that an output is made with.

    A layer that is called twice, or is in a nested model that is, occurs twice.

    Args:
        output: A symbolic Keras tensor.

    Returns:
        Dict from a key of the call, the same for all outputs of a model, to the
        operation and the node of Keras' graph that holds its arguments.
    """
    return _walk([output])[0]


def _walk(tensors, place=()):
    """Calls by key, and inputs by id; `place` are the calls of the models around."""
    found: dict[tuple, tuple[Any, Any]] = {}
    inputs: dict[int, Tensor] = {}
    seen: set[int] = set()
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
            inner, arguments = _through_model(
                operation, node, tensor_index, (*place, id(node))
            )
            found |= inner
            stack.extend(arguments)
        else:
            found[*place, id(node)] = (operation, node)
            stack.extend(node.input_tensors)
    return found, inputs


def _through_model(model, node, tensor_index, place=()):
    """What one output of a nested model is made with: its calls, and the arguments."""
    found, inner_inputs = _walk([model.outputs[tensor_index]], place)
    arguments = [
        argument
        for argument, inner in zip(node.input_tensors, model.inputs, strict=True)
        if id(inner) in inner_inputs
    ]
    return found, arguments


def narrowed(output: Tensor) -> Tensor:
    """The output, made without the parts of nested models that it does not need.

    A functional model wants all its inputs even where one of its outputs depends
    on some of them only. Such a model is replaced by the part that is needed, with
    the same layers; what comes after it is called again.

    Args:
        output: A symbolic Keras tensor.
    """
    return _narrow(output, {})


def _narrow(tensor, made):
    if id(tensor) in made:
        return made[id(tensor)]
    operation, node_index, tensor_index = tensor._keras_history
    node = operation._inbound_nodes[node_index]
    if node.is_input:
        return tensor
    arguments = node.input_tensors
    used = arguments
    nested = isinstance(operation, keras.Model) and hasattr(operation, "operations")
    if nested:
        inner = operation.outputs[tensor_index]
        _, used = _through_model(operation, node, tensor_index)
    fresh = {id(argument): _narrow(argument, made) for argument in used}
    if len(used) < len(arguments):
        inner_inputs = [
            x
            for x, argument in zip(operation.inputs, arguments, strict=True)
            if id(argument) in fresh
        ]
        part = keras.Model(inner_inputs, _narrow(inner, {}), name=operation.name)
        outputs = {id(tensor): part([fresh[id(argument)] for argument in used])}
    elif all(fresh[id(argument)] is argument for argument in arguments):
        outputs = {id(tensor): tensor}
    else:
        args, kwargs = node.arguments.fill_in(fresh)
        results = keras.tree.flatten(operation(*args, **kwargs))
        outputs = {
            id(old): new for old, new in zip(node.output_tensors, results, strict=True)
        }
        if nested:
            # Each output is narrowed on its own.
            outputs = {id(tensor): outputs[id(tensor)]}
    made.update(outputs)
    return made[id(tensor)]


def all_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """All layers that its outputs are made with, those of nested models included."""
    found = [upstream(output)[0] for output in model.output.values()]
    inner = [i for layers in found for layer in layers for i in _unpacked(layer)]
    return list({id(layer): layer for layer in inner}.values())


def _unpacked(layer):
    if not isinstance(layer, keras.Sequential):
        return [layer]
    return [inner for part in layer.layers for inner in _unpacked(part)]


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


def shared_features(model: keras.Model, shared: list) -> list[Tensor]:
    """The tensors through which all tasks reach the variables that they share.

    A feature is a tensor that every task depends on, that some task's own part takes
    as its input, and that is made with shared variables.

    Args:
        model: Functional model with a dict of outputs, one per task.
        shared: The shared variables.

    Raises:
        ValueError: If there is no such cut: where a task does not use a feature, one
            feature is made from another, or something shared comes after them.
    """
    tasks_of: dict[int, set[str]] = {}
    tensors: dict[int, Tensor] = {}
    for name, output in model.output.items():
        for tensor in _ancestors(output):
            tensors[id(tensor)] = tensor
            tasks_of.setdefault(id(tensor), set()).add(name)
    cut = {id(t): t for t in model.output.values() if len(tasks_of[id(t)]) > 1}
    own_layers = {}
    for key, tensor in tensors.items():
        if len(tasks_of[key]) > 1:
            continue
        operation, node_index, _ = tensor._keras_history
        own_layers[id(operation)] = operation
        arguments = operation._inbound_nodes[node_index].input_tensors
        cut |= {id(t): t for t in arguments if len(tasks_of[id(t)]) > 1}
    wanted = {id(v) for v in shared}
    features = [t for t in cut.values() if wanted & _variables_behind(t)]
    behind = set().union(*(_variables_behind(t) for t in features))
    nested = any(
        other is not feature and any(t is feature for t in _ancestors(other))
        for feature in features
        for other in features
    )
    after = {
        id(v)
        for operation in own_layers.values()
        for v in getattr(operation, "trainable_variables", ())
    }
    by_all = all(len(tasks_of[id(t)]) == len(model.output) for t in features)
    if not by_all or nested or not wanted <= behind or wanted & after:
        raise ValueError(
            "Expected all tasks to share the same features with "
            "`BalancingOptions(scope='features')`: one part of the model that every "
            "task passes through, and a part of its own for each. Received: features "
            f"{sorted(t.name for t in features)}, of which the tasks "
            f"{sorted(model.output)} do not all use each, or one is made from another, "
            "or something shared comes after them. Give all heads the same feature "
            "(`Task.feature`), or use scope='parameters'"
        )
    return features


def _variables_behind(tensor):
    """Ids of the trainable variables that a tensor is made with."""
    layers, _ = upstream(tensor)
    return {id(v) for layer in layers for v in layer.trainable_variables}


def _ancestors(output):
    """All tensors that an output is made from, itself included; no nested ones."""
    found: dict[int, Tensor] = {}
    stack = [output]
    while stack:
        tensor = stack.pop()
        if id(tensor) not in found:
            found[id(tensor)] = tensor
            operation, node_index, _ = tensor._keras_history
            stack.extend(operation._inbound_nodes[node_index].input_tensors)
    return found.values()
