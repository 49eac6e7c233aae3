"""More tasks for a model that is trained already."""

import keras

from keras_mtl.task import Task, check_tasks
from keras_mtl.training import MultiTaskModel, build_model
from keras_mtl.training.freezing import frozen_layers, set_frozen


def add_tasks(model: MultiTaskModel, tasks: list[Task]) -> MultiTaskModel:
    """A model with further tasks, which has learnt what the given one has.

    Layers of the old model, found by their names, have the old variables in the new
    model: at first it predicts for the old tasks what the old model predicts. Heads and
    whatever else the architecture makes for the new tasks are fresh. Nothing is shared
    with the old model, which stays as it is, so that both can be compared (see
    `keras_mtl.analysis.transfer_report`).

    The new model is to be compiled; optimizer and methods start afresh.

    Args:
        model: A model with one backbone, from `build_model`.
        tasks: List of `Task`. One with the name of an old task takes its place, with
            another loss, say, for distillation; its head must have the same layers.

    Raises:
        ValueError: If the model has not one backbone that is called as a whole, or
            layers of the old tasks have other shapes in the new model.

    Example:
    >>> import keras_mtl as mtl
    >>> model = mtl.build_model(mtl.backbones.MLP(input_shape=(8,)),
    ...                         [mtl.Task("kind", mtl.heads.Classification(3))])
    >>> new = mtl.Task("price", mtl.heads.Regression())
    >>> mtl.continual.add_tasks(model, [new]).task_names
    ('kind', 'price')
    """
    named = {task.name: task for task in check_tasks(tasks)}
    frozen = frozen_layers(model)
    extended = build_model(
        _copied_backbone(model),
        list({**{task.name: task for task in model.tasks}, **named}.values()),
        architecture=type(model.architecture).from_config(
            model.architecture.get_config()
        ),
        name=model.name,
    )
    old = {layer.name: layer for layer in model.layers}
    new = {layer.name: layer for layer in extended.layers}
    differing = sorted(
        name
        for name, layer in old.items()
        if layer.weights and (name not in new or _shapes(layer) != _shapes(new[name]))
    )
    if differing:
        raise ValueError(
            "Expected the layers of the old tasks to be the same beside new tasks. "
            f"Received: architecture={type(model.architecture).__name__} and tasks "
            f"{list(named)}, where these layers differ: {differing}. Give an old task "
            "a head with the old layers, use an architecture such as 'hard' or "
            "'mmoe', or build a model of all tasks from the start"
        )
    for name, layer in old.items():
        new[name].set_weights(layer.get_weights())
    set_frozen(extended, frozen)
    return extended


def _shapes(layer):
    return [tuple(weight.shape) for weight in layer.weights]


def _copied_backbone(model):
    """The model's only backbone, with new variables."""
    nested = [layer for layer in model.layers if _is_backbone(layer)]
    if len(nested) != 1:
        raise ValueError(
            "Expected a model whose tasks share one backbone, called as a whole. "
            f"Received: architecture={type(model.architecture).__name__} with the "
            f"backbones {[layer.name for layer in nested]}. Build a model of all tasks "
            "from the start"
        )
    return type(nested[0]).from_config(nested[0].get_config())


def _is_backbone(layer):
    return isinstance(layer, keras.Model) and isinstance(
        getattr(layer, "output", None), dict
    )
