"""Gram matrices of task gradients: norms, cosines, functions of them."""

import keras
from keras import ops

from keras_mtl.utils.types import Tensor

# Share by which the diagonal is raised, so that the Gram matrix of parallel
# gradients, which rounding makes indefinite, is positive definite again: about
# the rounding error of the Gram matrix, by its dtype.
RIDGE = {"float32": 2e-6, "float64": 1e-12}


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
