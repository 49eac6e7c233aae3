"""A small batch of inputs for the record of an export."""

from typing import Any

import numpy as np
import tensorflow as tf

_ROWS = 4
_MAX_ROWS = 8
_SIZE_OF_OPEN_DIMENSIONS = 8
_SEED = 0
_TEXTS = ("", "a", "seven", "Straße", "a text of more than twenty-two bytes")


def random_inputs(specs: dict[str, tf.TensorSpec]) -> dict[str, np.ndarray]:
    """Random inputs, always the same for the same specifications.

    Args:
        specs: Dict from the name of an input to its `tf.TensorSpec`.

    Returns:
        Dict of arrays with 4 rows. Integers are 0 or 1, which every vocabulary
        has; floats are normal. A dimension of unknown size gets that of the inputs
        whose size is known on this axis, if they have one size (a mask of tokens, and
        the tokens), or 8.

    Example:
    >>> specs = {"x": tf.TensorSpec((None, 3), "float32")}
    >>> random_inputs(specs)["x"].shape
    (4, 3)
    """
    generator = np.random.default_rng(_SEED)
    known: dict[int, set[int]] = {}
    for spec in specs.values():
        for axis, size in enumerate(spec.shape.as_list()[1:]):
            known.setdefault(axis, set()).update(() if size is None else {size})
    open_sizes = {
        axis: sizes.pop() if len(sizes) == 1 else _SIZE_OF_OPEN_DIMENSIONS
        for axis, sizes in known.items()
    }
    return {name: _random(spec, open_sizes, generator) for name, spec in specs.items()}


def given_inputs(sample: Any, specs: dict[str, tf.TensorSpec]) -> dict[str, np.ndarray]:
    """The user's sample as a dict of arrays, 8 rows at most.

    Args:
        sample: Dict from the name of an input to an array; with one input the
            array alone will do.
        specs: Dict from the name of an input to its `tf.TensorSpec`.

    Raises:
        ValueError: If names, shapes or dtypes do not fit the model.
    """
    if not isinstance(sample, dict):
        if len(specs) != 1:
            raise ValueError(
                f"Expected `sample` to be a dict with the keys {sorted(specs)}. "
                f"Received: sample of type {type(sample).__name__}"
            )
        sample = {next(iter(specs)): sample}
    if set(sample) != set(specs):
        raise ValueError(
            f"Expected `sample` to have the keys {sorted(specs)}. "
            f"Received: {sorted(sample)}"
        )
    return {name: _given(name, sample[name], spec) for name, spec in specs.items()}


def _random(spec, open_sizes, generator):
    _, *sizes = spec.shape.as_list()
    sizes = [open_sizes[a] if size is None else size for a, size in enumerate(sizes)]
    shape = [_ROWS, *sizes]
    if spec.dtype == tf.string:
        texts = np.char.encode(np.array(_TEXTS), "utf-8")
        return texts[generator.integers(len(texts), size=shape)]
    dtype = spec.dtype.as_numpy_dtype
    if spec.dtype.is_integer or spec.dtype.is_bool:
        return generator.integers(2, size=shape).astype(dtype)
    return generator.normal(size=shape).astype(dtype)


def _given(name, value, spec):
    array = np.asarray(value)[:_MAX_ROWS]
    if spec.dtype == tf.string:
        texts = [t.encode() if isinstance(t, str) else t for t in array.ravel()]
        array = np.array(texts, dtype="S").reshape(array.shape)
    else:
        array = array.astype(spec.dtype.as_numpy_dtype)
    if not spec.shape.is_compatible_with(array.shape) or not array.size:
        raise ValueError(
            f"Expected `sample` to hold at least one row of shape {spec.shape} for "
            f"the input {name!r}. Received: shape={array.shape}"
        )
    return array
