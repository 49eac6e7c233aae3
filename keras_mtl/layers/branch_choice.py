"""The choice of one of several parents, learned by sampling."""

import keras
from keras import ops

from keras_mtl.utils.checks import check_count, check_positive
from keras_mtl.utils.random import uniform
from keras_mtl.utils.types import Tensor


@keras.saving.register_keras_serializable(package="keras_mtl")
class BranchChoice(keras.layers.Layer):
    """Goes on with the features of one of several parents.

    In training, with learned logits `θ` and fresh Gumbel noise `g` for every batch,

        x = Σ_j d_j h_j        d = softmax((θ + g) / τ)

    Otherwise, `x` is the `h_j` of the greatest `θ_j`. The temperature falls
    geometrically, over `steps` training steps, from `temperature` to
    `final_temperature`, and stays there.

    Args:
        temperature: Number above zero.
        final_temperature: Number above zero; `None` for `temperature`.
        steps: Number of training steps in which the temperature falls.
        seed: Integer seed of the noise.

    Call arguments:
        inputs: List of tensors of one shape, one per parent.

    Returns:
        Tensor of the shape of one input.

    Example:
    >>> choice = BranchChoice()
    >>> x = choice([ops.zeros((1, 2)), ops.ones((1, 2))])
    >>> choice.logits.assign([0.0, 1.0])
    <...>
    >>> choice.chosen()
    1

    Reference:
        - [Guo et al., 2020](https://arxiv.org/abs/2006.01895)
    """

    def __init__(
        self,
        temperature: float = 5.0,
        final_temperature: float | None = None,
        steps: int = 1000,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.temperature = check_positive("temperature", temperature)
        if final_temperature is not None:
            check_positive("final_temperature", final_temperature)
        self.final_temperature = final_temperature
        self.steps = check_count("steps", steps)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed, name=f"{self.name}_seed")

    def build(self, input_shape):
        self.logits = self.add_weight(
            name="logits",
            shape=(len(input_shape),),
            initializer="zeros",
            autocast=False,
        )
        self.step = self.add_weight(
            name="step",
            shape=(),
            initializer="zeros",
            dtype="int64",
            trainable=False,
            aggregation="only_first_replica",
        )

    def call(self, inputs: list[Tensor], training: bool | None = None) -> Tensor:
        if not training:
            return ops.take(ops.stack(inputs), ops.argmax(self.logits), axis=0)
        # Below 1 by so much that no logarithm is infinite.
        numbers = uniform(ops.arange(len(inputs)), self.seed_generator) + 2.0**-25
        noise = -ops.log(-ops.log(numbers))
        precise = keras.backend.result_type(self.logits.dtype, "float32")
        logits = ops.cast(self.logits, precise) + ops.cast(noise, precise)
        temperature = ops.cast(self.current_temperature(), precise)
        shares = ops.softmax(logits / temperature)
        self.step.assign_add(1)
        shares = ops.unstack(ops.cast(shares, inputs[0].dtype), len(inputs))
        return sum(share * x for share, x in zip(shares, inputs, strict=True))

    def current_temperature(self) -> Tensor:
        """The temperature of the next training step, a scalar."""
        done = ops.cast(self.step, "float32") / self.steps
        final = self.final_temperature or self.temperature
        ratio = final / self.temperature
        return self.temperature * ratio ** ops.minimum(done, 1.0)

    def chosen(self) -> int:
        """Index of the parent that is used outside of training."""
        return int(ops.convert_to_numpy(self.logits).argmax())

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[0])

    def compute_mask(self, inputs, previous_mask):
        return None if previous_mask is None else previous_mask[0]

    def get_config(self):
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "final_temperature": self.final_temperature,
            "steps": self.steps,
            "seed": self.seed,
        }
