"""Literal transcriptions of papers, in NumPy."""

import numpy as np


def softmax(logits):
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


class FAMO:
    """Liu et al. (2023): Algorithm 1, with plain descent of the logits or Adam.

    `slopes` are those of the model's parameters: `gradients[i]` is that of loss `i`.
    """

    def __init__(self, num_tasks, rate=0.025, decay=1e-3, adam=True, minimum=0.0):
        self.xi = np.zeros(num_tasks)
        self.rate, self.decay, self.adam = rate, decay, adam
        self.minimum = minimum
        self.m, self.v, self.t = np.zeros(num_tasks), np.zeros(num_tasks), 0

    def task_weights(self, losses):
        z = softmax(self.xi)
        gaps = losses - self.minimum + 1e-8
        c = 1 / np.sum(z / gaps)
        return c * z / gaps

    def update(self, losses, new_losses):
        z = softmax(self.xi)
        jacobian = np.diag(z) - np.outer(z, z)  # of the softmax
        old, new = losses - self.minimum + 1e-8, new_losses - self.minimum + 1e-8
        delta = jacobian.T @ (np.log(old) - np.log(new)) + self.decay * self.xi
        if self.adam:
            self.t += 1
            self.m = 0.9 * self.m + 0.1 * delta
            self.v = 0.999 * self.v + 0.001 * delta**2
            m = self.m / (1 - 0.9**self.t)
            v = self.v / (1 - 0.999**self.t)
            delta = m / (np.sqrt(v) + 1e-8)
        self.xi = self.xi - self.rate * delta


def validation_loss_trend(losses, k):
    """He et al. (2017): weights from the last `2 k` validation losses, a row each."""
    pre_mean = np.mean(losses[-2 * k : -k], axis=0)
    cur_mean = np.mean(losses[-k:], axis=0)
    trend = np.abs(cur_mean - pre_mean) / cur_mean
    norm_trend = trend / np.mean(trend)
    norm_loss = cur_mean / np.mean(cur_mean)
    weights = norm_trend * norm_loss
    return weights / np.mean(weights)
