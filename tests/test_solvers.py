"""The solvers on thousands of random Gram matrices: certificates and other solvers.

The problem that a solver gets is the Gram matrix as it was rounded to float32, raised
on the diagonal by the ridge that stands for this rounding. Its objective must be
within 1e-5 of the minimum, which a certificate bounds from below: a dual value, which
needs no trust in the solver that found the point where it is taken.
"""

import functools

import keras
import numpy as np
import pytest
import quadprog
import scipy.linalg
import scipy.optimize
import tensorflow as tf
from keras import ops

from keras_mtl import linalg

# size, number of matrices of each kind
SIZES = {1: 4, 2: 100, 3: 90, 5: 80, 8: 60, 16: 25, 32: 8, 64: 3}
KINDS = (
    "normal",
    "conditioned",
    "rank deficient",
    "scales",
    "hull holds zero",
    "duplicates",
)
RIDGE = {"float32": 2e-6, "float64": 1e-12}
EACH_SIZE = pytest.mark.parametrize("size", SIZES)
EACH_KIND = pytest.mark.parametrize("kind", KINDS)


def jacobian(kind, size, rng):
    """Gradients of a kind; condition numbers of their Gram matrix go up to 1e8."""
    J = rng.normal(size=(size, 2 * size + 1))
    if kind == "conditioned":
        u, _, v = np.linalg.svd(J, full_matrices=False)
        J = u @ np.diag(np.logspace(0, -rng.uniform(2, 4), size)) @ v
    elif kind == "rank deficient":
        rank = int(rng.integers(1, max(size, 2)))
        J = rng.normal(size=(size, rank)) @ rng.normal(size=(rank, 2 * size))
    elif kind == "scales":
        J = J * 10.0 ** rng.uniform(-5, 5, size=(size, 1))
    elif kind == "hull holds zero" and size > 1:
        J = J - J.mean(axis=0)
    elif kind == "duplicates":
        J = J[rng.integers(0, size, size)]
    return J * 10.0 ** rng.uniform(-6, 6)


def grams(kind, size, dtype="float32", share=1.0):
    """Gram matrices as a solver receives them."""
    rng = np.random.default_rng([KINDS.index(kind), size])
    for _ in range(max(2, int(share * SIZES[size]))):
        J = jacobian(kind, size, rng)
        yield (J @ J.T).astype(dtype), rng


def ridged(gram):
    """The problem posed: in float64, with the ridge of the solver."""
    exact = gram.astype("float64")
    return exact + np.diag(RIDGE[str(gram.dtype)] * exact.diagonal())


@functools.cache
def compiled(solver, *extra):
    """A solver in the graph, traced once per size and dtype."""
    function = {
        "simplex": linalg.simplex_minimum,
        "cone": linalg.dual_cone_projection,
        "proportional": linalg.proportional_point,
    }[solver]
    return tf.function(lambda *tensors: function(*tensors, *extra), autograph=False)


def call(solver, *tensors, extra=()):
    found = compiled(solver, *extra)(*[ops.convert_to_tensor(t) for t in tensors])
    assert keras.backend.standardize_dtype(found.dtype) == str(tensors[0].dtype)
    found = ops.convert_to_numpy(found).astype("float64")
    assert np.all(np.isfinite(found))
    return found


# === The minimum over the simplex: MGDA, CAGrad ===


def simplex_terms(w, gram, linear, norm_weight):
    return linear @ w, norm_weight * np.sqrt(max(w @ gram @ w, 0.0))


def simplex_bound(w, gram, linear, norm_weight):
    """The lowest slope: the function is convex and homogeneous of degree 1.

    Any non-negative point will do, so that tasks with a low slope get a little more
    weight: this lifts the slope of a long gradient, whose rounding error is large,
    and changes nothing else.
    """
    lengths = np.sqrt(gram.diagonal())
    value, best = sum(simplex_terms(w, gram, linear, norm_weight)), -np.inf
    # Without the ridge of float64: equal slopes on the support.
    s = np.flatnonzero(w > 0)
    unit = gram[np.ix_(s, s)] / np.outer(lengths[s], lengths[s])
    refined = np.zeros(len(w))
    refined[s] = np.linalg.solve(unit, (value - linear[s]) / lengths[s]) / lengths[s]
    if refined.min() >= 0 and refined.max() > 0:
        w = refined
    for _ in range(4):
        norm = np.sqrt(w @ gram @ w)
        slope = linear + norm_weight * (gram @ w) / norm
        best = max(best, slope.min())
        lift = slope @ w / w.sum() - slope + 1e-13 * norm_weight * lengths
        w = w + np.maximum(lift, 0.0) * norm / max(norm_weight, 1e-300) / lengths**2
    return best


def simplex_problem(term, gram, rng):
    size = len(gram)
    if term == "mgda":
        return np.zeros(size, gram.dtype), gram.dtype.type(1)
    mean = np.full(size, 1 / size, gram.dtype)
    radius = rng.uniform(0.1, 1) * np.sqrt(max(mean @ gram @ mean, 0.0))
    return gram @ mean, gram.dtype.type(max(radius, 1e-3 * gram.max() ** 0.5))


@EACH_SIZE
@EACH_KIND
@pytest.mark.parametrize("term", ["mgda", "cagrad"])
def test_simplex_minimum(term, kind, size):
    active = np.ones(size, bool)
    for gram, rng in grams(kind, size):
        linear, norm_weight = simplex_problem(term, gram, rng)
        w = call("simplex", gram, linear, norm_weight, active)
        assert np.all(w >= 0)
        assert w.sum() == pytest.approx(1, abs=1e-5)
        problem = ridged(gram), linear.astype("float64"), norm_weight.astype("float64")
        better = call("simplex", *problem, active)
        terms = simplex_terms(w, *problem)
        error = sum(terms) - simplex_bound(better, *problem)
        assert error <= 1e-5 * (abs(terms[0]) + terms[1])


# === The dual cone: UPGrad, DualProj ===


def cone_bound(v, gram, target):
    """Lagrange's dual value at the multipliers `max(G v, 0)`, for `½ vᵀ G v`."""
    multipliers = np.maximum(gram @ v, 0.0)
    lengths = np.sqrt(gram.diagonal())
    unit = gram / np.outer(lengths, lengths)
    primal = np.linalg.solve(unit, multipliers / lengths) / lengths
    return multipliers @ target - multipliers @ primal / 2


@EACH_SIZE
@EACH_KIND
def test_dual_cone_projection(kind, size):
    """The rows of UPGrad, the one of DualProj, and any."""
    for gram, rng in grams(kind, size):
        targets = np.concatenate(
            [np.eye(size)[:4], np.full((1, size), 1 / size), rng.random((1, size))]
        ).astype("float32")
        found = call("cone", gram, targets)
        problem, exact = ridged(gram), targets.astype("float64")
        assert np.all(found >= exact)
        better = call("cone", problem, exact)
        for v, target, near in zip(found, exact, better, strict=True):
            value, bound = v @ problem @ v / 2, cone_bound(near, problem, target)
            assert value - bound <= 1e-5 * value


@EACH_SIZE
@pytest.mark.parametrize("kind", KINDS)
def test_dual_cone_projection_is_that_of_nnls(kind, size):
    """Of the gradients themselves, not rounded: then up to what rounding may change."""
    rng = np.random.default_rng([KINDS.index(kind), size])
    for _ in range(4):
        J = jacobian(kind, size, rng)
        lengths = np.linalg.norm(J, axis=1)
        target = rng.random(size)
        for dtype in ("float32", "float64"):
            gram = (J @ J.T).astype(dtype)
            v = call("cone", gram, target[None].astype(dtype))[0]
            unit = J / lengths[:, None]
            z, _ = scipy.optimize.nnls(unit.T, -target @ J, maxiter=100 * size)
            best = np.sum((target @ J + z @ unit) ** 2)
            rounding = 2 * RIDGE[dtype] * max(v @ lengths, z.sum()) ** 2
            assert np.sum((v @ J) ** 2) - best <= 1e-5 * best + rounding


@EACH_SIZE
@pytest.mark.parametrize("kind", ["normal", "conditioned", "scales"])
def test_both_quadratic_programs_are_those_of_quadprog(kind, size):
    """Goldfarb and Idnani's dual method, on matrices that it can factorise."""
    for gram, rng in grams(kind, size, "float64", share=0.2):
        lengths = np.sqrt(gram.diagonal())
        unit = gram / np.outer(lengths, lengths)
        target = rng.random(size)
        v = call("cone", gram, target[None])[0]
        zeros, eye = np.zeros(size), np.eye(size)
        expected = quadprog.solve_qp(unit, zeros, eye, target * lengths)[1]
        assert v @ gram @ v / 2 <= expected * (1 + 1e-5)
        linear = np.zeros(size)
        w = call("simplex", gram, linear, np.float64(1.0), np.ones(size, bool))
        scale = lengths.min()
        sides = np.concatenate([scale / lengths[:, None], eye], axis=1)
        expected = quadprog.solve_qp(unit, zeros, sides, np.eye(size + 1)[0], 1)[1]
        assert w @ gram @ w / 2 <= expected * scale**2 * (1 + 1e-5)


# === Positive solutions: Nash-MTL, FairGrad ===


def fair_value(w, gram, exponent):
    if exponent == 1:
        return w @ gram @ w / 2 - np.log(w).sum()
    return w @ gram @ w / 2 - (w ** (1 - exponent)).sum() / (1 - exponent)


def fair_decrement(w, gram, exponent):
    """Newton's decrement, squared: twice what the next step lowers the value by."""
    system = w[:, None] * gram * w + exponent * np.diag(w ** (1 - exponent))
    slope = w * (gram @ w) - w ** (1 - exponent)
    root = np.sqrt(system.diagonal())
    step = np.linalg.solve(system / np.outer(root, root), slope / root)
    return (step / root) @ slope


@EACH_SIZE
@EACH_KIND
def test_proportional_point(kind, size):
    """Self-concordance bounds the error by the decrement `λ`: `-λ - log(1 - λ)`."""
    for gram, _ in grams(kind, size):
        w = call("proportional", gram)
        problem = ridged(gram)
        assert np.all(w > 0)
        decrement = max(fair_decrement(w, problem, 1), 0.0) ** 0.5
        assert decrement < 0.1
        error = -decrement - np.log1p(-decrement)
        lengths = np.sqrt(problem.diagonal())
        # In units of the lengths: the value itself depends on that of the gradients.
        value = size / 2 - np.log(w * lengths).sum()
        assert error <= 1e-5 * max(abs(value), 0.1 * size)


@EACH_SIZE
@EACH_KIND
@pytest.mark.parametrize("exponent", [0.5, 2.0])
def test_fair_point(exponent, kind, size):
    """No Newton step from there, in float64, lowers the value by more than 1e-5."""
    for gram, _ in grams(kind, size, share=0.25):
        w = call("proportional", gram, extra=(exponent,))
        problem = ridged(gram)
        assert np.all(w > 0)
        value = fair_value(w, problem, exponent)
        assert fair_decrement(w, problem, exponent) <= 1e-5 * abs(value)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("kind", KINDS)
def test_fair_point_is_that_of_scipy(kind, exponent):
    """Trust-region Newton on the logarithms of the weights."""
    for size in (1, 2, 5, 8):
        for gram, _ in grams(kind, size, "float32", share=0.04):
            problem = ridged(gram)
            w = call("proportional", gram, extra=(exponent,))
            single = problem.diagonal() ** (-1 / (1 + exponent))

            def value(x, problem=problem, single=single):
                return fair_value(single * np.exp(x), problem, exponent)

            def slope(x, problem=problem, single=single):
                v = single * np.exp(x)
                return v * (problem @ v) - v ** (1 - exponent)

            found = scipy.optimize.minimize(
                value,
                np.zeros(size),
                jac=slope,
                method="L-BFGS-B",
                bounds=[(-30, 30)] * size,
                options={"maxiter": 2000, "maxfun": 4000, "ftol": 1e-15, "gtol": 1e-12},
            )
            ours = fair_value(w, problem, exponent)
            terms = w @ problem @ w / 2 + np.abs(ours)
            assert ours <= found.fun + 1e-5 * terms


# === Inverse powers: Aligned-MTL, IMTL-G, ConFIG ===


@EACH_SIZE
@EACH_KIND
@pytest.mark.parametrize("exponent", [1, 0.5])
def test_inverse_power(exponent, kind, size):
    """Penrose's conditions, on the eigenvectors that are kept."""
    solve = compiled_power(exponent)
    for gram, _ in grams(kind, size, "float64", share=0.5):
        cut = 1e-9 * np.trace(gram)
        power, values = (ops.convert_to_numpy(x) for x in solve(gram, cut))
        inverse = power if exponent == 1 else power @ power
        exact, vectors = np.linalg.eigh(gram)
        kept = exact > cut
        span = vectors[:, kept] @ vectors[:, kept].T
        condition = exact.max() / exact[kept].min()
        assert np.sum(values > 0) == kept.sum()
        np.testing.assert_allclose(inverse @ gram, span, atol=1e-11 * condition)
        np.testing.assert_allclose(power, power.T, atol=1e-9 * np.abs(power).max())


@functools.cache
def compiled_power(exponent):
    return tf.function(lambda gram, cut: linalg.inverse_power(gram, exponent, cut))


@EACH_SIZE
@EACH_KIND
def test_least_norm_solution(kind, size):
    """The residual is the least, up to what rounding the Gram matrix changes."""
    for gram, rng in grams(kind, size, share=0.5):
        lengths = np.sqrt(gram.diagonal().astype("float64"))
        unit = gram.astype("float64") / np.outer(lengths, lengths)
        right = rng.random(size)
        x, reached = linalg.least_norm_solution(ops.array(gram), ops.array(right))
        x = ops.convert_to_numpy(x)
        assert np.all(np.isfinite(x))
        assert float(reached) == pytest.approx(max(right @ x, 0.0), abs=1e-9)
        values, vectors = np.linalg.eigh(unit)
        kept = values > 2e-6 * np.abs(unit).sum(axis=1).max()
        best = np.sum((vectors[:, ~kept].T @ right) ** 2) ** 0.5
        assert np.linalg.norm(unit @ x - right) <= best + 1e-9 * np.linalg.norm(right)


# === XLA ===


@pytest.mark.parametrize("size", [2, 8])
def test_xla_gives_the_same_numbers(size):
    """Where the solution is unique up to rounding."""
    active = tf.ones(size, "bool")

    def every(gram):
        targets = tf.eye(size, dtype=gram.dtype)
        return (
            linalg.min_norm_point(gram, active),
            linalg.dual_cone_projection(gram, targets),
            linalg.proportional_point(gram),
            linalg.proportional_point(gram, 0.5),
            linalg.least_norm_solution(gram, targets[0])[0],
        )

    graph, xla = tf.function(every), tf.function(every, jit_compile=True)
    for kind in ("normal", "scales"):
        for gram, _ in list(grams(kind, size, "float64", share=0.05))[:3]:
            for found, expected in zip(xla(gram), graph(gram), strict=True):
                scale = np.abs(expected).max()
                np.testing.assert_allclose(found, expected, atol=1e-8 * scale)
