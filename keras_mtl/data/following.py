"""Pipelines that ask a callback which epoch it is, each time they are iterated."""

from collections.abc import Callable, Mapping

import keras
import tensorflow as tf

from keras_mtl.utils.types import Tensor


class EpochFollower(keras.callbacks.Callback):
    """A callback that knows the epoch, for the pipelines that it makes.

    It raises in an epoch in which no such pipeline was started: then the order of the
    examples would be wrong.

    Attributes:
        epoch: The epoch that `fit` is in.
        advice: Which data `fit` should get, for the message of the error.
    """

    advice = ""

    def __init__(self) -> None:
        super().__init__()
        self.epoch = 0
        self._read = True

    def on_epoch_begin(self, epoch: int, logs: Mapping | None = None) -> None:
        """Sets the epoch; `fit` makes the iterator of the epoch after this call."""
        self.epoch = epoch
        self._read = False

    def on_train_batch_begin(self, batch: int, logs: Mapping | None = None) -> None:
        """Checks, once the first batch was drawn, that this epoch's order was used."""
        if batch > 0 and not self._read:
            self._complain()

    def on_epoch_end(self, epoch: int, logs: Mapping | None = None) -> None:
        """Checks that this epoch's order was used, also if it had one batch only."""
        if not self._read:
            self._complain()

    def _complain(self):
        raise ValueError(
            "The training data do not follow the epochs: no pipeline of this "
            f"`{type(self).__name__}` was started since the epoch began. "
            f"{self.advice}, and put no `.cache()` or `.repeat()` after it. "
            f"Received: epoch={self.epoch}"
        )


def per_iterator(
    make: Callable[[], tf.data.Dataset],
    steps: int,
    transform: Callable[[Tensor], Tensor] | None = None,
) -> tf.data.Dataset:
    """A dataset whose beginning is run anew by every iterator.

    Args:
        make: Called in the graph, once per iterator, not when the dataset is built.
        steps: Number of elements.
        transform: Optional function of an element.
    """
    # The outer dataset of one element puts `make` into the pipeline.
    dataset = tf.data.Dataset.from_tensors(0).flat_map(lambda _: make())
    if transform is not None:
        dataset = dataset.map(
            transform, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps))
    options = tf.data.Options()
    # A warm start reads the epoch when the iterator is made, possibly before
    # `on_epoch_begin` has set it.
    options.experimental_warm_start = False
    # With counts that are read when the iterator starts (`skip`), this rewriting of the
    # graph crashes the process now and then (TensorFlow 2.21).
    options.experimental_optimization.noop_elimination = False
    # The buffer would go on to read the next pass, which may not be needed.
    options.experimental_optimization.shuffle_and_repeat_fusion = False
    return dataset.with_options(options)
