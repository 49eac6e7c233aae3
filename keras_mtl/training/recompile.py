"""Compiles a model anew after other layers of it are trained, and goes on as before."""

import keras

from keras_mtl.training.model import MultiTaskModel


def recompile(model: MultiTaskModel, trained_before: list[keras.Variable]) -> None:
    """Makes the step follow what is trainable now; nothing else starts afresh.

    The optimizer is a new one with the settings and the number of steps of the old
    one, and what that remembered of the variables that are trained still; weightings
    and balancers keep their state. Also inside of `fit`, between two epochs.

    Args:
        model: A compiled model, of which `trainable` of layers has changed.
        trained_before: The trainable variables that it was compiled with.

    Raises:
        ValueError: As `compile`, such as for a model of which nothing is trained.
    """
    arguments = dict(model._step.arguments)
    old = model.optimizer
    state: dict = {}
    model._step.state.save(state)
    with model.distribute_strategy.scope():
        arguments["optimizer"] = type(old).from_config(old.get_config())
    model.compile(**arguments)
    _carry_over(old, model.optimizer, trained_before, model.trainable_variables)
    model._step.state.load(state)
    model.make_train_function()


def _carry_over(old, new, before, now):
    """What an optimizer remembers of variables, by their places in both lists."""
    inner = [getattr(o, "inner_optimizer", o) for o in (old, new)]
    for one, other in {(id(a), id(b)): (a, b) for a, b in ((old, new), inner)}.values():
        place = {id(variable): index for index, variable in enumerate(before)}
        for name, slots in vars(one).items():
            if isinstance(slots, keras.Variable):
                getattr(other, name).assign(slots)
            if not _of_each(slots, len(before)):
                continue
            for variable, slot in zip(now, getattr(other, name), strict=True):
                if id(variable) in place and slot is not None:
                    slot.assign(slots[place[id(variable)]])


def _of_each(slots, count):
    """Whether it is a list with a variable of the optimizer's own, or `None`, each."""
    return (
        isinstance(slots, list)
        and len(slots) == count
        and any(isinstance(slot, keras.Variable) for slot in slots)
    )
