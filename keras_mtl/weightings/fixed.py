"""Fixed weights: the sum of the losses."""

from keras import ops

from keras_mtl.weightings.weighting import LossWeighting, registry


@registry.register("fixed")
class Fixed(LossWeighting):
    """The sum of the losses; each counts by its `loss_weight`, as in Keras.

    Guarantee: A minimum of the sum is Pareto-optimal; points where the Pareto front
        is concave are out of reach, whatever the weights.

    Needs: Losses, and weights that someone tunes.

    Cost: One backward pass, no algebra, no state.

    When: Always the first thing to try; tuned weights are hard to beat. Not when
        losses of unknown scale leave no time for tuning.

    Example:
    >>> objective, _ = Fixed().objective(
    ...     ops.array([1.0, 2.0]), ops.array([True, True]), {}, {}, seed=None)
    >>> float(objective)
    3.0

    Reference:
        - [Xin et al., 2022](https://arxiv.org/abs/2209.11379), on how far tuned
          weights get.
    """

    def objective(self, losses, active, variables, state, seed):
        return ops.sum(losses), state
