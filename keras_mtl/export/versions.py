"""Numbered version folders, as TensorFlow Serving polls them."""

import errno
import os
import shutil
import uuid
from collections.abc import Callable

from keras_mtl.utils.checks import check_count

_TEMPORARY_PREFIX = ".export-"
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)


def list_versions(directory: str | os.PathLike[str]) -> list[int]:
    """Versions in `directory`, the oldest first; empty if it does not exist.

    Example:
    >>> list_versions("no/such/folder")
    []
    """
    directory = os.fspath(directory)
    if not os.path.isdir(directory):
        return []
    return sorted(
        int(entry.name)
        for entry in os.scandir(directory)
        if entry.is_dir() and _is_version(entry.name)
    )


def version_folder(directory: str | os.PathLike, version: int | None = None) -> str:
    """Folder of a version of an exported model.

    Args:
        directory: Folder of numbered versions, or the folder of one version.
        version: Number of the version. Defaults to the newest.

    Returns:
        A path.

    Raises:
        ValueError: If there is no such version.
    """
    directory = os.fspath(directory)
    if version is None and os.path.isfile(os.path.join(directory, "saved_model.pb")):
        return directory
    versions = list_versions(directory)
    wanted = versions[-1] if version is None and versions else version
    if wanted not in versions:
        raise ValueError(
            "Expected `directory` to hold an exported model, as "
            "`<directory>/<version>/saved_model.pb`. "
            f"Received: directory={directory!r}, version={version}, "
            f"where the versions are {versions}"
        )
    return os.path.join(directory, str(wanted))


def write_version(
    directory: str | os.PathLike,
    write: Callable[[str], None],
    *,
    version: int | None = None,
) -> str:
    """Makes a new version folder that appears complete or not at all.

    A server polls `directory` for numbers while we write, so the files go to a
    sibling with a leading dot, which is renamed at the end.

    Args:
        directory: Folder of numbered versions; made if need be.
        write: Function of the temporary folder that fills it.
        version: Integer `>= 1`. Defaults to one above the newest.

    Returns:
        Path of the new version folder.

    Raises:
        ValueError: If the version exists.
        OSError: If the folder cannot be written. Versions that were there stay
            as they are, and no temporary folder is left.

    Example:
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_version(folder, lambda new: None)
    ...     os.path.relpath(path, folder)
    '1'
    """
    directory = os.fspath(directory)
    if version is not None:
        check_count("version", version)
        _check_free(directory, version)
    temporary = os.path.join(directory, _TEMPORARY_PREFIX + uuid.uuid4().hex)
    try:
        # Not `tempfile.mkdtemp`: its mode 0700 would hide the model from a server
        # that runs as another user.
        os.makedirs(temporary)
        write(temporary)
        return _publish(temporary, directory, version)
    except OSError as error:
        message = (
            f"Cannot write an exported model: {error.strerror or error}. Versions "
            "that were there before are unchanged. Expected `directory` to be a "
            "folder that can be written, with enough room. "
            f"Received: directory={directory!r}"
        )
        # With a number Python picks the subclass, such as `PermissionError`.
        known = error.errno is not None
        raise (OSError(error.errno, message) if known else OSError(message)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _publish(temporary, directory, version):
    while True:
        number = version or max(list_versions(directory), default=0) + 1
        path = os.path.join(directory, str(number))
        try:
            os.rename(temporary, path)
            return path
        except OSError as error:
            if error.errno not in _TAKEN or not os.path.isdir(path):
                raise
            # Another process was faster: take the next number.
            if version is not None:
                _check_free(directory, version)


def _check_free(directory, version):
    if os.path.lexists(os.path.join(directory, str(version))):
        raise ValueError(
            "Expected `version` to be a number that is not in use. "
            f"Received: version={version}, directory={directory!r}. Leave "
            "`version` out to take the next one"
        )


def _is_version(name):
    return name.isascii() and name.isdigit() and str(int(name)) == name
