"""K×K algebra against NumPy in float64, and scipy as an oracle."""

import functools

import keras
import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from keras import ops

from keras_mtl import linalg

SIZES = (1, 2, 3, 4, 6, 9, 16)


def jacobian(num_tasks=4, entries=30, seed=0):
    return np.random.default_rng(seed).normal(size=(num_tasks, entries))


# === Gram matrix, norms, cosines ===


@pytest.mark.parametrize("cuts", [[], [7], [1, 2, 20]], ids=["one", "two", "four"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-14)]
)
def test_gram_matrix_of_blocks(cuts, dtype, tolerance):
    J = jacobian()
    blocks = [[ops.array(r, dtype) for r in b] for b in np.split(J, cuts, axis=1)]
    gram = linalg.gram_matrix(blocks)
    assert gram.dtype == dtype
    np.testing.assert_allclose(
        gram, J @ J.T, rtol=tolerance, atol=tolerance * np.abs(J @ J.T).max()
    )


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-14)]
)
@pytest.mark.parametrize("num_tasks", [1, 4, 8, 9, 16, 37])
def test_gram_matrix_of_rows(num_tasks, dtype, tolerance):
    """Some task has no row in the second block."""
    J = jacobian(num_tasks)
    J[num_tasks // 2, 7:] = 0
    rows = [[ops.array(row, dtype) for row in b] for b in np.split(J, [7], axis=1)]
    rows[1][num_tasks // 2] = None if num_tasks > 1 else rows[1][0]
    gram = linalg.gram_matrix(rows)
    assert gram.dtype == dtype
    np.testing.assert_allclose(
        gram, J @ J.T, rtol=tolerance, atol=tolerance * np.abs(J @ J.T).max()
    )


@pytest.mark.parametrize("num_tasks", [2, 9, 20])
def test_gram_matrix_of_long_float32_rows(num_tasks):
    """Sums over half a million entries keep their digits, also where they cancel."""
    rng = np.random.default_rng(0)
    J = (rng.normal(size=(num_tasks, 2**19 + 5)) + 3.0).astype("float32")
    J[1] = -J[0] + 1e-2 * J[1]
    exact = J.astype("float64") @ J.T.astype("float64")
    gram = linalg.gram_matrix([[ops.array(row) for row in J]])
    np.testing.assert_allclose(gram, exact, atol=2e-6 * np.abs(exact).max())


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-14)]
)
@pytest.mark.parametrize("num_tasks", [1, 3, 8, 9, 20])
def test_gram_matrix_of_products(num_tasks, dtype, tolerance):
    """Equals that of the kernels' gradients; some task has none."""
    rng = np.random.default_rng(num_tasks)
    inputs = rng.normal(size=(6, 5))
    slopes = rng.normal(size=(num_tasks, 6, 7))
    missing = num_tasks // 2 if num_tasks > 1 else None
    J = np.stack([(inputs.T @ s).ravel() for s in slopes])
    J[missing if missing is not None else [], :] = 0
    gram = linalg.gram_of_products(
        ops.array(inputs, dtype),
        [None if i == missing else ops.array(s, dtype) for i, s in enumerate(slopes)],
    )
    assert gram.dtype == dtype
    exact = J @ J.T
    np.testing.assert_allclose(gram, exact, atol=tolerance * np.abs(exact).max())
    np.testing.assert_array_equal(gram, np.transpose(gram))


@pytest.mark.parametrize("scale", [1e-10, 1.0, 1e10])
def test_norms_and_cosines(scale):
    J = jacobian() * scale
    J[2] = 0
    gram = ops.array(J @ J.T, "float64")
    lengths = np.linalg.norm(J, axis=1)
    unit = J / np.where(lengths > 0, lengths, 1)[:, None]
    np.testing.assert_allclose(linalg.norms(gram), lengths, rtol=1e-12)
    np.testing.assert_allclose(linalg.cosine(gram), unit @ unit.T, atol=1e-12)


def test_cosines_of_parallel_gradients_stay_in_range():
    J = np.outer([1.0, 3.0, -0.1], jacobian(1)[0]).astype("float32")
    found = ops.convert_to_numpy(linalg.cosine(ops.array(J @ J.T)))
    assert np.abs(found).max() <= 1
    np.testing.assert_allclose(found, [[1, 1, -1], [1, 1, -1], [-1, -1, 1]], atol=1e-6)


def test_norms_of_a_gram_matrix_with_rounding_noise():
    assert linalg.norms(ops.array([[-1e-12, 0.0], [0.0, 4.0]])).numpy().tolist() == [
        0.0,
        2.0,
    ]


# === The minimum over the simplex ===


def random_gram(kind, size, rng):
    """Gram matrices of a kind: well or badly conditioned, or singular."""
    J = rng.normal(size=(size, 2 * size))
    if kind == "conditioned":
        u, _, v = np.linalg.svd(J, full_matrices=False)
        exponent = rng.uniform(0, 4) if size > 1 else 0.0
        J = u @ np.diag(np.logspace(0, -exponent, size)) @ v
    elif kind == "rank deficient":
        rank = int(rng.integers(1, max(size, 2)))
        J = rng.normal(size=(size, rank)) @ rng.normal(size=(rank, 2 * size))
    elif kind == "scales":
        J = J * 10.0 ** rng.uniform(-3, 3, size=(size, 1))
    elif kind == "hull holds zero":
        J = J - J.mean(axis=0) if size > 1 else J
    elif kind == "duplicates":
        J = J[rng.integers(0, size, size)]
    return J @ J.T


KINDS = (
    "normal",
    "conditioned",
    "rank deficient",
    "scales",
    "hull holds zero",
    "duplicates",
)


def linear_term(kind, gram, rng):
    """The linear term and the weight of the norm: MGDA, CAGrad, or any."""
    size = len(gram)
    if kind == "mgda":
        return np.zeros(size), 1.0
    mean = np.full(size, 1 / size)
    length = np.sqrt(max(mean @ gram @ mean, 0.0))
    if kind == "cagrad":
        return gram @ mean, rng.uniform(0, 1) * length
    return rng.normal(size=size) * np.sqrt(np.diag(gram)), rng.uniform(0, 2)


@functools.cache
def solver(size):
    """One traced function per size."""
    return tf.function(
        linalg.simplex_minimum,
        autograph=False,
        input_signature=[
            tf.TensorSpec((size, size), "float64"),
            tf.TensorSpec((size,), "float64"),
            tf.TensorSpec((), "float64"),
            tf.TensorSpec((size,), "bool"),
        ],
    )


def solve(gram, linear, norm_weight, active=None):
    active = np.ones(len(gram), bool) if active is None else active
    return solver(len(gram))(gram, linear, norm_weight, active).numpy()


def value(w, gram, linear, norm_weight):
    return linear @ w + norm_weight * np.sqrt(max(w @ gram @ w, 0.0))


def scipy_value(gram, linear, norm_weight):
    """The lowest value that SLSQP finds, from the mean and from every vertex."""
    size = len(gram)
    scale = gram.diagonal().max()
    gram, linear = gram / scale, linear / scale
    norm_weight = norm_weight / np.sqrt(scale)

    def slope(w):
        norm = np.sqrt(max(w @ gram @ w, 0.0))
        return linear + (norm_weight / norm * (gram @ w) if norm > 0 else 0.0)

    best = np.inf
    for start in [np.full(size, 1 / size), np.eye(size)[np.argmin(gram.diagonal())]]:
        found = scipy.optimize.minimize(
            value,
            start,
            args=(gram, linear, norm_weight),
            jac=lambda w, *_: slope(w),
            bounds=[(0, 1)] * size,
            constraints={
                "type": "eq",
                "fun": lambda w: w.sum() - 1,
                "jac": np.ones_like,
            },
            options={"maxiter": 300, "ftol": 1e-14},
        )
        w = np.maximum(found.x, 0)
        w = w / w.sum()
        best = min(best, value(w, gram, linear, norm_weight) * scale)
    return best


@pytest.mark.parametrize("term", ["mgda", "cagrad", "any"])
@pytest.mark.parametrize("kind", KINDS)
def test_simplex_minimum_is_as_low_as_scipys(kind, term):
    rng = np.random.default_rng(KINDS.index(kind))
    for size in SIZES:
        for _ in range(3):
            gram = random_gram(kind, size, rng)
            linear, norm_weight = linear_term(term, gram, rng)
            w = solve(gram, linear, norm_weight)
            assert np.all(np.isfinite(w))
            assert np.all(w >= 0)
            assert w.sum() == pytest.approx(1, abs=1e-9)
            ours = value(w, gram, linear, norm_weight)
            theirs = scipy_value(gram, linear, norm_weight)
            scale = norm_weight * np.sqrt(gram.diagonal().max()) + np.abs(linear).max()
            assert ours - theirs <= 1e-5 * abs(theirs) + 1e-6 * scale, (size, gram)


@pytest.mark.parametrize("term", ["mgda", "cagrad", "any"])
@pytest.mark.parametrize("kind", ["normal", "conditioned", "scales"])
def test_simplex_minimum_is_certified(kind, term):
    """Without an oracle: no value lies below the lowest slope at the solution.

    The function is convex and homogeneous of degree 1, so at any `w` its minimum
    over the simplex is at least the lowest entry of its gradient at `w`.
    """
    rng = np.random.default_rng(17)
    for size in SIZES:
        for _ in range(8):
            gram = random_gram(kind, size, rng)
            linear, norm_weight = linear_term(term, gram, rng)
            w = solve(gram, linear, norm_weight)
            ours = value(w, gram, linear, norm_weight)
            slopes = linear + norm_weight * (gram @ w) / np.sqrt(w @ gram @ w)
            scale = norm_weight * np.sqrt(gram.diagonal().max()) + np.abs(linear).max()
            assert ours - slopes.min() <= 1e-5 * abs(ours) + 1e-6 * scale


def test_inactive_tasks_stand_aside():
    rng = np.random.default_rng(5)
    for size in SIZES[1:]:
        gram = random_gram("normal", size, rng)
        linear, norm_weight = linear_term("any", gram, rng)
        active = rng.random(size) < 0.5
        active[rng.integers(size)] = True
        w = solve(gram, linear, norm_weight, active)
        alone = linalg.simplex_minimum(
            ops.array(gram[np.ix_(active, active)], "float64"),
            ops.array(linear[active], "float64"),
            ops.array(norm_weight, "float64"),
            ops.ones(active.sum(), "bool"),
        )
        assert np.all(w[~active] == 0)
        np.testing.assert_allclose(w[active], alone, atol=1e-8)


@pytest.mark.parametrize(
    ("gram", "expected"),
    [
        ([[3.0]], [1.0]),
        ([[0.0]], [1.0]),
        ([[1.0, 0.0], [0.0, 3.0]], [0.75, 0.25]),
        ([[1.0, 2.0], [2.0, 5.0]], [1.0, 0.0]),
        ([[1.0, -1.0], [-1.0, 1.0]], [0.5, 0.5]),
        ([[4.0, -2.0], [-2.0, 1.0]], [1 / 3, 2 / 3]),
        ([[1.0, 0.0], [0.0, 0.0]], [0.0, 1.0]),
    ],
)
def test_min_norm_point_by_hand(gram, expected):
    active = ops.ones(len(gram), "bool")
    found = linalg.min_norm_point(ops.array(gram), active)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_nothing_active_gives_zero():
    found = linalg.min_norm_point(ops.eye(3), ops.zeros(3, "bool"))
    assert ops.convert_to_numpy(found).tolist() == [0, 0, 0]


@pytest.mark.parametrize("scale", [1e-10, 1e-3, 1.0, 1e3, 1e10])
def test_min_norm_point_does_not_depend_on_the_scale(scale):
    J = jacobian(5)
    J = (J + 0.3 * J.mean(axis=0)).astype("float32")
    active = ops.ones(5, "bool")
    expected = linalg.min_norm_point(ops.array(J @ J.T), active)
    J = J * np.float32(scale)
    found = linalg.min_norm_point(ops.array(J @ J.T), active)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_result_has_the_dtype_of_the_gram_matrix():
    for dtype in ("float32", "float64"):
        found = linalg.min_norm_point(ops.eye(2, dtype=dtype), ops.ones(2, "bool"))
        assert keras.backend.standardize_dtype(found.dtype) == dtype


# === The nearest point of the simplex ===


def project(v, active=None, dtype="float64"):
    active = np.ones(len(v), bool) if active is None else active
    found = linalg.simplex_projection(ops.array(v, dtype), ops.array(active))
    assert keras.backend.standardize_dtype(found.dtype) == dtype
    return ops.convert_to_numpy(found)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-13)]
)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 10.0])
@pytest.mark.parametrize("size", SIZES)
def test_simplex_projection_equals_the_multiplier_found_by_bisection(
    size, scale, dtype, tolerance
):
    rng = np.random.default_rng(size)
    for _ in range(20):
        v = scale * rng.normal(size=size) + rng.normal()
        theta = scipy.optimize.brentq(
            lambda t, v=v: np.maximum(v - t, 0).sum() - 1, v.min() - 2, v.max()
        )
        expected = np.maximum(v - theta, 0)
        atol = max(tolerance * np.abs(v).max(), 1e-11)
        np.testing.assert_allclose(project(v, dtype=dtype), expected, atol=atol)


def test_simplex_projection_is_the_nearest_point():
    """No point of the simplex is nearer: `(v - w) · (x - w) <= 0` for all corners."""
    rng = np.random.default_rng(3)
    for size in SIZES:
        for _ in range(20):
            v = rng.normal(size=size) * 10.0 ** rng.uniform(-3, 3)
            w = project(v)
            assert np.all(w >= 0)
            assert w.sum() == pytest.approx(1, abs=1e-12)
            assert np.all((v - w) - (v - w) @ w <= 1e-9 * max(1, np.abs(v).max()))


@pytest.mark.parametrize(
    ("v", "expected"),
    [
        ([3.0], [1.0]),
        ([-3.0], [1.0]),
        ([0.2, 0.8], [0.2, 0.8]),
        ([0.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]),
        ([0.9, 0.5], [0.7, 0.3]),
        ([2.0, 0.5], [1.0, 0.0]),
        ([-1e10, 1e10], [0.0, 1.0]),
        ([1e10, 1e10, 0.0], [0.5, 0.5, 0.0]),
        ([-5e300, -1e300], [0.0, 1.0]),
    ],
)
def test_simplex_projection_by_hand(v, expected):
    np.testing.assert_allclose(project(v), expected, atol=1e-12)


def test_simplex_projection_of_active_tasks():
    rng = np.random.default_rng(4)
    for size in SIZES[1:]:
        v = rng.normal(size=size)
        active = rng.random(size) < 0.5
        active[rng.integers(size)] = True
        found = project(v, active)
        assert np.all(found[~active] == 0)
        np.testing.assert_allclose(found[active], project(v[active]), atol=1e-14)
    assert project([1.0, 2.0], [False, False]).tolist() == [0, 0]


def test_shares_of_active_tasks():
    two = ops.array([True, False, True])
    found = linalg.active_shares(ops.array([1.0, 5.0, 3.0]), two)
    np.testing.assert_allclose(found, [0.25, 0, 0.75])
    found = linalg.active_shares(ops.array([0.0, 5.0, 0.0]), two)
    np.testing.assert_allclose(found, [0.5, 0, 0.5])
    found = linalg.active_shares(ops.ones(3), ops.zeros(3, "bool"))
    np.testing.assert_allclose(found, [0, 0, 0])


def test_updated_shares_keep_those_of_inactive_tasks():
    old, new = ops.array([0.1, 0.5, 0.4]), ops.array([0.8, 0.0, 0.2])
    found = linalg.update_shares(old, new, ops.array([True, False, True]))
    np.testing.assert_allclose(found, [0.4, 0.5, 0.1])
