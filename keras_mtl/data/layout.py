"""One structure for the examples of several data sets: what each of them lacks."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_mtl.task import MASK_SUFFIX
from keras_mtl.utils.types import Tensor

PRESENT_SUFFIX = "_present"
_BARE = ""  # The key of the input of a model with one input.

Part = tuple[str, str]  # ("x", name of an input) or ("y", label key)


@dataclasses.dataclass(frozen=True)
class Layout:
    """The parts of an example, over all data sets.

    Attributes:
        parts: Inputs, labels and label masks that a data set gives.
        specs: Shape and dtype of a part in one example.
        has: Which data set has which part, shape `(num_parts, num_sets)`.
        presence: Whether to say which inputs are there.
    """

    parts: tuple[Part, ...]
    specs: dict[Part, tf.TensorSpec]
    has: np.ndarray
    presence: bool

    @classmethod
    def of(cls, specs: dict[str, dict[Part, tf.TensorSpec]], presence: bool):
        """The layout of data sets whose examples have these parts, by name.

        Raises:
            ValueError: If two data sets do not fit together; both are named.
        """
        known: dict[Part, tf.TensorSpec] = {}
        giver: dict[Part, str] = {}
        first = next(iter(specs))
        for name, own in specs.items():
            if (("x", _BARE) in own) != (("x", _BARE) in specs[first]):
                raise ValueError(
                    f"Expected the inputs of the data sets {first!r} and {name!r} to "
                    "be both tensors, or both dicts by the name of the input. "
                    f"Received: {_names(specs[first])} and {_names(own)}"
                )
            for part, spec in own.items():
                if not spec.shape.is_fully_defined():
                    raise ValueError(
                        f"Expected {_described(part)} of data set {name!r} to have a "
                        f"known shape. Received: {spec}. Pad it, or set its shape"
                    )
                other = known.setdefault(part, spec)
                giver.setdefault(part, name)
                if other.shape != spec.shape or other.dtype != spec.dtype:
                    raise ValueError(
                        f"Expected {_described(part)} to have one shape and dtype in "
                        f"the data sets {giver[part]!r} and {name!r}. Received: "
                        f"{_shown(other)} and {_shown(spec)}. Convert one of them, or "
                        "give them different names"
                    )
        parts = tuple(known)
        has = np.array([[part in own for own in specs.values()] for part in parts])
        return cls(parts, known, has, presence)

    @property
    def absent_inputs(self) -> list[str]:
        """Names of the inputs that some data set lacks."""
        pairs = zip(self.parts, self.has, strict=True)
        return [key for (kind, key), has in pairs if kind == "x" and not has.all()]

    def label_keys(self, names: list[str]) -> dict[str, list[str]]:
        """The labels that each of the named data sets gives, masks left out."""
        labels = [
            (key, has)
            for (kind, key), has in zip(self.parts, self.has, strict=True)
            if kind == "y" and not self._is_mask(key)
        ]
        return {
            name: [key for key, has in labels if has[index]]
            for index, name in enumerate(names)
        }

    def example(self, values: dict[Part, Tensor], there: dict[Part, Tensor]) -> Any:
        """The pair `(x, y)` of one structure.

        Args:
            values: Every part, filled where it is absent.
            there: Whether it is there, boolean; with the batch axis, if there is one.
        """
        x: dict[str, Tensor] = {}
        y: dict[str, Tensor] = {}
        for (kind, key), has in zip(self.parts, self.has, strict=True):
            part = (kind, key)
            (x if kind == "x" else y)[key] = values[part]
            if kind == "x" and self.presence and not has.all():
                x[key + PRESENT_SUFFIX] = there[part]
            is_label = kind == "y" and not self._is_mask(key)
            masked = ("y", key + MASK_SUFFIX) in self.parts
            if is_label and not masked and not has.all():
                y[key + MASK_SUFFIX] = there[part]
        return x.get(_BARE, x), y

    def _is_mask(self, key):
        return key.endswith(MASK_SUFFIX) and (
            ("y", key.removesuffix(MASK_SUFFIX)) in self.parts
        )


def parts_of(name: str, example: Any) -> dict[Part, Any]:
    """The parts of an example (or of its specs, or of arrays) `(x, y)`.

    Args:
        name: Name of the data set: the label key of a `y` that is no dict.
        example: Pair of a tensor or a flat dict of inputs, and one of labels.

    Raises:
        ValueError: If it is no such pair.
    """
    pair = isinstance(example, tuple | list) and len(example) == 2
    parts: dict[Part, Any] = {}
    if pair:
        for kind, bare, values in zip("xy", (_BARE, name), example, strict=True):
            if not isinstance(values, Mapping):
                values = {bare: values}
            parts |= {(kind, key): value for key, value in values.items()}
    leaves = [tf.nest.is_nested(value) for value in parts.values()]
    if not pair or any(leaves) or not any(kind == "y" for kind, _ in parts):
        raise ValueError(
            f"Expected the examples of data set {name!r} to be pairs `(x, y)`, each a "
            "tensor or a dict of tensors: inputs by name, labels by task. "
            f"Received: {example!r}"
        )
    return parts


def with_masks(
    specs: dict[str, dict[Part, tf.TensorSpec]],
) -> dict[str, dict[Part, tf.TensorSpec]]:
    """The masks that data sets with a label must get, because another one has one."""
    every = {part: spec for own in specs.values() for part, spec in own.items()}
    missing: dict[str, dict[Part, tf.TensorSpec]] = {}
    for name, own in specs.items():
        masks = [(kind, key + MASK_SUFFIX) for kind, key in own if kind == "y"]
        missing[name] = {m: every[m] for m in masks if m in every and m not in own}
    return missing


def _described(part):
    kind, key = part
    if key == _BARE:
        return "the input"
    return f"the input {key!r}" if kind == "x" else f"the labels {key!r}"


def _shown(spec):
    return f"{spec.dtype.name} of shape {tuple(spec.shape)}"


def _names(own):
    inputs = sorted(key for kind, key in own if kind == "x")
    return "a tensor" if inputs == [_BARE] else f"a dict with {inputs}"
