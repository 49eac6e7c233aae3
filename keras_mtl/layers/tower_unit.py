"""The contract of a layer that stands between the towers of several tasks."""

import keras

from keras_mtl.utils.checks import check_count


class TowerUnit(keras.layers.Layer):
    """Makes, from the features of all towers, those with which one tower goes on.

    Args:
        task: Index of the tower that goes on.

    Call arguments:
        inputs: List of tensors of one shape `(batch, …, channels)`, one per tower.

    Returns:
        Tensor of the shape of one input, with the mask of the tower's own.
    """

    def __init__(self, task: int, **kwargs):
        super().__init__(**kwargs)
        self.task = check_count("task", task, 0)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[self.task])

    def compute_mask(self, inputs, previous_mask):
        return None if previous_mask is None else previous_mask[self.task]

    def get_config(self):
        return {**super().get_config(), "task": self.task}


def own_and_others(own: float, num_others: int) -> tuple[float, float]:
    """The share of the own part, and what is left for each of the others."""
    return own, (1.0 - own) / num_others if num_others else 0.0
