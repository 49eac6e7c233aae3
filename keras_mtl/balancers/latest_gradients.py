"""A balancer on the latest gradient of every task, for batches of one task."""

from typing import Any

import numpy as np
from keras import ops, saving

from keras_mtl.balancers.balancer import (
    Balancer,
    JacobianBalancer,
    enclosed,
    registry,
    state_inside,
)
from keras_mtl.linalg import gram_matrix
from keras_mtl.utils.checks import check_count


@registry.register("latest_gradients")
class LatestGradients(JacobianBalancer):
    """Lets a balancer compare tasks that are never in one batch.

    Where a batch has the labels of one task (`data.mix(batch="one_task")`), there is
    nothing to compare. So the gradient of every task is remembered, and each step
    balances the latest ones: that of this batch, and those of the last steps, taken
    at slightly older variables. Heads get the gradient of their own batches.

    Args:
        balancer: What balances them, with task weights from the Gram matrix and from
            one batch: an instance, a name, or a configuration.
        window: For how many steps a gradient counts, its own included; by default as
            many as there are tasks, one round. More where rates leave a task out of
            a round: a task without a gradient that young has no part in the step.

    Guarantee: If all tasks are in every batch, the balancer's own step. With one task
        per batch in turn, the mean of the gradients, and strongly convex smooth losses
        it converges at a constant small learning rate, where steps by one task's
        gradient circle around the minimum.

    Needs: Task gradients themselves, to remember them.

    Cost: One backward pass per task, two passes over the gradients; a state of
        num_tasks × shared weights on every replica.

    When: Data sets of one task each whose batches cannot be mixed, by their size or
        their inputs. Not where `batch="mixed"` is possible, whose gradients are fresh;
        and at a smaller learning rate than one task's steps, for each moves by all
        tasks.

    Example:
    >>> balancer = LatestGradients("pcgrad", window=6)
    >>> sorted(balancer.init_state(num_tasks=2, shapes=[5]))
    ['gradients_0', 'losses', 'steps_ago']

    Reference:
        - [Blatt, Hero & Gauchman, 2007](https://doi.org/10.1137/040615961), the
          incremental aggregated gradient, whose mean a balancer replaces here.
    """

    across_batches = True

    def __init__(self, balancer: Any = "cagrad", window: int | None = None):
        self.balancer = registry.get(balancer)
        if not isinstance(self.balancer, Balancer) or self.balancer.batch_parts > 1:
            raise ValueError(
                "Expected `balancer` to be a balancer that makes task weights of the "
                f"Gram matrix of one batch. Received: balancer={balancer!r}"
            )
        self.window = None if window is None else check_count("window", window)

    def init_state(self, num_tasks, shapes):
        inner = self.balancer.init_state(num_tasks)
        return {
            **{
                f"gradients_{i}": np.zeros((num_tasks, s)) for i, s in enumerate(shapes)
            },
            "losses": np.zeros(num_tasks),
            "steps_ago": np.full(num_tasks, float(self.window or num_tasks)),
            **enclosed(self.balancer, inner),
        }

    def combine(self, blocks, gram, losses, active, state, seed):
        window = float(self.window or active.shape[0])
        steps_ago = ops.where(active, 0.0, ops.minimum(state["steps_ago"] + 1, window))
        counts = steps_ago < window
        latest = []
        for index, block in enumerate(blocks):
            kept = ops.cast(state[f"gradients_{index}"], block.dtype)
            latest.append(ops.where(active[:, None], block, kept))
        losses = ops.where(active, losses, ops.cast(state["losses"], losses.dtype))
        taking_part = [ops.where(counts[:, None], g, ops.zeros_like(g)) for g in latest]
        weights, inner = self.balancer.weights(
            gram_matrix(taking_part),
            ops.where(counts, losses, ops.zeros_like(losses)),
            counts,
            state_inside(self.balancer, state),
            seed,
        )
        new = {
            **{f"gradients_{i}": gradient for i, gradient in enumerate(latest)},
            "losses": losses,
            "steps_ago": steps_ago,
            **enclosed(self.balancer, inner),
        }
        # A batch without any label moves nothing, and is no step.
        any_active = ops.any(active)
        weights = ops.where(any_active, weights, ops.zeros_like(weights))
        gradients = [ops.matmul(weights[None, :], g)[0] for g in taking_part]
        return gradients, {
            key: ops.where(any_active, value, ops.cast(state[key], value.dtype))
            for key, value in new.items()
        }

    def get_config(self):
        return {
            "balancer": saving.serialize_keras_object(self.balancer),
            "window": self.window,
        }
