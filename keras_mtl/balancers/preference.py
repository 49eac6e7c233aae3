"""How much tasks count to a balancer that takes a preference vector."""

from keras import ops

from keras_mtl.balancers.balancer import Balancer
from keras_mtl.linalg import active_shares
from keras_mtl.utils.checks import check_length, check_preference
from keras_mtl.utils.types import Tensor


class PreferenceBalancer(Balancer):
    """A balancer with a preference vector.

    Args:
        preference: List of one number `>= 0` per task, not all of them 0, or None for
            equal preferences. `compile` compares its length with the tasks.
    """

    def __init__(self, preference: list | None = None):
        self.preference = check_preference("preference", preference)

    def init_state(self, num_tasks):
        check_length("preference", self.preference, num_tasks)
        return {}

    def get_config(self):
        return {"preference": self.preference}


def preference_shares(preference: list | None, active: Tensor, dtype) -> Tensor:
    """Shares of the tasks, of sum 1 over the active ones.

    Only the ratios of the entries matter, so that a task which is not active leaves
    the others what they would have without it.

    Args:
        preference: List of `num_tasks` non-negative numbers, or None for equal
            shares.
        active: Boolean tensor of shape `(num_tasks,)`.
        dtype: Of the result.

    Returns:
        Tensor of shape `(num_tasks,)`; equal shares where no active task is preferred.

    Example:
    >>> active = ops.array([True, True, False])
    >>> ops.convert_to_numpy(preference_shares([1, 3, 4], active, "float32"))
    array([0.25, 0.75, 0.  ], dtype=float32)
    """
    wanted = preference or [1.0] * active.shape[0]
    return active_shares(ops.convert_to_tensor(wanted, dtype), active)
