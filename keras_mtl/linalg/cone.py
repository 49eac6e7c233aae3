"""Small problems over the cone of positive task weights, and its dual."""

import keras
from keras import ops

from keras_mtl.linalg.gram import RIDGE, norms
from keras_mtl.utils.types import Tensor

_TOLERANCE = 1e-10


def dual_cone_projection(gram: Tensor, targets: Tensor) -> Tensor:
    """Coefficients of vectors projected onto the dual cone of the task gradients.

        v = argmin of vᵀ G v  such that  v >= u,        for each row `u` of `targets`

    `v @ J` is the vector nearest to `u @ J` whose inner product with every task
    gradient is at least zero. With `v = u + z`, the set where `z` is free and the
    slope `G v` zero is guessed, and the tasks that contradict (a negative `z`, or a
    negative slope) change sides, all at once, while this lowers their number. Rows
    where it does not are solved by an active-set method, which always ends.

    Args:
        gram: Tensor of shape `(num_tasks, num_tasks)`, positive semi-definite.
        targets: Tensor of shape `(rows, num_tasks)`. Tasks whose gradient is zero
            constrain nothing and keep their target.

    Returns:
        Tensor of shape `(rows, num_tasks)`. Solved in float64 for all rows at once,
        returned in the dtype of `gram`.

    Cost: 2 to 5 solutions of a system of that size per row, seldom `num_tasks`.

    Example:
    >>> gram = ops.array([[1.0, -1.0], [-1.0, 2.0]])
    >>> ops.convert_to_numpy(dual_cone_projection(gram, ops.eye(2))).round(3)
    array([[1. , 0.5],
           [1. , 1. ]], dtype=float32)

    Reference:
        - [Júdice & Pires, 1994](https://doi.org/10.1016/0305-0548(94)90106-6), block
          principal pivoting; [Lawson & Hanson, 1974](https://doi.org/10.1137/1.9781611971217),
          chapter 23, the active-set method. The quadratic program is Proposition 1 of
          [Quinton & Rey, 2024](https://arxiv.org/abs/2406.16232).
    """
    similar, lengths = _ridged_cosines(gram)
    vectors = ops.cast(targets, "float64") * lengths
    scale = ops.max(ops.abs(vectors), axis=1, keepdims=True)
    start = ops.matmul(ops.divide_no_nan(vectors, scale), similar)

    def step(free, moved, count, patience):
        del moved
        moved, slope = _free_minimum(similar, start, free)
        contradicts = ops.where(free, moved, slope) < -_TOLERANCE
        fewer = ops.sum(ops.cast(contradicts, "int32"), axis=1, keepdims=True)
        patience = ops.where(fewer < count, 3, patience - 1)
        free = ops.logical_xor(free, contradicts)
        return free, moved, ops.minimum(count, fewer), patience

    def contradicted(free, moved, count, patience):
        return ops.any(ops.logical_and(count > 0, patience > 0))

    many = ops.full_like(scale, gram.shape[0] + 1, dtype="int32")
    _, moved, count, _ = ops.while_loop(
        contradicted, step, (start < 0.0, ops.zeros_like(start), many, 0 * many + 3)
    )
    moved = _non_negative_minimum(similar, start, moved, count == 0)
    shift = ops.divide_no_nan(ops.maximum(moved, 0.0) * scale, lengths)
    return targets + ops.cast(shift, gram.dtype)


def _free_minimum(similar, start, free):
    """For each row, `z` that is 0 or has no slope, and the slope `start + C z`."""
    inside = ops.logical_and(free[:, :, None], free[:, None, :])
    eye = ops.eye(similar.shape[0], dtype="float64")
    right = ops.where(free, -start, ops.zeros_like(start))
    z = ops.solve(ops.where(inside, similar, eye), right[:, :, None])[:, :, 0]
    return z, start + ops.matmul(z, similar)


def _non_negative_minimum(similar, start, solution, solved):
    """Minimiser of `½ zᵀ C z + start · z` over `z >= 0`, for rows not yet `solved`."""
    num_tasks = similar.shape[0]
    infinite = ops.full_like(start, float("inf"))

    def step(z, free, done):
        target, _ = _free_minimum(similar, start, free)
        outside = ops.logical_and(free, target < 0.0)
        limits = ops.where(outside, z / ops.where(outside, z - target, 1.0), infinite)
        share = ops.minimum(ops.min(limits, axis=1, keepdims=True), 1.0)
        inside = share >= 1.0
        moved = ops.where(inside, target, z + share * (target - z))
        leaving = ops.logical_and(outside, limits <= share)
        kept = ops.logical_and(free, ops.logical_not(leaving))
        moved = ops.where(kept, ops.maximum(moved, 0.0), ops.zeros_like(moved))
        slope = ops.where(kept, infinite, start + ops.matmul(moved, similar))
        lowest = ops.min(slope, axis=1, keepdims=True)
        enters = ops.logical_and(inside, lowest < -_TOLERANCE)
        entering = ops.one_hot(ops.argmin(slope, axis=1), num_tasks, dtype="int32") > 0
        kept = ops.logical_or(kept, ops.logical_and(entering, enters))
        ends = ops.logical_and(inside, ops.logical_not(enters))
        return (
            ops.where(done, z, moved),
            ops.where(done, free, kept),
            ops.logical_or(done, ends),
        )

    z = ops.where(solved, solution, ops.zeros_like(solution))
    free = ops.zeros_like(start, dtype="bool")
    z, _, _ = ops.while_loop(
        lambda z, free, done: ops.logical_not(ops.all(done)),
        step,
        (z, free, solved),
        maximum_iterations=8 * num_tasks + 16,
    )
    return z


def proportional_point(gram: Tensor, exponent: float = 1.0) -> Tensor:
    """The positive solution of `(G w)_i = w_i ** -exponent`.

    It is the only minimiser of the convex `½ wᵀ G w + Σ φ(w_i)`, `φ' = -w^-exponent`
    (`φ = -log` for 1), found by Newton's method. In units of the weights that single
    tasks would have, `w = y d^(-2 / (1 + e))` with the norms `d`, the step follows
    from the cosine matrix `C` alone: with `q = y^((1 + e) / 2)` and
    `m = (y d)^((1 - e) / 2)` scaled likewise,

        (diag(q) C diag(q) + e I) s = m,        y <- y (1 + t ((1 + e) s / m - 1))

    where `t = 1 / (1 + c r)`, with `r` the largest relative decrease, keeps `y`
    positive. The best multiple of 1 is the start, and for two tasks and exponent 1
    already the solution.

    Args:
        gram: Tensor of shape `(num_tasks, num_tasks)`, positive semi-definite.
        exponent: Number `> 0`.

    Returns:
        Tensor of shape `(num_tasks,)`, positive, and 0 for tasks whose gradient is
        zero. Where some combination of task gradients with positive weights
        vanishes there is no solution; the result is then a large multiple of those
        weights, bounded by the ridge that stands for the rounding of `gram`. Solved
        in float64, returned in the dtype of `gram`.

    Cost: about 6 solutions of a system of that size.

    Example:
    >>> gram = ops.array([[4.0, 0.0], [0.0, 0.25]])
    >>> ops.convert_to_numpy(proportional_point(gram)).round(4)
    array([0.5, 2. ], dtype=float32)

    Reference:
        - [Nesterov & Nemirovskii, 1994](https://doi.org/10.1137/1.9781611970791),
          damped Newton steps on self-concordant functions.
    """
    similar, lengths = _ridged_cosines(gram)
    used = lengths > 0.0
    lengths = ops.where(used, lengths, ops.ones_like(lengths))
    factor = lengths ** ((exponent - 1.0) / (exponent + 1.0))
    eye = exponent * ops.eye(gram.shape[0], dtype="float64")
    damping = max(1.0, (1.0 + exponent) / 2.0)

    def step(y, change, tolerance):
        del change, tolerance
        q = y ** ((1.0 + exponent) / 2.0)
        m = factor * y ** ((1.0 - exponent) / 2.0)
        system = q[:, None] * similar * q[None, :] + eye
        solution = ops.solve(system, m[:, None])[:, 0]
        change = (1.0 + exponent) * solution / m - 1.0
        decrease = ops.maximum(-ops.min(change), 0.0)
        y = y * (1.0 + change / (1.0 + damping * decrease))
        # The step is exact up to the rounding error of the solution.
        tolerance = 1e-7 + 1e-15 * ops.max(q * q)
        return y, ops.max(ops.abs(change)), tolerance

    total = ops.sum(factor * ops.matmul(similar, factor[:, None])[:, 0])
    multiple = (ops.sum(factor**2) / total) ** (1.0 / (1.0 + exponent))
    y, _, _ = ops.while_loop(
        lambda y, change, tolerance: change > tolerance,
        step,
        (multiple * ops.ones_like(lengths), multiple + 1.0, 0.0 * multiple),
        maximum_iterations=100,
    )
    w = y * lengths ** (-2.0 / (1.0 + exponent))
    return ops.cast(ops.where(used, w, ops.zeros_like(w)), gram.dtype)


def _ridged_cosines(gram):
    """Cosine matrix, made positive definite, and the norms, both in float64.

    Tasks whose gradient is zero stand for themselves: a unit row and column.
    """
    ridge = RIDGE[keras.backend.standardize_dtype(gram.dtype)]
    gram = ops.cast(gram, "float64")
    lengths = norms(gram)
    inverse = ops.divide_no_nan(ops.ones_like(lengths), lengths)
    similar = gram * inverse[:, None] * inverse[None, :]
    eye = ops.eye(gram.shape[0], dtype="float64")
    return ops.where(eye > 0.0, (1.0 + ridge) * eye, similar), lengths
