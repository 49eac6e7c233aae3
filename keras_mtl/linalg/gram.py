"""Gram matrices of task gradients: norms, cosines, functions of them."""

import keras
from keras import ops

from keras_mtl.utils.types import Tensor

# Share by which the diagonal is raised, so that the Gram matrix of parallel
# gradients, which rounding makes indefinite, is positive definite again: about
# the rounding error of the Gram matrix, by its dtype.
RIDGE = {"float32": 2e-6, "float64": 1e-12}


# Up to this many tasks, products of pairs of rows cost less than a copy of the rows
# into one matrix and its product (on CPUs by 4 times for two tasks).
_FEW_TASKS = 8
# The copies are made in pieces: so many rows, so many entries.
_PIECE = (16, 2**17)


def gram_matrix(blocks: list[list[Tensor | None] | Tensor]) -> Tensor:
    """Gram matrix `J @ J.T` of a Jacobian whose rows come in pieces.

    Sums run over pairs of products, or by matrix products, in blocks: long float32
    dot products that add up entry by entry lose four digits.

    Args:
        blocks: Non-empty list of tensors of shape `(num_tasks, entries)`, or of lists
            of one vector per task, not all of them `None`, which stands for zeros.

    Returns:
        Tensor of shape `(num_tasks, num_tasks)`.

    Cost: `num_tasks * (num_tasks + 1) / 2` products of two rows.
    """
    blocks = [b if isinstance(b, list) else ops.unstack(b) for b in blocks]
    grams = [_products(p, p) for block in blocks for p in _pieces(block)]
    return sum(grams[1:], grams[0])


def gram_of_products(inputs: Tensor, slopes: list[Tensor | None]) -> Tensor:
    """Gram matrix of the gradients `inputsᵀ @ slope` of a kernel, which are not formed.

    `⟨Xᵀ A, Xᵀ B⟩ = ⟨X Xᵀ A, B⟩`. Where the gradients of the rows cancel in their sum,
    this rounds more than products of the sums do. Measured in float32 with 256 rows,
    relative to the norms: 2e-7 where the sum is a 27th of the norms of its terms (of
    which independent terms leave a 16th), 2e-6 at a 230th, 2e-4 at a 2,300th.

    Args:
        inputs: Tensor of shape `(rows, inputs)`.
        slopes: Per task a tensor of shape `(rows, units)`, not all of them `None`,
            which stands for zeros.

    Returns:
        Tensor of shape `(num_tasks, num_tasks)`.

    Cost: `rows² * (inputs + num_tasks * units)` multiplications, and the products of
        pairs of slopes.
    """
    kernel = ops.matmul(inputs, ops.transpose(inputs))
    left = [
        None if s is None else ops.reshape(ops.matmul(kernel, s), (-1,)) for s in slopes
    ]
    right = [None if s is None else ops.reshape(s, (-1,)) for s in slopes]
    gram = _products(left, right)
    return (gram + ops.transpose(gram)) / 2.0


def _products(rows, others):
    """The symmetric matrix of the products of rows with others."""
    by_rows = _by_pairs if len(rows) <= _FEW_TASKS else _by_matrices
    return by_rows(rows, others)


def _pieces(block):
    """The block in pieces of a few megabytes; as it is with few tasks."""
    size = next(row.shape[0] for row in block if row is not None)
    length = _PIECE[1]
    if len(block) <= _FEW_TASKS or size is None or size <= length:
        return [block]
    return [
        [None if row is None else row[start : start + length] for row in block]
        for start in range(0, size, length)
    ]


def _by_pairs(rows, others):
    zero = ops.zeros((), next(row.dtype for row in rows if row is not None))

    def product(a, b):
        return zero if a is None or b is None else ops.sum(a * b)

    upper = {
        (i, j): product(a, b)
        for i, a in enumerate(rows)
        for j, b in enumerate(others)
        if i <= j
    }
    return _symmetric(upper, len(rows), ops.stack)


def _by_matrices(rows, others):
    left = _stacked(rows)
    right = left if others is rows else _stacked(others)
    upper = {
        (i, j): ops.matmul(a, ops.transpose(b))
        for i, a in enumerate(left)
        for j, b in enumerate(right)
        if i <= j
    }
    return _symmetric(upper, len(left), ops.concatenate)


def _stacked(rows):
    zeros = next(ops.zeros_like(row) for row in rows if row is not None)
    rows = [zeros if row is None else row for row in rows]
    starts = range(0, len(rows), _PIECE[0])
    return [ops.stack(rows[start : start + _PIECE[0]]) for start in starts]


def _symmetric(upper, size, join):
    """The matrix of entries, or blocks, on and above the diagonal."""

    def entry(i, j):
        return upper[i, j] if i <= j else ops.transpose(upper[j, i])

    rows = [join([entry(i, j) for j in range(size)], axis=-1) for i in range(size)]
    return join(rows, axis=0)


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
    rounding = RIDGE[keras.backend.standardize_dtype(gram.dtype)]
    similar = cosine(ops.cast(gram, "float64"))
    right = ops.cast(right, "float64")
    cut = rounding * ops.max(ops.sum(ops.abs(similar), axis=1))
    inverse, _ = inverse_power(similar, 1, cut)
    solution = ops.matmul(inverse, right[:, None])[:, 0]
    return solution, ops.maximum(ops.sum(right * solution), 0.0)
