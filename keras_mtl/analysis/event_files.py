"""Reading TensorBoard's event files strictly: damage is an error, not silence."""

import os
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

# A record is its length (8 bytes), a checksum (4), the data, and a checksum (4).
_HEADER = struct.Struct("<QI")
_OVERHEAD = _HEADER.size + 4


def event_files(directory: str) -> list[str]:
    """The event files in a directory, oldest first (their names hold the time)."""
    if not os.path.isdir(directory):
        return []
    names = sorted(name for name in os.listdir(directory) if ".tfevents." in name)
    return [os.path.join(directory, name) for name in names]


def read_scalars(directory: str) -> dict[str, dict[int, float]]:
    """All scalars in the event files of a directory.

    A run that was killed and resumed has several files. A tag that a later file
    starts again at a step replaces what the earlier files have from that step on,
    so that nothing is left of the part that was done twice.

    Args:
        directory: Directory of the files.

    Returns:
        Dict from tag, in the order of the file, to a dict from step to value.

    Raises:
        ValueError: If a file is damaged; the message names it. A file that merely
            ends within a record, as a killed process leaves it, is not damaged.
    """
    scalars: dict[str, dict[int, float]] = {}
    for path in event_files(directory):
        seen = set()
        for tag, step, value in _file_scalars(path):
            values = scalars.setdefault(tag, {})
            if tag not in seen:
                seen.add(tag)
                for later in [known for known in values if known >= step]:
                    del values[later]
            values[step] = value
    return scalars


def _file_scalars(path: str) -> Iterator[tuple[str, int, float]]:
    from tensorboard.util import tensor_util

    for event in _events(path):
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name == "scalars":
                array = np.asarray(tensor_util.make_ndarray(value.tensor))
                yield value.tag, event.step, float(array.reshape(()))


def _events(path: str) -> Iterator[Any]:
    """The events of one file.

    TensorBoard's own loader gives up without a word at the first bad record, as it
    does at the end of a file, hence the look at what comes after the last good one.
    """
    from google.protobuf.message import DecodeError
    from tensorboard.backend.event_processing.event_file_loader import (
        RawEventFileLoader,
    )
    from tensorboard.compat.proto.event_pb2 import Event

    position = 0
    for record in RawEventFileLoader(path).Load():
        try:
            yield Event.FromString(record)
        except DecodeError as error:
            raise _damaged(path, position) from error
        position += len(record) + _OVERHEAD
    if not _ends_at(path, position):
        raise _damaged(path, position)


def _ends_at(path: str, position: int) -> bool:
    """Whether nothing, or only the beginning of a record, follows `position`."""
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    with open(path, "rb") as file:
        left = file.seek(0, os.SEEK_END) - position
        file.seek(position)
        header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return True
    length, checksum = _HEADER.unpack(header)
    return masked_crc32c(header[:8]) == checksum and left < length + _OVERHEAD


def _damaged(path: str, position: int) -> ValueError:
    return ValueError(
        f"Expected a TensorBoard event file, but {path!r} is damaged from byte "
        f"{position} on. Restore it, or move it out of the run's directory to read "
        "the rest"
    )
