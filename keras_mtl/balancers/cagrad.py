"""CAGrad: the average gradient, bent towards the task that gains least."""

from keras import ops

from keras_mtl.balancers.balancer import Balancer, registry
from keras_mtl.linalg import simplex_minimum
from keras_mtl.utils.checks import check_choice, check_non_negative
from keras_mtl.utils.types import Tensor


def cagrad_weights(gram: Tensor, active: Tensor, c: float, rescale: int = 1) -> Tensor:
    """Task weights of conflict-averse gradient descent.

    With the mean gradient `g₀` and `φ = c² ‖g₀‖²`, the update is the best one for
    the worst-off task in a ball around `g₀`. Its dual, over the simplex,

        w = argmin of g_w · g₀ + √φ ‖g_w‖,        g_w = Σ wᵢ gᵢ

    gives the update `g₀ + (√φ / ‖g_w‖) g_w`, and so the task weights
    `1/K + (√φ / ‖g_w‖) w`, divided by `1 + c²` (`rescale=1`), by `1 + c` (`2`) or
    by nothing (`0`). Tasks whose gradient is zero bend nothing.

    Args:
        gram: Tensor of shape `(num_tasks, num_tasks)`.
        active: Boolean tensor of shape `(num_tasks,)`; means run over these.
        c: Radius of the ball as a share of `‖g₀‖`, `>= 0`.
        rescale: 0, 1 or 2.

    Returns:
        Tensor of shape `(num_tasks,)`.

    Cost: `O(num_tasks ** 4)`, and no pass over the variables.

    Example:
    >>> gram = ops.array([[1.0, 0.0], [0.0, 1.0]])
    >>> both = ops.array([True, True])
    >>> ops.convert_to_numpy(cagrad_weights(gram, both, c=0.5)).round(4)
    array([0.6, 0.6], dtype=float32)

    Reference:
        - [Liu et al., 2021](https://arxiv.org/abs/2110.14048), Algorithm 1; the
          rescaling is that of the authors' code.
    """
    mean = ops.cast(active, gram.dtype)
    mean = ops.divide_no_nan(mean, ops.sum(mean))
    inner = ops.matmul(gram, mean[:, None])[:, 0]
    mean_norm = ops.sqrt(ops.maximum(ops.sum(mean * inner), 0.0))
    bends = ops.logical_and(active, ops.diagonal(gram) > 0)
    w = simplex_minimum(gram, inner, c * mean_norm, bends)
    norm = ops.sqrt(ops.maximum(ops.sum(w * ops.matmul(gram, w[:, None])[:, 0]), 0.0))
    # At a Pareto-stationary point the norm is rounding noise: do not divide by it.
    largest = ops.sqrt(ops.max(ops.diagonal(gram)))
    safe = norm > 1e-6 * largest
    bend = ops.where(safe, c * mean_norm / ops.where(safe, norm, 1.0), 0.0)
    scale = {0: 1.0, 1: 1.0 + c**2, 2: 1.0 + c}[rescale]
    return (mean + bend * w) / scale


@registry.register("cagrad")
class CAGrad(Balancer):
    """The mean gradient, bent towards the task that gains least.

    Args:
        c: How far the update may leave the mean, as a share of its norm. The
            paper's runs use 0.4.
        rescale: 0, 1 or 2; see `cagrad_weights`.

    Guarantee: For `c < 1` and small steps it converges to a stationary point of the
        mean loss; for `c >= 1` its fixed points are Pareto-stationary.

    Needs: Gram matrix.

    Cost: One backward pass per task, `O(num_tasks ** 4)` algebra in float64, no
        state; the task gradients are in memory together.

    When: The mean loss is what counts, but some task stays behind on the way to it.
        With gradients that hardly conflict it only costs more than the mean.

    Example:
    >>> CAGrad(c=0.4).get_config()
    {'c': 0.4, 'rescale': 1}

    Reference:
        - [Liu et al., 2021](https://arxiv.org/abs/2110.14048), Algorithm 1.
    """

    def __init__(self, c: float = 0.5, rescale: int = 1):
        self.c = check_non_negative("c", c)
        self.rescale = check_choice("rescale", rescale, (0, 1, 2))

    def weights(self, gram, losses, active, state, seed):
        return cagrad_weights(gram, active, self.c, self.rescale), state

    def get_config(self):
        return {"c": self.c, "rescale": self.rescale}
