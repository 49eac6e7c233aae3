"""Literal NumPy transcriptions of the methods that need the task gradients."""

import numpy as np


def graddrop(J, numbers, leak=None):
    """Algorithm 1 of Chen et al., 2020, on one example, for every scalar."""
    leak = np.zeros(len(J)) if leak is None else leak
    update = np.zeros(J.shape[1])
    for p in range(J.shape[1]):
        absolute = np.abs(J[:, p]).sum()
        if absolute == 0:
            continue
        purity = 0.5 * (1 + J[:, p].sum() / absolute)
        for i in range(len(J)):
            mask = 0.0
            if purity > numbers[p] and J[i, p] > 0:
                mask = 1.0
            if purity < numbers[p] and J[i, p] < 0:
                mask = 1.0
            update[p] += (leak[i] + (1 - leak[i]) * mask) * J[i, p]
    return update


def trimmed_mean(J, trim_number):
    """Definition 2 of Yin et al., 2018, one coordinate after the other."""
    update = np.zeros(J.shape[1])
    for p in range(J.shape[1]):
        entries = list(J[:, p])
        for _ in range(trim_number):
            entries.remove(max(entries))
            entries.remove(min(entries))
        update[p] = sum(entries) / len(entries)
    return update


def nearest_on_simplex(v):
    """By sorting, as in the authors' code of MoCo."""
    largest_first = np.sort(v)[::-1]
    theta = (v.sum() - 1) / len(v)
    total = 0.0
    for i in range(len(v) - 1):
        total += largest_first[i]
        if (total - 1) / (i + 1) > largest_first[i + 1]:
            theta = (total - 1) / (i + 1)
            break
    return np.maximum(v - theta, 0)


def softmax(v):
    powers = np.exp(v - v.max())
    return powers / powers.sum()


def moco(steps, beta, gamma, rho, projection):
    """Algorithm 1 of Fernando et al., 2023: the updates of successive steps."""
    project = {"simplex": nearest_on_simplex, "softmax": softmax}[projection]
    num_tasks = len(steps[0])
    Y, w, updates = np.zeros_like(steps[0]), np.full(num_tasks, 1 / num_tasks), []
    for J in steps:
        Y = Y - beta * (Y - J)
        w = project(w - gamma * (Y @ Y.T + rho * np.eye(num_tasks)) @ w)
        updates.append(Y.T @ w)
    return updates


def db_mtl(steps, losses, beta):
    """Algorithm 1 of Lin et al., 2023, of gradients `J` of the losses themselves."""
    average, updates = np.zeros_like(steps[0]), []
    for J in steps:
        of_logs = J / losses[:, None]
        average = beta * average + (1 - beta) * of_logs
        lengths = [np.linalg.norm(row) for row in average]
        unit = sum(row / d for row, d in zip(average, lengths, strict=True))
        updates.append(max(lengths) * unit)
    return updates


def excess_mtl(steps, eta):
    """Equations 6 to 9 of He et al., 2024, relative to the first excess risks."""
    num_tasks = len(steps[0])
    S, w, first = np.zeros_like(steps[0]), np.full(num_tasks, 1 / num_tasks), None
    updates = []
    for J in steps:
        S = S + J**2
        excess = np.array([g @ np.diag(s**-0.5) @ g for g, s in zip(J, S, strict=True)])
        first = excess if first is None else first
        w = w * np.exp(eta * excess / first)
        w = w / w.sum()
        updates.append(w @ J)
    return updates
