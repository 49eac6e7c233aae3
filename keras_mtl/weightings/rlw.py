"""Random loss weighting: fresh weights at every step."""

from keras import ops

from keras_mtl.utils.random import normal
from keras_mtl.utils.types import Tensor
from keras_mtl.weightings.weighting import LossWeighting, registry, softmax


def rlw_weights(draws: Tensor, active: Tensor) -> Tensor:
    """Weights `K softmax(draws)` over the `K` active tasks.

    Args:
        draws: Tensor of shape `(num_tasks,)`, of normal numbers.
        active: Boolean tensor of shape `(num_tasks,)`.

    Returns:
        Tensor of shape `(num_tasks,)`.

    Example:
    >>> w = rlw_weights(ops.array([0.0, 1.0]), ops.array([True, True]))
    >>> ops.convert_to_numpy(w).round(4)
    array([0.5379, 1.4621], dtype=float32)

    Reference:
        - [Lin et al., 2022](https://arxiv.org/abs/2111.10603), section 3.
    """
    return ops.sum(ops.cast(active, draws.dtype)) * softmax(draws, active)


@registry.register("rlw")
class RLW(LossWeighting):
    """Draws the weights anew at every step: `K softmax` of normal numbers.

    Guarantee: The expected weight of every task is 1, so that the expected gradient
        is that of the sum of the losses.
    Needs: Losses and random numbers.
    Cost: One backward pass, `O(num_tasks)` more, no state.
    When: A baseline that every other method should beat; the noise may help to leave
        poor minima. Not for losses of very different sizes, which it leaves as they
        are.

    Example:
    >>> import keras
    >>> losses, both = ops.array([1.0, 1.0]), ops.array([True, True])
    >>> seed = keras.random.SeedGenerator(1)
    >>> objective, _ = RLW().objective(losses, both, {}, {}, seed)
    >>> round(float(objective), 4)
    2.0

    Reference:
        - [Lin et al., 2022](https://arxiv.org/abs/2111.10603), with the normal
          distribution. The paper's weights sum to 1; ours to the number of tasks,
          so that the learning rate of equal weights fits.
    """

    def objective(self, losses, active, variables, state, seed):
        draws = normal(ops.arange(losses.shape[0]), seed)
        weights = rlw_weights(ops.cast(draws, losses.dtype), active)
        return ops.sum(weights * losses), state
