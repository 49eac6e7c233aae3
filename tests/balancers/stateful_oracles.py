"""Literal NumPy transcriptions of papers, on full vectors: methods with a state."""

import numpy as np
import scipy.optimize


def simplex_projection(v):
    """The multiplier of the sum constraint by bisection."""
    theta = scipy.optimize.brentq(
        lambda t: np.maximum(v - t, 0).sum() - 1, v.min() - 2, v.max(), xtol=1e-14
    )
    return np.maximum(v - theta, 0)


def gradvac(J, order, target, beta):
    """Equations 2 and 3 of Wang et al., 2021: the update, and the next target."""
    target = target.copy()
    altered = J.copy()
    for i in range(len(J)):
        for j in order[i]:
            if j == i:
                continue
            length, other = np.linalg.norm(altered[i]), np.linalg.norm(J[j])
            phi = altered[i] @ J[j] / (length * other)
            aim = target[i, j]
            if phi < aim:
                factor = length * (
                    aim * np.sqrt(1 - phi**2) - phi * np.sqrt(1 - aim**2)
                )
                altered[i] = altered[i] + factor / (other * np.sqrt(1 - aim**2)) * J[j]
            target[i, j] = (1 - beta) * aim + beta * phi
    return altered.sum(axis=0), target


def metabalance(Js, target, relaxation, beta):
    """Algorithm 1 of He et al., 2022, and their code: the updates of all steps."""
    means, updates = np.zeros(len(Js[0])), []
    for J in Js:
        means = beta * means + (1 - beta) * np.linalg.norm(J, axis=1)
        balanced = J * (means[target] / means)[:, None]
        updates.append(np.sum(relaxation * balanced + (1 - relaxation) * J, axis=0))
    return updates


def gradnorm(Js, losses, alpha, learning_rate):
    """Algorithm 1 of Chen et al., 2018: the updates of all steps.

    The slope of the loss of the weights is taken by finite differences, with the
    target norms held fixed, and divided by the mean norm.
    """
    num_tasks = len(Js[0])
    w, updates = np.ones(num_tasks), []
    for J, loss in zip(Js, losses, strict=True):
        updates.append(w @ J)
        mean = np.mean([np.linalg.norm(w[i] * J[i]) for i in range(num_tasks)])
        ratio = loss / losses[0]
        aims = mean * (ratio / ratio.mean()) ** alpha

        def l_grad(w, J=J, aims=aims):
            return sum(
                abs(np.linalg.norm(w[i] * J[i]) - aims[i]) for i in range(len(J))
            )

        small = 1e-7
        slope = np.array(
            [
                (l_grad(w + small * e) - l_grad(w - small * e)) / (2 * small)
                for e in np.eye(num_tasks)
            ]
        )
        w = w - learning_rate * slope / mean
        w = num_tasks * w / w.sum()
    return updates


def db_mtl(J, losses):
    """Algorithm 1 of Lin et al., 2023, with β = 0: gradients of log(loss + 1e-8)."""
    logs = J / (losses + 1e-8)[:, None]
    lengths = np.linalg.norm(logs, axis=1)
    return sum(lengths.max() / lengths[k] * logs[k] for k in range(len(J)))


def krum(J, num_byzantine, num_selected):
    """Section 4 of Blanchard et al., 2017: the mean of those of the lowest scores."""
    scores = []
    for i in range(len(J)):
        distances = [np.sum((J[i] - J[j]) ** 2) for j in range(len(J)) if j != i]
        scores.append(sum(sorted(distances)[: len(J) - num_byzantine - 2]))
    return J[np.argsort(scores)[:num_selected]].mean(axis=0)


def sdmgrad(J, first, second, w, preference, regularization, steps, rate, momentum):
    """Algorithm 1 of Xiao et al., 2023, in the settings of their code.

    Returns the update with the gradients `J`, and `w`.
    """
    products = np.array([g @ h for g, h in zip(first, second, strict=True)])
    scale = np.mean(np.sqrt(np.maximum(products, 0)))
    velocity = np.zeros(len(w))
    for _ in range(steps):
        direction = (w + regularization * preference) @ second
        velocity = momentum * velocity + first @ direction / scale**2
        w = simplex_projection(w - rate * velocity)
    preferred = preference @ J
    return (w @ J + regularization * preferred) / (1 + regularization), w


def modo(J, first, second, w, gamma, rho):
    """Algorithm 1 of Chen et al., 2023: the update with the gradients `J`, and `w`."""
    w = simplex_projection(w - gamma * (first @ (second.T @ w) + rho * w))
    return w @ J, w
