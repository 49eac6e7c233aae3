"""Tasks, states and evaluations that the tests of loss weightings share."""

import numpy as np
import tensorflow as tf

import keras_mtl as mtl
from tests.balancers.samplers import Seed

HEADS = (
    mtl.heads.Regression(),
    mtl.heads.Classification(3),
    mtl.heads.BinaryClassification(),
)
TASKS = tuple(mtl.Task(f"t{i}", head) for i, head in enumerate(HEADS))
NAMES = [task.name for task in TASKS]

DEGENERATE = {
    "one task": [2.0],
    "one task, zero": [0.0],
    "one zero": [1.0, 0.0, 3.0],
    "all zero": [0.0, 0.0, 0.0],
    "equal": [2.0, 2.0, 2.0],
    "tiny": [1e-10, 2e-10, 3e-10],
    "huge": [1e10, 2e10, 3e10],
    "tiny and huge": [1e-10, 1.0, 1e10],
}


def make(name, config):
    return mtl.weightings.get({"class_name": name, "config": config})


def config_for(config, tasks):
    """The configuration for some of `TASKS`: entries of the others are left out."""
    names = [task.name for task in tasks]
    positions = [NAMES.index(name) for name in names]
    short = {}
    for key, value in config.items():
        if isinstance(value, dict):
            value = {k: v for k, v in value.items() if k in names}
        elif isinstance(value, list):
            value = [value[i] for i in positions]
        short[key] = value
    return short


def tensors(values, dtype="float64"):
    return {k: tf.constant(v, dtype) for k, v in values.items()}


def arrays(values):
    return {k: np.asarray(v) for k, v in values.items()}


def evaluate(
    weighting,
    losses,
    active=None,
    tasks=None,
    variables=None,
    state=None,
    seed=1,
    dtype="float64",
):
    """Objective, loss weights, gradients of the variables, and the next state."""
    tasks = TASKS[: len(losses)] if tasks is None else tasks
    first = weighting.init(tasks)
    variables = tensors(first[0] if variables is None else variables, dtype)
    state = tensors(first[1] if state is None else state, dtype)
    active = np.ones(len(tasks), bool) if active is None else np.array(active)
    losses = tf.constant(np.where(active, losses, 0.0), dtype)
    with tf.GradientTape() as tape:
        tape.watch([losses, *variables.values()])
        objective, state = weighting.objective(
            losses, tf.constant(active), variables, state, Seed(seed)
        )
    slopes = tape.gradient(objective, [losses, *variables.values()])
    gradients = dict(zip(variables, slopes[1:], strict=True))
    return float(objective), np.asarray(slopes[0]), arrays(gradients), arrays(state)


def logs_of(tasks, value):
    """Logs of an epoch: other values for every task, `value` moves them."""
    logs = {"loss": 1.0}
    for task in tasks:
        own = 0.2 + 0.1 * NAMES.index(task.name)
        logs[f"{task.name}_accuracy"] = logs[f"{task.name}_loss"] = own + value
        logs[f"val_{task.name}_loss"] = own * (1 + value)
    return logs


def trained(weighting, tasks=TASKS, active=None, epochs=2):
    """The state after two epochs of three steps; some tasks may be inactive in them."""
    active = np.ones(len(tasks), bool) if active is None else np.array(active)
    state = arrays(weighting.init(tasks)[1])
    own = 1.0 + np.array([NAMES.index(task.name) for task in tasks])
    for epoch in range(epochs):
        for step in range(3):
            losses = own / (1 + step * own + epoch)
            *_, state = evaluate(weighting, losses, active, tasks, state=state)
            new = tf.constant(np.where(active, 0.9 * losses**1.1, 0.0))
            state = weighting.after_step(new, tf.constant(active), tensors(state))
            state = arrays(state)
        logs = logs_of(tasks, 0.1 + 0.2 * epoch)
        for task, on in zip(tasks, active, strict=True):
            if not on:
                logs.update({k: np.nan for k in logs if task.name in k})
        state = arrays(weighting.end_epoch(state, logs, tasks))
    return state
