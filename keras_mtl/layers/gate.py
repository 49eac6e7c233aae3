"""Gates: how much a task takes of every expert."""

import math

import keras
from keras import ops

from keras_mtl.utils.checks import check_count, check_non_negative, check_positive
from keras_mtl.utils.types import Tensor


def in_single(tensor: Tensor) -> Tensor:
    """The tensor in float32 or better: weights in half precision do not sum to 1."""
    return ops.cast(tensor, keras.backend.result_type(tensor.dtype, "float32"))


def softmax(logits: Tensor) -> Tensor:
    """Softmax over the last axis, which may have one entry: Keras' own warns then."""
    if logits.shape[-1] == 1:
        return ops.exp(ops.log_softmax(logits))
    return ops.softmax(logits)


@keras.saving.register_keras_serializable(package="keras_mtl")
class Gate(keras.layers.Layer):
    """Weights of experts, by the softmax of a linear layer without bias.

        weights = softmax(inputs @ kernel)

    Args:
        num_experts: Integer, number of experts.

    Call arguments:
        inputs: Tensor of shape `(batch, ..., width)`.

    Returns:
        Tensor of shape `(batch, ..., num_experts)`, positive, with sums of 1.

    Example:
    >>> weights = Gate(4)(ops.zeros((2, 5)))
    >>> ops.convert_to_numpy(weights)[0].tolist()
    [0.25, 0.25, 0.25, 0.25]

    Reference:
        - [Ma et al., 2018](https://doi.org/10.1145/3219819.3220007), section 4.2.
    """

    def __init__(self, num_experts: int, **kwargs):
        super().__init__(**kwargs)
        self.num_experts = check_count("num_experts", num_experts)
        self.supports_masking = True

    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel", shape=(input_shape[-1], self.num_experts)
        )

    def call(self, inputs: Tensor) -> Tensor:
        weights = softmax(in_single(ops.matmul(inputs, self.kernel)))
        return ops.cast(weights, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.num_experts)

    def get_config(self):
        return {**super().get_config(), "num_experts": self.num_experts}


@keras.saving.register_keras_serializable(package="keras_mtl")
class DSelectKGate(keras.layers.Layer):
    """Weights of which at most `num_selected` are not zero, by smooth selectors.

    Each of the `num_selected` selectors writes the number of an expert in binary.
    With the smooth step `S`, bit `b` of selector `i` is set with the share
    `s_ib = S(codes_ib)`, expert `j` is selected with the share

        r_ij = Π_b (s_ib if bit b of j is set else 1 - s_ib)

    and `weights = Σ_i softmax(scales)_i r_i`. `S` rises from 0 to 1 within
    `[-gamma / 2, gamma / 2]` and is flat outside, so selectors become exact. The
    loss `entropy_weight * Σ_i H(r_i)`, averaged over the batch, leads them there;
    it is added in training and in evaluation.

    Where `num_experts` is no power of two, codes beyond the last expert count from
    the first one again, so the weights always sum to 1. (The authors' code leaves
    such codes out and adds a loss that is infinite where a selector chose one.)

    Args:
        num_experts: Integer, at least 2.
        num_selected: Integer, number of selectors, at most `num_experts`.
        gamma: Positive number, width of the smooth step.
        entropy_weight: Number `>= 0`, factor of the entropy.
        per_example: Whether codes and scales are linear in the inputs, or
            variables that count for all examples alike.

    Call arguments:
        inputs: Tensor of shape `(batch, ..., width)`.

    Returns:
        Tensor of shape `(batch, ..., num_experts)`, with sums of 1.

    Raises:
        ValueError: If more experts are selected than there are.

    Example:
    >>> gate = DSelectKGate(8, num_selected=2)
    >>> weights = ops.convert_to_numpy(gate(ops.ones((2, 5))))
    >>> weights.shape, weights.sum(axis=1).round(5).tolist()
    ((2, 8), [1.0, 1.0])

    Reference:
        - [Hazimeh et al., 2021](https://arxiv.org/abs/2106.03760), section 3. The
          authors' code sums the entropy over the batch.
    """

    def __init__(
        self,
        num_experts: int,
        num_selected: int = 2,
        *,
        gamma: float = 1.0,
        entropy_weight: float = 0.01,
        per_example: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_experts = check_count("num_experts", num_experts, 2)
        self.num_selected = check_selected(num_selected, num_experts)
        self.gamma = check_positive("gamma", gamma)
        self.entropy_weight = check_non_negative("entropy_weight", entropy_weight)
        self.per_example = per_example
        self.supports_masking = True
        self._num_bits = math.ceil(math.log2(num_experts))

    def build(self, input_shape):
        numbers = self.num_selected * (self._num_bits + 1)
        # Near the middle of the step, where its slope is largest.
        small = keras.initializers.RandomUniform(-self.gamma / 100, self.gamma / 100)
        if self.per_example:
            self.kernel = self.add_weight(
                name="kernel", shape=(input_shape[-1], numbers), initializer=small
            )
        self.bias = self.add_weight(name="bias", shape=(numbers,), initializer=small)

    def call(self, inputs: Tensor) -> Tensor:
        if self.per_example:
            numbers = ops.add(ops.matmul(inputs, self.kernel), self.bias)
        else:
            numbers = ops.add(ops.zeros_like(inputs[..., :1]), self.bias)
        numbers = in_single(numbers)
        scales = numbers[..., : self.num_selected]
        codes = numbers[..., self.num_selected :]
        shape = (*ops.shape(codes)[:-1], self.num_selected, self._num_bits)
        shares = self._shares(ops.reshape(codes, shape))
        if self.entropy_weight:
            logs = ops.log(ops.maximum(shares, keras.config.epsilon()))
            entropy = -ops.sum(shares * logs, axis=(-2, -1))
            self.add_loss(self.entropy_weight * ops.mean(entropy))
        scales = ops.expand_dims(softmax(scales), -1)
        return ops.cast(ops.sum(scales * shares, axis=-2), self.compute_dtype)

    def _shares(self, codes):
        """`r` of shape `(..., num_selected, num_experts)`."""
        t = ops.clip(codes / self.gamma, -0.5, 0.5)
        steps = -2.0 * t * t * t + 1.5 * t + 0.5
        shares = ops.ones_like(codes[..., :1])
        for bit in range(self._num_bits):
            step = steps[..., bit : bit + 1]
            shares = ops.concatenate([shares * (1.0 - step), shares * step], -1)
        first, rest = shares[..., : self.num_experts], shares[..., self.num_experts :]
        left = 2 * self.num_experts - 2**self._num_bits
        if left == self.num_experts:
            return first
        return first + ops.concatenate([rest, ops.zeros_like(first[..., :left])], -1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.num_experts)

    def get_config(self):
        return {
            **super().get_config(),
            "num_experts": self.num_experts,
            "num_selected": self.num_selected,
            "gamma": self.gamma,
            "entropy_weight": self.entropy_weight,
            "per_example": self.per_example,
        }


def check_selected(num_selected: int, num_experts: int) -> int:
    """Returns `num_selected`, an integer from 1 to `num_experts`."""
    check_count("num_selected", num_selected)
    if num_selected > num_experts:
        raise ValueError(
            "Expected `num_selected` to be at most `num_experts`. "
            f"Received: num_selected={num_selected}, num_experts={num_experts}"
        )
    return num_selected
