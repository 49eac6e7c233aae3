"""Learned task weights: those whose next step helps the other half of the batch."""

import numpy as np
from keras import ops

from keras_mtl.balancers.balancer import registry
from keras_mtl.balancers.preference import PreferenceBalancer, preference_shares
from keras_mtl.linalg import active_shares, simplex_projection, update_shares
from keras_mtl.utils.checks import check_positive
from keras_mtl.utils.types import Tensor


def validation_descent_shares(
    gram: Tensor,
    shares: Tensor,
    preference: Tensor,
    active: Tensor,
    learning_rate: float,
) -> Tensor:
    """Task weights after one step down the validation loss of one training step.

    A step of gradient descent on the first half of a batch, with the weights `w`,
    takes the variables `θ` to `θ' = θ - η J₁ᵀ w`. The validation loss is the preferred
    sum of the losses of the second half there, `V = Σ pⱼ Lⱼ(θ')`. By the chain rule

        ∂V / ∂wᵢ = -η gᵢ · Σⱼ pⱼ ∇Lⱼ(θ') ≈ -η (A p)ᵢ,        A = J₁ J₂ᵀ

    with the gradients of the second half taken at `θ`, which changes `∂V / ∂w` by
    `O(η²)` only. So `V` falls fastest along `a = A p`, within the simplex:

        w <- Π(w + γ a / max|aᵢ|)

    Args:
        gram: Tensor of shape `(num_tasks, num_tasks)`, `A`: row `i` holds the inner
            products of the gradient of task `i` on the first half with all gradients
            on the second one. Not symmetric.
        shares: Tensor of shape `(num_tasks,)`, on the simplex over active tasks.
        preference: Tensor of shape `(num_tasks,)`, `p`, likewise.
        active: Boolean tensor of shape `(num_tasks,)`.
        learning_rate: `γ`; no unit, and nothing else depends on `η`.

    Returns:
        Tensor of shape `(num_tasks,)`, on the simplex over active tasks.

    Cost: `O(num_tasks ** 2)`, and no pass over the variables.

    Example:
    >>> gram, both = ops.array([[2.0, 0.0], [0.0, 1.0]]), ops.array([True, True])
    >>> half = ops.array([0.5, 0.5])
    >>> w = validation_descent_shares(gram, half, half, both, learning_rate=0.1)
    >>> ops.convert_to_numpy(w).round(4)
    array([0.525, 0.475], dtype=float32)

    Reference:
        - [Ren et al., 2018](https://arxiv.org/abs/1803.09050), equations 4 to 7, for
          examples in the place of tasks.
    """
    slope = ops.matmul(gram, preference[:, None])[:, 0]
    slope = ops.where(active, slope, ops.zeros_like(slope))
    slope = ops.divide_no_nan(slope, ops.max(ops.abs(slope)))
    return simplex_projection(shares + learning_rate * slope, active)


@registry.register("validation_descent")
class ValidationDescent(PreferenceBalancer):
    """Weights learned on a validation half-batch, in the simplest one-step form.

    Half of each batch tells how a training step on the other half, with these task
    weights, changes the losses; the weights move to make that fall. They start equal
    and sum to the number of tasks; see `validation_descent_shares`.

    Args:
        learning_rate: Largest change of a task's share of the weights in a step.
        preference: Weights of the losses that shall fall, one per task; default:
            equal ones. `[1, 0]` makes the second task an auxiliary one.

    Guarantee: For a small enough learning rate of the model, the new weights make
        the validation loss after the step no higher than the old ones.

    Needs: Gram matrix between the gradients of two halves of each batch.

    Cost: Two backward passes per task and step, one for each half of the batch,
        `O(num_tasks ** 2)` operations, a state of `num_tasks` numbers.

    When: Auxiliary tasks of which it is not known whether they help: those that do not
        lose their weight, and get it back. Not for tasks that must all be learned,
        with equal preferences: the ones with the longest gradients take the weight.

    Example:
    >>> balancer = ValidationDescent(preference=[1.0, 0.0])
    >>> balancer.init_state(num_tasks=2)
    {'shares': array([0.5, 0.5])}

    Reference:
        - [Ren et al., 2018](https://arxiv.org/abs/1803.09050), section 3.2, for
          examples. Its weights are made afresh for each batch; here they are kept,
          move by steps of a size of their own, and the update uses the whole batch.
    """

    batch_parts = 2

    def __init__(self, learning_rate: float = 0.01, preference: list | None = None):
        self.learning_rate = check_positive("learning_rate", learning_rate)
        super().__init__(preference)

    def init_state(self, num_tasks):
        super().init_state(num_tasks)
        return {"shares": np.full(num_tasks, 1.0 / num_tasks)}

    def weights(self, gram, losses, active, state, seed):
        stored = ops.cast(state["shares"], gram.dtype)
        preference = preference_shares(self.preference, active, gram.dtype)
        shares = active_shares(stored, active)
        shares = validation_descent_shares(
            gram, shares, preference, active, self.learning_rate
        )
        count = ops.sum(ops.cast(active, gram.dtype))
        return count * shares, {"shares": update_shares(stored, shares, active)}

    def get_config(self):
        return {"learning_rate": self.learning_rate, **super().get_config()}
