"""How the step applies a gradient balancer."""

import dataclasses

import keras

from keras_mtl.utils.checks import check_choice, check_count


@keras.saving.register_keras_serializable(package="keras_mtl")
@dataclasses.dataclass(frozen=True, kw_only=True)
class BalancingOptions:
    """Options of `compile(balancing=…)`, the same for every balancer.

    Args:
        every: Task weights are computed at every n-th step and reused in between,
            at the cost of one backward pass.
        start_after: Number of steps before the first balancing step; until then
            all task weights are 1.
        scope: What the balancer compares. `"parameters"`: the task gradients on all
            shared variables. `"features"`: those on the features that all tasks
            share, which costs one backward pass through the shared part, whatever
            the number of tasks; an approximation (the norms are those of the
            features' gradients, as in MGDA-UB). `"layers"`: every shared layer is
            balanced on its own. A dict from a group's name to a list of layer names
            does so by groups of layers; the other shared layers are one more group.
        head_gradients: `"task"`: the variables of one task get the gradient of its
            loss. `"balanced"`: that gradient times the task weight.
        scale: `"paper"`: task weights as the method gives them. `"sum"`: rescaled
            to the sum `K` over `K` active tasks, as equal weights have it, so that
            methods can be compared at one learning rate. `"mean"`: to the sum 1.
            Where the sum is not positive the paper's weights stay.
        on_nonfinite: What happens when a task's loss or gradient is not finite, or a
            label is out of the range of its head (a class index of 9 for 4 classes).
            `"skip"`: the task is left out of that step and counted in
            `model.balancing_state["nonfinite"]`. `"raise"`: so, and training stops
            after the step with an error that names the task. Applies without a
            balancer too.
        engine: How the task gradients are made; the numbers are the same up to
            rounding. `"unrolled"`: one backward pass after the other. `"auto"`: so,
            but on one replica all tasks pass the shared `Dense` layers of matrices
            together, and where the batch is small beside the layer their kernels'
            gradients are never formed: the Gram matrix comes from the inputs and
            the gradients at the outputs of the layer.

    Example:
    >>> BalancingOptions(every=10).every
    10

    Reference:
        - [Sener & Koltun, 2018](https://arxiv.org/abs/1810.04650), section 3.3, for
          `scope="features"`.
    """

    every: int = 1
    start_after: int = 0
    scope: str | dict[str, list[str]] = "parameters"
    head_gradients: str = "task"
    scale: str = "paper"
    on_nonfinite: str = "skip"
    engine: str = "auto"

    def __post_init__(self):
        check_count("every", self.every)
        check_count("start_after", self.start_after, 0)
        if not isinstance(self.scope, dict):
            check_choice("scope", self.scope, ("parameters", "features", "layers"))
        elif not _lists_of_names(self.scope):
            raise ValueError(
                "Expected `scope` to be 'parameters', 'features', 'layers' or a dict "
                "from names of groups to lists of names of layers. "
                f"Received: scope={self.scope!r}"
            )
        check_choice("head_gradients", self.head_gradients, ("task", "balanced"))
        check_choice("scale", self.scale, ("paper", "sum", "mean"))
        check_choice("on_nonfinite", self.on_nonfinite, ("skip", "raise"))
        check_choice("engine", self.engine, ("auto", "unrolled"))

    def next_balancing(self, step: int) -> int:
        """The first step, from `step` on, that computes task weights.

        Example:
        >>> BalancingOptions(every=10, start_after=3).next_balancing(5)
        13
        """
        since = max(step - self.start_after, 0)
        return self.start_after + -(-since // self.every) * self.every

    def get_config(self) -> dict:
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict) -> "BalancingOptions":
        return cls(**config)


def _lists_of_names(groups):
    return bool(groups) and all(
        isinstance(names, list | tuple)
        and names
        and all(isinstance(n, str) for n in names)
        for names in groups.values()
    )
