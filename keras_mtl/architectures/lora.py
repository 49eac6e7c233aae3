"""LoRA: low-rank changes of kernels per task, in a backbone that all tasks share."""

import inspect
from collections.abc import Sequence

import keras

from keras_mtl.architectures.architecture import registry
from keras_mtl.architectures.insertion import Insertion
from keras_mtl.layers import LowRankUpdate, WithUpdates
from keras_mtl.layers.low_rank import dense_layers, input_axes
from keras_mtl.utils.checks import check_count, check_positive


@registry.register("lora")
class LoRA(Insertion):
    """Every task adds a product of two narrow matrices to the shared kernels.

    Where the backbone computes `x W`, task `t` computes `x (W + alpha / rank * A_t
    B_t)`. The backbone's layers are shared, `A_t` and `B_t` are the task's own. `B_t`
    starts at zero, so that at first all tasks see what the plain backbone gives. From
    the first changed layer on there is one pass per task.

    Kernels of `Dense`, `EinsumDense` and plain convolutions are reached, also inside
    of a layer that holds them, such as the attention of a keras-hub transformer
    (`targets=("query", "value")`, as in the paper). Not reached are embeddings,
    recurrent cells, depthwise, separable and transposed convolutions, quantised
    kernels, kernels with Keras' own LoRA, and layers of other classes that make a
    kernel by themselves.

    The changed kernel is formed at every step, as with Keras' own LoRA: for each task
    and layer `rank` multiplications per entry of the kernel, which is little beside
    the layer itself where rows (examples times tokens) are many.

    Args:
        rank: Rank of the change.
        alpha: Number `> 0`; defaults to `rank`, a factor of 1.
        targets: Names of the layers whose kernels are changed: layers of the backbone
            (with all kernels inside of them), or dense layers inside of those.
            Defaults to all.

    Raises:
        ValueError: If the backbone has no such kernel, or a target names none.

    Example:
    >>> import keras_mtl as mtl
    >>> tasks = [mtl.Task(name, mtl.heads.Regression()) for name in ("a", "b")]
    >>> net = mtl.backbones.MLP(input_shape=(8,), units=(16, 16))
    >>> model = mtl.build_model(net, tasks, architecture=LoRA(rank=2))
    >>> model.get_layer("a_dense_1_lora").count_params()
    64

    Reference:
        - [Hu et al., 2021](https://arxiv.org/abs/2106.09685), equation 3.
    """

    def __init__(
        self,
        rank: int = 4,
        *,
        alpha: float | None = None,
        targets: Sequence[str] | None = None,
    ):
        self.rank = check_count("rank", rank)
        self.alpha = None if alpha is None else check_positive("alpha", alpha)
        self.targets = None if targets is None else list(targets)

    def inserter(self, backbone):
        changed = self._targeted(backbone)

        def insert(tower, task):
            for layer in changed:
                all_dense = dense_layers(layer.layer)
                dense = [all_dense[position] for position in layer.kernels]
                update = LowRankUpdate(
                    [tuple(part.kernel.shape) for part in dense],
                    [input_axes(part) for part in dense],
                    rank=self.rank,
                    alpha=self.alpha,
                    name=f"{task}_{layer.name}_lora",
                )
                tower.replace(layer.name, _changed_call(layer, update))

        return insert

    def _targeted(self, backbone):
        """The layers of the backbone that get updates, wrapped to take them."""
        found: list[WithUpdates] = []
        known: set[str] = set()
        wanted = set(self.targets or ())
        for layer in backbone.layers:
            names = [dense.name for dense in dense_layers(layer)]
            known.update(names, [layer.name] if names else [])
            everything = self.targets is None or layer.name in wanted
            kernels = [
                position
                for position, name in enumerate(names)
                if everything or name in wanted
            ]
            if kernels:
                found.append(WithUpdates(layer, kernels))
        if not found or wanted - known:
            raise ValueError(
                f"Expected `targets` to name layers of the backbone {backbone.name!r} "
                "with kernels of dense layers or plain convolutions, or dense layers "
                f"inside of them, some of {sorted(known)}. Received: "
                f"targets={self.targets}"
            )
        return found

    def get_config(self):
        return {"rank": self.rank, "alpha": self.alpha, "targets": self.targets}


def _changed_call(layer, update):
    """A call of the layer with the task's update, by the arguments of the layer."""
    signature = inspect.signature(layer.layer.call)

    def call(*args, **kwargs):
        given = dict(signature.bind(*args, **kwargs).arguments)
        inputs = given.pop(next(iter(given)))
        tensors = {k: v for k, v in given.items() if _tensors(v)}
        options = {k: v for k, v in given.items() if k not in tensors and v is not None}
        first = keras.tree.flatten(inputs)[0]
        return layer(
            inputs,
            updates=update(first),
            **({"tensors": tensors} if tensors else {}),
            **({"options": options} if options else {}),
        )

    return call


def _tensors(value):
    return any(
        isinstance(part, keras.KerasTensor) for part in keras.tree.flatten(value)
    )
