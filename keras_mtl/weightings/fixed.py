"""Fixed weights: the sum of the losses."""

from keras import ops

from keras_mtl.weightings.weighting import LossWeighting, registry


@registry.register("fixed")
class Fixed(LossWeighting):
    """The sum of the losses; each counts by its `loss_weight`, as in Keras.

    Example:
    >>> objective, _ = Fixed().objective(
    ...     ops.array([1.0, 2.0]), ops.array([True, True]), {}, {}, seed=None)
    >>> float(objective)
    3.0
    """

    def objective(self, losses, active, variables, state, seed):
        return ops.sum(losses), state
