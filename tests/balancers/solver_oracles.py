"""Literal NumPy transcriptions, on full gradient vectors, of methods that solve."""

import numpy as np
import scipy.optimize


def alpha_fair(J, alpha):
    """The update that Ban & Ji, 2024, equation 5, and Navon et al., 2022, define.

    Both maximise the utilities of the gains `u · gᵢ` in a ball; with the multiplier
    1 for its radius this is the minimum of `½ ‖u‖² - Σ utility(u · gᵢ)`.
    """

    def gains(u):
        return np.maximum(J @ u, 1e-300)

    def value(u):
        if (J @ u).min() <= 0:
            return np.inf
        if alpha == 1:
            return u @ u / 2 - np.log(gains(u)).sum()
        return u @ u / 2 - (gains(u) ** (1 - alpha)).sum() / (1 - alpha)

    def slope(u):
        return u - gains(u) ** -alpha @ J

    u = min_norm_point(J)
    u = u / np.linalg.norm(u)
    for _ in range(200):
        curvature = np.eye(len(u)) + alpha * (J.T * gains(u) ** (-alpha - 1)) @ J
        step = -np.linalg.solve(curvature, slope(u))
        size = 1.0
        while value(u + size * step) > value(u) + 1e-4 * size * slope(u) @ step:
            size /= 2
            if size < 1e-12:
                return u
        u = u + size * step
    return u


def min_norm_point(J):
    """Nearest point to zero of the convex hull: the classical reduction to NNLS."""
    ones = np.ones((1, len(J)))
    weights, _ = scipy.optimize.nnls(
        np.concatenate([J.T, ones]), np.eye(1 + J.shape[1])[-1]
    )
    return weights / weights.sum() @ J


def onto_dual_cone(J, x):
    """The nearest vector to `x` without a negative inner product (GEM, equation 8)."""
    z, _ = scipy.optimize.nnls(J.T, -x)
    return x + z @ J


def upgrad(J, p):
    """Quinton & Rey, 2024: the mean of the projected task gradients."""
    return sum(share * onto_dual_cone(J, row) for share, row in zip(p, J, strict=True))


def dualproj(J, p):
    """Lopez-Paz & Ranzato, 2017, for the mean gradient."""
    return onto_dual_cone(J, p @ J)


def aligned_mtl(J, p, scale="min"):
    """Senushkin et al., 2023: singular values made equal."""
    u, s, v = np.linalg.svd(J, full_matrices=False)
    kept = s > 1e-6 * s.max()
    sizes = {"min": np.min, "median": lower_median, "rmse": root_mean_square}
    aligned = sizes[scale](s[kept]) * u[:, kept] @ v[kept]
    return p @ aligned


def lower_median(values):
    return np.sort(values)[(len(values) - 1) // 2]


def root_mean_square(values):
    return np.sqrt(np.mean(values**2))


def imtl_g(J):
    """Algorithm 1 of Liu et al., 2021: task 1 and the differences to it."""
    unit = J / np.linalg.norm(J, axis=1, keepdims=True)
    D, U = J[0] - J[1:], unit[0] - unit[1:]
    others = J[0] @ U.T @ np.linalg.inv(D @ U.T)
    return np.concatenate([[1 - others.sum()], others]) @ J


def config(J, p):
    """Equations 2 and 3 of Liu et al., 2025."""
    unit = J / np.linalg.norm(J, axis=1, keepdims=True)
    best = np.linalg.pinv(unit) @ p
    best = best / np.linalg.norm(best)
    return (J @ best).sum() * best
