"""GradDrop: every coordinate keeps the gradients of one sign, drawn by their share."""

from keras import ops

from keras_mtl.balancers.balancer import JacobianBalancer, registry
from keras_mtl.utils.checks import check_share
from keras_mtl.utils.random import uniform
from keras_mtl.utils.types import Tensor


def graddrop_gradient(block: Tensor, leak: Tensor, numbers: Tensor) -> Tensor:
    """Combined gradient of GradDrop, coordinate by coordinate.

    With the purity `P = (1 + Σ gᵢ / Σ |gᵢ|) / 2`, the share of the positive entries,
    and a uniform number `U`, a coordinate keeps its positive entries where `P > U`,
    and its negative ones elsewhere; of what it drops, task `i` leaks `leakᵢ`:

        u = Σ (leakᵢ + (1 - leakᵢ) maskᵢ) gᵢ

    Args:
        block: Tensor of shape `(num_tasks, entries)`, the task gradients.
        leak: Tensor of shape `(num_tasks,)`, in `[0, 1]`.
        numbers: Tensor of shape `(entries,)`, uniform in `[0, 1)`.

    Returns:
        Tensor of shape `(entries,)`. With the same leak for all tasks its expected
        value is the sum of the task gradients.

    Cost: three passes over the block.

    Example:
    >>> block = ops.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
    >>> numbers = ops.array([0.7, 0.1, 0.9])
    >>> ops.convert_to_numpy(graddrop_gradient(block, ops.zeros(2), numbers))
    array([-4.,  2.,  2.], dtype=float32)

    Reference:
        - [Chen et al., 2020](https://arxiv.org/abs/2010.06808), Algorithm 1.
    """
    total = ops.sum(block, axis=0)
    purity = 0.5 + 0.5 * ops.divide_no_nan(total, ops.sum(ops.abs(block), axis=0))
    kept = (1.0 - leak)[:, None] * block
    positive = ops.sum(ops.maximum(kept, 0.0), axis=0)
    negative = ops.sum(ops.minimum(kept, 0.0), axis=0)
    leaked = ops.sum(leak[:, None] * block, axis=0)
    return leaked + ops.where(purity > numbers, positive, negative)


@registry.register("graddrop")
class GradDrop(JacobianBalancer):
    """Drops, at every coordinate, the task gradients of one sign at random.

    `u = Σ (leakᵢ + (1 - leakᵢ) maskᵢ) gᵢ`, where a coordinate keeps the positive
    entries with the probability `(1 + Σ gᵢ / Σ |gᵢ|) / 2`; see `graddrop_gradient`.

    Args:
        leak: Share of the dropped gradients that passes nevertheless, in `[0, 1]`:
            one number, or a list with one per task. The paper's default is 0; with 1
            nothing is dropped.

    Guarantee: The expected update is the sum of the task gradients (for equal leaks),
        and it vanishes for certain only where every task gradient is zero.

    Needs: Task gradients themselves, elementwise, and a seed.

    Cost: One backward pass per task and three passes over the Jacobian; one random
        number per shared weight, no state.

    When: Helps where tasks pull single weights in opposite directions and noise does
        no harm; not with few steps or small batches, where the noise it adds shows.

    Example:
    >>> from keras_mtl import balancers
    >>> balancers.get("graddrop").get_config()
    {'leak': 0.0}

    Reference:
        - [Chen et al., 2020](https://arxiv.org/abs/2010.06808), Algorithm 1, without
          its sum over the batch: the paper masks gradients of the activations of
          one layer, we mask those of the shared weights, as the PyTorch libraries do.
    """

    def __init__(self, leak: float | list[float] = 0.0):
        for value in leak if isinstance(leak, list | tuple) else [leak]:
            check_share("leak", value)
        self.leak = list(leak) if isinstance(leak, list | tuple) else leak

    def init_state(self, num_tasks, shapes):
        if isinstance(self.leak, list) and len(self.leak) != num_tasks:
            raise ValueError(
                f"Expected `leak` to hold one number for each of {num_tasks} tasks. "
                f"Received: leak={self.leak}"
            )
        return {}

    def combine(self, blocks, gram, losses, active, state, seed):
        leak = ops.convert_to_tensor(self.leak, dtype=gram.dtype)
        leak = ops.broadcast_to(leak, (gram.shape[0],))
        gradients = []
        for block in blocks:
            numbers = uniform(ops.arange(block.shape[1]), seed)
            numbers = ops.cast(numbers, block.dtype)
            gradients.append(graddrop_gradient(block, leak, numbers))
        return gradients, state

    def get_config(self):
        return {"leak": self.leak}
