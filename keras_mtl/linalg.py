"""The K×K algebra of gradient balancing: Gram matrices and their small problems."""

import keras
from keras import ops

from keras_mtl.utils.types import Tensor

# Share by which the diagonal is raised, so that the Gram matrix of parallel
# gradients, which rounding makes indefinite, is positive definite again: about
# the rounding error of the Gram matrix, by its dtype.
_RIDGE = {"float32": 2e-6, "float64": 1e-12}
_TOLERANCE = 1e-10


def gram_matrix(blocks: list[Tensor]) -> Tensor:
    """Gram matrix `J @ J.T` of a Jacobian that is given in column blocks.

    Matrix products sum in blocks; pairwise float32 dot products over millions of
    entries lose four digits.

    Args:
        blocks: Non-empty list of tensors of shape `(num_tasks, entries)`.

    Returns:
        Tensor of shape `(num_tasks, num_tasks)`.

    Cost: one pass over the blocks, `num_tasks ** 2` multiplications per entry.
    """
    total = _outer(blocks[0])
    for block in blocks[1:]:
        total = total + _outer(block)
    return total


def _outer(block):
    num_tasks = block.shape[0]
    if num_tasks < 12:
        return ops.matmul(block, ops.transpose(block))
    # With more rows TensorFlow's plain product of so long matrices is slow on CPUs
    # (3 times at 32 tasks); over two axes it takes the batched one.
    block = ops.reshape(block, (num_tasks, 1, -1))
    return ops.einsum("iap,jap->ij", block, block)


def gram_of_rows(blocks: list[list[Tensor | None]]) -> Tensor:
    """Gram matrix of a Jacobian whose rows are vectors of their own.

    For few tasks. Where the rows are not in one matrix already, products of pairs
    cost less than the copy; their sums run over blocks too.

    Args:
        blocks: Non-empty list of lists of one vector per task, `None` for zero.

    Returns:
        Tensor of shape `(num_tasks, num_tasks)`.

    Cost: `num_tasks * (num_tasks + 1) / 2` products of two vectors.
    """
    num_tasks = len(blocks[0])
    upper = {}
    for i in range(num_tasks):
        for j in range(i, num_tasks):
            pairs = [(rows[i], rows[j]) for rows in blocks]
            products = [
                ops.sum(a * b) for a, b in pairs if a is not None and b is not None
            ]
            upper[i, j] = sum(products[1:], products[0]) if products else 0.0
    return ops.stack(
        [
            ops.stack([upper[min(i, j), max(i, j)] for j in range(num_tasks)])
            for i in range(num_tasks)
        ]
    )


def norms(gram: Tensor) -> Tensor:
    """Norms of the rows of the Jacobian, of shape `(num_tasks,)`."""
    return ops.sqrt(ops.maximum(ops.diagonal(gram), 0.0))


def cosine(gram: Tensor) -> Tensor:
    """Cosine similarities of the task gradients, 0 where a gradient is zero.

    Args:
        gram: Tensor of shape `(num_tasks, num_tasks)`.

    Returns:
        Tensor of the same shape, entries in `[-1, 1]`.

    Example:
    >>> ops.convert_to_numpy(cosine(ops.array([[4.0, -1.0], [-1.0, 1.0]])))
    array([[ 1. , -0.5],
           [-0.5,  1. ]], dtype=float32)
    """
    lengths = norms(gram)
    inverse = ops.divide_no_nan(ops.ones_like(lengths), lengths)
    return ops.clip(gram * inverse[:, None] * inverse[None, :], -1.0, 1.0)


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
    ridge = _RIDGE[keras.backend.standardize_dtype(result_dtype)]
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


def inverse_power(
    matrix: Tensor, exponent: float, cut: Tensor
) -> tuple[Tensor, Tensor]:
    """`matrix ** -exponent` on the eigenvectors whose eigenvalue exceeds `cut`.

    The others count as rounding error and are left out (exponent 1 gives the
    pseudo-inverse). XLA's eigenvectors are good to about 1e-8 only; what they leave
    off the diagonal enters to first order, so that all compilers agree.

    Args:
        matrix: Float64 tensor of shape `(num_tasks, num_tasks)`, positive
            semi-definite.
        exponent: 1 or 0.5.
        cut: Scalar tensor `>= 0`.

    Returns:
        Tensor of the shape of `matrix`, and the eigenvalues, of shape
        `(num_tasks,)`, 0 where they were left out.

    Cost: one eigendecomposition.

    Example:
    >>> matrix = ops.array([[5.0, 4.0], [4.0, 5.0]], "float64")
    >>> root, values = inverse_power(matrix, 0.5, cut=0.0)
    >>> ops.convert_to_numpy(root @ root @ matrix).round(6)
    array([[1., 0.],
           [0., 1.]])
    """
    _, vectors = ops.eigh(matrix)
    rotated = ops.matmul(ops.transpose(vectors), ops.matmul(matrix, vectors))
    values = ops.diagonal(rotated)
    kept = values > cut
    safe = ops.where(kept, values, ops.ones_like(values))
    inverse = ops.where(kept, safe**-exponent, ops.zeros_like(values))
    # Divided differences of `x ** -exponent`: between two that are kept, and
    # between one of them and one that counts as zero.
    ratio = inverse[:, None] * inverse[None, :]
    if exponent == 0.5:
        roots = ops.sqrt(safe)
        ratio = ratio / (roots[:, None] + roots[None, :])
    gap = ops.abs(values[:, None] - values[None, :])
    values = ops.where(kept, values, ops.zeros_like(values))
    larger = ops.maximum(values[:, None], values[None, :])
    edge = inverse[:, None] + inverse[None, :]
    edge = ops.divide_no_nan(edge, ops.maximum(gap, larger / 2.0))
    both = ops.logical_and(kept[:, None], kept[None, :])
    ratio = ops.where(both, -ratio, edge)
    eye = ops.eye(matrix.shape[0], dtype="float64")
    power = ops.where(eye > 0.0, inverse * eye, rotated * ratio)
    power = ops.matmul(vectors, ops.matmul(power, ops.transpose(vectors)))
    return power, values


def least_norm_solution(gram: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Least-squares solution of least norm of `C x = right`, `C` the cosine matrix.

    Eigenvalues of `C` below the rounding error of `gram` count as zero, so that
    parallel and vanishing gradients are ordinary.

    Args:
        gram: Tensor of shape `(num_tasks, num_tasks)`, positive semi-definite.
        right: Tensor of shape `(num_tasks,)`.

    Returns:
        `x = C⁺ right` of shape `(num_tasks,)`, and the scalar `right · x >= 0`, a
        measure of how much of `right` the task gradients can reach. Both float64.

    Cost: one eigendecomposition.

    Example:
    >>> gram = ops.array([[4.0, 0.0], [0.0, 1.0]])
    >>> solution, reached = least_norm_solution(gram, ops.ones(2))
    >>> ops.convert_to_numpy(solution)
    array([1., 1.])
    """
    rounding = _RIDGE[keras.backend.standardize_dtype(gram.dtype)]
    similar = cosine(ops.cast(gram, "float64"))
    right = ops.cast(right, "float64")
    cut = rounding * ops.max(ops.sum(ops.abs(similar), axis=1))
    inverse, _ = inverse_power(similar, 1, cut)
    solution = ops.matmul(inverse, right[:, None])[:, 0]
    return solution, ops.maximum(ops.sum(right * solution), 0.0)


def _ridged_cosines(gram):
    """Cosine matrix, made positive definite, and the norms, both in float64.

    Tasks whose gradient is zero stand for themselves: a unit row and column.
    """
    ridge = _RIDGE[keras.backend.standardize_dtype(gram.dtype)]
    gram = ops.cast(gram, "float64")
    lengths = norms(gram)
    inverse = ops.divide_no_nan(ops.ones_like(lengths), lengths)
    similar = gram * inverse[:, None] * inverse[None, :]
    eye = ops.eye(gram.shape[0], dtype="float64")
    return ops.where(eye > 0.0, (1.0 + ridge) * eye, similar), lengths


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
