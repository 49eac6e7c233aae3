"""Small problems over the simplex of task weights."""

import keras
from keras import ops

from keras_mtl.linalg.gram import RIDGE, norms
from keras_mtl.utils.types import Tensor

_TOLERANCE = 1e-10


def simplex_minimum(
    gram: Tensor, linear: Tensor, norm_weight: Tensor, active: Tensor
) -> Tensor:
    """Minimiser of `linear · w + norm_weight * sqrt(wᵀ G w)` over the simplex.

    An active-set method: on the support of the current point the minimiser has a
    closed form (a quadratic equation for the multiplier), the way to it is cut
    where a weight would turn negative, and a task enters when its slope is the
    lowest. Where the function has no minimum on the hull of the support, it falls
    along a direction without end, and the step follows that to the boundary. With
    `linear = 0` this is the min-norm point of the convex hull (Wolfe, 1976).

    Args:
        gram: Tensor of shape `(num_tasks, num_tasks)`, positive semi-definite.
        linear: Tensor of shape `(num_tasks,)`.
        norm_weight: Scalar tensor `>= 0`.
        active: Boolean tensor of shape `(num_tasks,)`; the others keep weight 0.

    Returns:
        Tensor of shape `(num_tasks,)` that sums to 1, or is 0 where no task is
        active. Solved in float64, returned in the dtype of `gram`.

    Cost: about `num_tasks` solutions of a system of that size.

    Example:
    >>> gram = ops.array([[1.0, 0.0], [0.0, 3.0]])
    >>> both = ops.array([True, True])
    >>> w = simplex_minimum(gram, ops.zeros(2), ops.array(1.0), both)
    >>> ops.convert_to_numpy(w)
    array([0.75, 0.25], dtype=float32)
    """
    num_tasks = gram.shape[0]
    result_dtype = gram.dtype
    ridge = RIDGE[keras.backend.standardize_dtype(result_dtype)]
    gram, linear, norm_weight = (
        ops.cast(x, "float64") for x in (gram, linear, norm_weight)
    )
    gram = gram * (1.0 + ridge * ops.eye(num_tasks, dtype="float64"))
    both = ops.logical_and(active[:, None], active[None, :])
    gram = ops.where(both, gram, ops.zeros_like(gram))
    scale = ops.maximum(ops.max(ops.diagonal(gram)), 1e-300)
    gram, linear = gram / scale, linear / scale
    norm_weight = norm_weight / ops.sqrt(scale)
    lengths = norms(gram)
    infinite = ops.full_like(lengths, float("inf"))

    def slopes(w):
        """Slope of the function at `w` along each task, and the norm there."""
        towards = ops.matmul(gram, w[:, None])[:, 0]
        norm = ops.sqrt(ops.maximum(ops.sum(w * towards), 0.0))
        factor = ops.divide_no_nan(norm_weight, norm)
        return linear + factor * towards, norm

    def step(w, support, done):
        del done
        target = _support_minimum(gram, lengths, linear, norm_weight, w, support)
        outside = ops.logical_and(support, target < 0.0)
        limits = ops.where(outside, w / ops.where(outside, w - target, 1.0), infinite)
        share = ops.minimum(ops.min(limits), 1.0)
        inside = share >= 1.0
        moved = ops.where(inside, target, w + share * (target - w))
        leaving = ops.logical_and(outside, limits <= share)
        kept = ops.logical_and(support, ops.logical_not(leaving))
        moved = ops.where(kept, ops.maximum(moved, 0.0), ops.zeros_like(moved))
        moved = moved / ops.sum(moved)
        slope, norm = slopes(moved)
        value = ops.sum(slope * moved)
        gain = value - slope - _TOLERANCE * (norm_weight * lengths + ops.abs(linear))
        gain = ops.where(
            ops.logical_and(active, ops.logical_not(kept)), gain, -infinite
        )
        best = ops.argmax(gain)
        enters = ops.logical_and(
            inside, ops.logical_and(ops.max(gain) > 0.0, norm > 0.0)
        )
        entering = ops.cast(ops.one_hot(best, num_tasks), "bool")
        kept = ops.logical_or(kept, ops.logical_and(entering, enters))
        return moved, kept, ops.logical_and(inside, ops.logical_not(enters))

    at_vertices = ops.where(active, linear + norm_weight * lengths, infinite)
    start = ops.cast(ops.one_hot(ops.argmin(at_vertices), num_tasks), "bool")
    w, _, _ = ops.while_loop(
        lambda w, support, done: ops.logical_not(done),
        step,
        (ops.cast(start, "float64"), start, ops.logical_not(ops.any(active))),
        maximum_iterations=8 * num_tasks + 16,
    )
    w = ops.where(active, w, ops.zeros_like(w))
    return ops.cast(w, result_dtype)


def _support_minimum(gram, lengths, linear, norm_weight, w, support):
    """Minimiser over the affine hull of the support.

    Where there is none, a point outside of the simplex, from `w` in a direction
    along which the function always falls.
    """
    inverse = ops.divide_no_nan(ops.ones_like(lengths), lengths)
    inverse = ops.where(support, inverse, ops.zeros_like(inverse))
    inside = ops.logical_and(inverse[:, None] > 0.0, inverse[None, :] > 0.0)
    eye = ops.eye(gram.shape[0], dtype="float64")
    scaled = gram * inverse[:, None] * inverse[None, :]
    similar = ops.where(inside, scaled, eye)
    right = ops.stack([inverse, inverse * linear], axis=1)
    p, q = ops.unstack(ops.solve(similar, right) * inverse[:, None], 2, axis=1)
    p_sum, q_sum, q_linear = ops.sum(p), ops.sum(q), ops.sum(q * linear)
    # Multiplier of the sum constraint: nu² p_sum - 2 nu q_sum + q_linear = b².
    root = q_sum**2 - p_sum * (q_linear - norm_weight**2)
    exact = root > 0.0
    factor = ops.sqrt(ops.where(exact, root, ops.ones_like(root)))
    nu = ops.divide_no_nan(q_sum + factor, p_sum)
    # With D = q_linear - q_sum² / p_sum, which exceeds b² where the root is
    # negative, the slope along this direction is at most b √D - D < 0.
    falling = ops.divide_no_nan(q_sum, p_sum) * p - q
    far = w + 2.0 * ops.divide_no_nan(falling, ops.max(-falling))
    target = ops.where(exact, (nu * p - q) / factor, far)
    one = ops.sum(ops.cast(support, "int32")) == 1
    return ops.where(one, ops.cast(support, "float64"), target)


def min_norm_point(gram: Tensor, active: Tensor) -> Tensor:
    """Weights of the point of the task gradients' convex hull nearest to zero.

    Args:
        gram: Tensor of shape `(num_tasks, num_tasks)`.
        active: Boolean tensor of shape `(num_tasks,)`.

    Returns:
        Tensor of shape `(num_tasks,)` on the simplex over the active tasks.

    Reference:
        - [Wolfe, 1976](https://doi.org/10.1007/BF01580381)
    """
    zeros = ops.zeros((gram.shape[0],), dtype=gram.dtype)
    return simplex_minimum(gram, zeros, ops.ones((), dtype=gram.dtype), active)


def simplex_projection(v: Tensor, active: Tensor) -> Tensor:
    """The point of the simplex over the active tasks that is nearest to `v`.

    It is `max(v - θ, 0)`, where `θ` is the largest of `(sum(S) - 1) / |S|` over the
    sets `S` of the largest entries.

    Args:
        v: Tensor of shape `(num_tasks,)`.
        active: Boolean tensor of shape `(num_tasks,)`.

    Returns:
        Tensor of shape `(num_tasks,)` that sums to 1, or is 0 where no task is
        active. Solved in float64, returned in the dtype of `v`.

    Cost: `O(num_tasks ** 2)`.

    Example:
    >>> v, both = ops.array([0.9, 0.5]), ops.array([True, True])
    >>> ops.convert_to_numpy(simplex_projection(v, both))
    array([0.7, 0.3], dtype=float32)

    Reference:
        - [Held et al., 1974](https://doi.org/10.1007/BF01580223)
    """
    lowest = ops.full_like(v, -float("inf"))
    shifted = ops.cast(v - ops.max(ops.where(active, v, lowest)), "float64")
    # The largest entry is 0 now, and what is below -1 cannot take part.
    shifted = ops.where(
        active, ops.maximum(shifted, -2.0), ops.full_like(shifted, -2.0)
    )
    larger = ops.cast(shifted[None, :] >= shifted[:, None], "float64")
    sums = ops.matmul(larger, shifted[:, None])[:, 0]
    theta = ops.max((sums - 1.0) / ops.sum(larger, axis=1))
    point = ops.where(
        active, ops.maximum(shifted - theta, 0.0), ops.zeros_like(shifted)
    )
    return ops.cast(point, v.dtype)


def active_shares(v: Tensor, active: Tensor) -> Tensor:
    """`v` of the active tasks over its sum, or equal shares where the sum is 0.

    Args:
        v: Non-negative tensor of shape `(num_tasks,)`.
        active: Boolean tensor of shape `(num_tasks,)`; the others get 0.

    Returns:
        Tensor of shape `(num_tasks,)`, of sum 1 over active tasks.

    Example:
    >>> two = ops.array([True, True, False])
    >>> ops.convert_to_numpy(active_shares(ops.array([1.0, 3.0, 4.0]), two))
    array([0.25, 0.75, 0.  ], dtype=float32)
    """
    kept = ops.where(active, v, ops.zeros_like(v))
    kept = ops.where(ops.sum(kept) > 0, kept, ops.cast(active, v.dtype))
    return ops.divide_no_nan(kept, ops.sum(kept))


def update_shares(old: Tensor, new: Tensor, active: Tensor) -> Tensor:
    """Shares of all tasks after those of the active ones changed to `new`.

    The active tasks divide anew what they had together; the others keep theirs.

    Args:
        old: Tensor of shape `(num_tasks,)`, of sum 1.
        new: Tensor of shape `(num_tasks,)`, of sum 1 over active tasks.
        active: Boolean tensor of shape `(num_tasks,)`.

    Returns:
        Tensor of shape `(num_tasks,)`, of sum 1.

    Example:
    >>> old, new = ops.array([0.25, 0.25, 0.5]), ops.array([1.0, 0.0, 0.0])
    >>> two = ops.array([True, True, False])
    >>> ops.convert_to_numpy(update_shares(old, new, two))
    array([0.5, 0. , 0.5], dtype=float32)
    """
    together = ops.sum(ops.where(active, old, ops.zeros_like(old)))
    return ops.where(active, together * new, old)
