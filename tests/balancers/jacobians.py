"""Steps of a balancer that needs the task gradients themselves."""

import numpy as np
from keras import ops

from tests.balancers import samplers

SPLIT = 7  # The Jacobian comes in two blocks, cut here.


def steps(num_tasks, count=4, entries=20, seed=0):
    """Gradients of successive steps: related, since they have a part in common."""
    common = samplers.conflicting(num_tasks, entries, seed)
    return [
        common + 0.5 * samplers.conflicting(num_tasks, entries, seed + 10 + step)
        for step in range(count)
    ]


def cut(J, split=SPLIT):
    """The Jacobian in column blocks, neither of them empty if there are two columns."""
    split = min(split, J.shape[1])
    return [block for block in (J[:, :split], J[:, split:]) if block.shape[1]]


def initial(balancer, J, dtype="float64", split=SPLIT):
    state = balancer.init_state(len(J), [b.shape[1] for b in cut(J, split)])
    return {name: ops.array(value, dtype) for name, value in state.items()}


def step(balancer, J, state, losses=None, active=None, seed=7, split=SPLIT):
    """One call: the update as a NumPy vector, and the state."""
    num_tasks, dtype = len(J), J.dtype.name
    active = np.ones(num_tasks, bool) if active is None else np.asarray(active)
    losses = np.linspace(0.5, 2.0, num_tasks) if losses is None else losses
    J = np.where(active[:, None], J, np.zeros_like(J))
    found, state = balancer.combine(
        [ops.array(block) for block in cut(J, split)],
        ops.array(J @ J.T),
        ops.array(np.where(active, losses, 0.0), dtype),
        ops.array(active),
        state,
        samplers.Seed(seed),
    )
    assert [tuple(g.shape) for g in found] == [(b.shape[1],) for b in cut(J, split)]
    return np.concatenate([ops.convert_to_numpy(g) for g in found]), state


def run(balancer, jacobians, losses=None, actives=None, dtype="float64", **kwargs):
    """Updates of successive steps, and the state after the last one."""
    state = initial(balancer, jacobians[0], dtype, kwargs.get("split", SPLIT))
    updates = []
    for index, J in enumerate(jacobians):
        active = None if actives is None else actives[index]
        update, state = step(balancer, J.astype(dtype), state, losses, active, **kwargs)
        updates.append(update)
    return updates, {k: ops.convert_to_numpy(v) for k, v in state.items()}


def update(balancer, J, **kwargs):
    """The update of a first step."""
    return run(balancer, [J], **kwargs)[0][0]
