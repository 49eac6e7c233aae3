"""Reads single files out of wheels, source archives and Debian packages."""

import contextlib
import io
import pathlib
import tarfile
import zipfile
from collections.abc import Callable, Iterator

_DEBIAN_START = b"!<arch>\n"
_DEBIAN_HEADER = 60  # bytes before every member


def read_archive(
    archive: pathlib.Path, choose: Callable[[list[str]], list[str]]
) -> dict[str, bytes]:
    """Reads some files of an archive.

    Args:
        archive: Path of a wheel or `.zip`, a `.tar.gz` or `.tgz`, or a `.deb`.
        choose: Function from the paths of all files to the paths of those to read.
            Paths of a `.tar.gz` or `.tgz` begin below its one outer folder.

    Returns:
        Dict from path to content.
    """
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            names = [name for name in opened.namelist() if not name.endswith("/")]
            return {path: opened.read(path) for path in choose(names)}
    with _tar(archive) as opened:
        members = {
            # One folder, NAME-VERSION (or "."), is around everything.
            member.name.split("/", 1)[-1]: member
            for member in opened.getmembers()
            if member.isfile()
        }
        found = {}
        for path in choose(list(members)):
            content = opened.extractfile(members[path])
            found[path] = content.read() if content else b""
        return found


@contextlib.contextmanager
def _tar(archive) -> Iterator[tarfile.TarFile]:
    with archive.open("rb") as file:
        if file.read(len(_DEBIAN_START)) == _DEBIAN_START:
            content = io.BytesIO(_member_of_debian(file, "data.tar"))
            with tarfile.open(fileobj=content) as opened:
                yield opened
            return
    with tarfile.open(archive) as opened:
        yield opened


def _member_of_debian(file, start):
    """Content of the first member whose name begins so; `file` is at the first one."""
    while len(header := file.read(_DEBIAN_HEADER)) == _DEBIAN_HEADER:
        size = int(header[48:58])
        if header[:16].decode("ascii").startswith(start):
            return file.read(size)
        file.seek(size + size % 2, io.SEEK_CUR)  # members begin at even places
    raise ValueError(
        f"Expected a Debian package with a member that is called {start!r} and a "
        f"suffix. Received: {file.name}, which has none"
    )
