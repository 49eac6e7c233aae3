"""Mixtures of experts by hand, and small models that several files test."""

import keras
import numpy as np

import keras_mtl as mtl


def tasks(*names):
    return tuple(mtl.Task(name, mtl.heads.Regression()) for name in names)


def connected(architecture, backbone, names=("a", "b")):
    """A model whose outputs are the features that the architecture gives the tasks.

    Args:
        architecture: The architecture.
        backbone: A backbone, or one per task in a dict.
        names: Names of the tasks.
    """
    per_task = (
        backbone if isinstance(backbone, dict) else dict.fromkeys(names, backbone)
    )
    made = {}
    for net in per_task.values():
        if net.name not in made:
            made[net.name] = keras.Input(net.input.shape[1:], name=f"{net.name}_x")
    inputs = {task: made[net.name] for task, net in per_task.items()}
    features = architecture.connect(inputs, per_task, tasks(*names))
    model_inputs = list(made.values())
    return keras.Model(model_inputs if len(made) > 1 else model_inputs[0], features)


def plain_backbone(width=5, name="net"):
    """A backbone that gives its input as it is."""
    inputs = keras.Input((width,))
    return keras.Model(inputs, {"pooled": keras.layers.Identity()(inputs)}, name=name)


def scramble(model, seed=0):
    """Gives all weights, biases too, random values."""
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(size=w.shape) * 0.7 for w in model.get_weights()])


def outputs(model, x):
    """What the model gives, in its structure, as arrays: quicker than `predict`."""
    return keras.tree.map_structure(
        keras.ops.convert_to_numpy, model(x, training=False)
    )


def softmax(x):
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    return x / x.sum(axis=-1, keepdims=True)


def bank_by_hand(layer, x):
    """Every expert by itself, one after the other: `(batch, experts, units)`."""
    weights = [w.astype("float64") for w in layer.get_weights()]
    kernels, biases = weights[0::2], weights[1::2]
    found = []
    for expert in range(layer.num_experts):
        h = x
        for index, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
            own = kernel[:, expert] if index == 0 else kernel[expert]
            h = np.maximum(h @ own + bias[expert], 0)
        found.append(h)
    return np.stack(found, axis=1)


def gate_by_hand(layer, x):
    (kernel,) = layer.get_weights()
    return softmax(x @ kernel.astype("float64"))


def mixture_by_hand(weights, *banks):
    return np.einsum("be,beu->bu", weights, np.concatenate(banks, axis=1))
