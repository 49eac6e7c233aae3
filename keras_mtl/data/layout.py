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
        return [
            part[1]
            for part, has in zip(self.parts, self.has, strict=True)
            if part[0] == "x" and not has.all() and not self._is_flag(part)
        ]

    def label_keys(self, names: list[str]) -> dict[str, list[str]]:
        """The labels that each of the named data sets gives, masks left out."""
        labels = [
            (part[1], has)
            for part, has in zip(self.parts, self.has, strict=True)
            if part[0] == "y" and not self._is_flag(part)
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
        given: dict[str, dict[str, Tensor]] = {"x": {}, "y": {}}
        for part, has in zip(self.parts, self.has, strict=True):
            kind, key = part
            given[kind][key] = values[part]
            flag = _flag_of(part)
            said = has.all() or flag in self.parts or self._is_flag(part)
            if not said and (kind == "y" or self.presence):
                given[kind][flag[1]] = there[part]
        x, y = given["x"], given["y"]
        return x.get(_BARE, x), y

    def _is_flag(self, part):
        return any(part == _flag_of(other) for other in self.parts)


def _flag_of(part):
    """The part that says where another one is there."""
    kind, key = part
    return kind, key + (PRESENT_SUFFIX if kind == "x" else MASK_SUFFIX)


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


def missing_flags(
    specs: dict[str, dict[Part, tf.TensorSpec]],
) -> dict[str, dict[Part, tf.TensorSpec]]:
    """The masks of labels, and flags of inputs, that data sets do not give.

    Those that another one gives: what has the label or input itself must get them.
    """
    every = {part: spec for own in specs.values() for part, spec in own.items()}
    missing: dict[str, dict[Part, tf.TensorSpec]] = {}
    for name, own in specs.items():
        flags = [_flag_of(part) for part in own]
        missing[name] = {f: every[f] for f in flags if f in every and f not in own}
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
