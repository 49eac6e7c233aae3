"""A batch of images with the labels that follow them, and the contract of changes."""

import dataclasses
from collections.abc import Callable, Sequence

import tensorflow as tf

from keras_mtl.data.augmentation.motion import Motion
from keras_mtl.data.augmentation.targets import Target
from keras_mtl.utils.checks import check_keys
from keras_mtl.utils.types import Tensor


@dataclasses.dataclass(frozen=True)
class Batch:
    """Images, their labels, and what kind of label each is.

    Attributes:
        image: Floating tensor of shape `(batch, height, width, channels)`.
        labels: Dict of tensors whose first axis is the batch.
        targets: Dict from the name of a label to its kind.
        fill: Value of pixels from outside of the image.
        mirrored_tasks: Pairs of names whose labels change places in mirrored images.
    """

    image: Tensor
    labels: dict[str, Tensor]
    targets: dict[str, Target]
    fill: float = 0.0
    mirrored_tasks: tuple[tuple[str, str], ...] = ()

    @property
    def size(self) -> Tensor:
        """Number of examples."""
        return tf.shape(self.image)[0]

    def moved(self, motion: Motion) -> "Batch":
        """Images and labels after a motion."""
        image = motion.sampled(self.image, "bilinear", self.fill)
        moved = self.changed(lambda target, value: target.moved(value, motion))
        labels = dict(moved.labels)
        for one, other in self.mirrored_tasks:
            for name, partner in ((one, other), (other, one)):
                labels[name] = _chosen(
                    motion.mirrored, moved.labels[partner], moved.labels[name]
                )
        return dataclasses.replace(moved, image=image, labels=labels)

    def changed(self, function: Callable[[Target, Tensor], Tensor]) -> "Batch":
        """The batch with labels `function(target, label)`."""
        labels = {
            name: function(self.targets[name], value)
            for name, value in self.labels.items()
        }
        return dataclasses.replace(self, labels=labels)

    def unlabelled(self, names: Sequence[str], where: Tensor) -> "Batch":
        """The batch without some examples' labels of the named tasks."""
        check_keys("unlabel", names, list(self.labels))
        labels = {
            name: self.targets[name].unlabelled(self.labels[name], where)
            for name in names
        }
        return dataclasses.replace(self, labels={**self.labels, **labels})

    def with_label(self, name: str, value: Tensor, target: Target) -> "Batch":
        """The batch with one more label.

        Raises:
            ValueError: If there is a label of this name.
        """
        if name in self.labels:
            raise ValueError(
                "Expected the name of a new label to be free. The batch has "
                f"{sorted(self.labels)}. Received: {name!r}"
            )
        return dataclasses.replace(
            self,
            labels={**self.labels, name: value},
            targets={**self.targets, name: target},
        )


class Transform:
    """A random change of a batch. Subclasses hold configuration only."""

    def apply(self, batch: Batch, seed: Tensor) -> Batch:
        """The changed batch.

        Args:
            batch: The batch.
            seed: Integer tensor of shape `(2,)`, for stateless generators.
        """
        raise NotImplementedError


def _chosen(where, one, other):
    """`tf.where` by example."""
    shape = [-1] + [1] * (one.shape.rank - 1)
    return tf.where(tf.reshape(where, shape), one, other)
