"""Literal NumPy transcriptions of the papers, on full gradient vectors."""

import numpy as np
import scipy.optimize


def pcgrad(J, order):
    """Algorithm 1 of Yu et al., 2020, with the tasks drawn in the given order."""
    update = np.zeros(J.shape[1])
    for i in range(len(J)):
        projected = J[i].copy()
        for j in order[i]:
            if j != i:
                inner = projected @ J[j]
                if inner < 0:
                    projected = projected - inner / (J[j] @ J[j]) * J[j]
        update = update + projected
    return update


def on_simplex(function, size):
    """The best point that SLSQP finds from the middle and from every corner."""
    best, lowest = None, np.inf
    for start in [np.full(size, 1 / size), *(0.9 * np.eye(size) + 0.1 / size)]:
        found = scipy.optimize.minimize(
            function,
            start,
            bounds=[(0, 1)] * size,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
            options={"maxiter": 500, "ftol": 1e-15},
        )
        if found.fun < lowest:
            best, lowest = found.x, found.fun
    return best


def mgda(J):
    """Equation 3 of Sener & Koltun, 2018: the shortest convex combination."""
    return on_simplex(lambda w: np.sum((w @ J) ** 2), len(J)) @ J


def cagrad(J, c):
    """Algorithm 1 of Liu et al., 2021 (without the rescaling of their code)."""
    g0 = J.mean(axis=0)
    root_phi = c * np.linalg.norm(g0)
    w = on_simplex(
        lambda w: (w @ J) @ g0 + root_phi * np.linalg.norm(w @ J) + 0.0, len(J)
    )
    g_w = w @ J
    return g0 + root_phi / np.linalg.norm(g_w) * g_w
