"""Which labels are there: masks for partial labels."""

from typing import Any

from keras import ops

from keras_mtl.utils.types import Tensor


def label_mask(labels: Tensor, missing: Any = None, mask: Tensor | None = None):
    """Where `labels` are labels, or `None` if they can only all be.

    An entry is missing if it is `NaN`, equals `missing`, or `mask` is False there.

    Args:
        labels: Tensor of any shape whose first axis is the batch.
        missing: Optional value that means "not labelled".
        mask: Optional boolean tensor, of shape `(batch,)` or of the labels' shape.

    Returns:
        Boolean tensor of the labels' shape, or `None`.

    Example:
    >>> labels = ops.array([1.0, float("nan"), -1.0])
    >>> ops.convert_to_numpy(label_mask(labels, missing=-1))
    array([ True, False, False])
    """
    present = None
    if "float" in labels.dtype.name:
        present = ops.logical_not(ops.isnan(labels))
    if missing is not None:
        is_there = ops.not_equal(labels, ops.cast(missing, labels.dtype))
        present = is_there if present is None else ops.logical_and(present, is_there)
    if mask is not None:
        mask = ops.cast(mask, "bool")
        while len(mask.shape) < len(labels.shape):
            mask = ops.expand_dims(mask, -1)
        while len(mask.shape) > len(labels.shape) and mask.shape[-1] == 1:
            mask = ops.squeeze(mask, axis=-1)
        mask = ops.logical_and(mask, ops.ones_like(labels, dtype="bool"))
        present = mask if present is None else ops.logical_and(present, mask)
    return present
