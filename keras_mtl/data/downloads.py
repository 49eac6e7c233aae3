"""Lets a process download the file of a package, with a progress bar.

The process is pip's for a package of pip, apt's for one of Debian, and a line of Python
for one of npm, so that npm need not be installed.
"""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping

import tqdm

from keras_mtl.data.catalogue import Package

_POLL_SECONDS = 0.1


@dataclasses.dataclass(frozen=True)
class Index:
    """Where packages of one kind come from.

    Args:
        pin: What stands between a name and a version.
        address: Where a user finds or sets the address of the index.
        command: Function from a package and a folder to the command that leaves its
            file in the folder "out" there.
        advice: Another way to get a package; "{pin}" in it is name and version.
    """

    pin: str
    address: str
    command: Callable[[Package, pathlib.Path], list[str]]
    advice: str = ""


class DownloadError(OSError):
    """A process could not download a package.

    Attributes:
        status: Its exit status.
        words: What it wrote.
    """

    def __init__(self, status: int, words: str):
        super().__init__(words)
        self.status, self.words = status, words


def pin(package: Package) -> str:
    """Name and version, as the package's index writes them."""
    return f"{package.name}{INDEXES[package.index].pin}{package.version}"


def download_package(
    package: Package, stage: pathlib.Path, progress: bool
) -> pathlib.Path:
    """Downloads the file of a package below `stage`, an empty folder.

    Args:
        package: The `Package`.
        stage: Folder for this download alone.
        progress: Show a progress bar.

    Returns:
        Path of the file. Nothing about it was checked.

    Raises:
        DownloadError: If the process failed, or left no file or several.
    """
    out, temporary = stage / "out", stage / "tmp"
    out.mkdir()
    temporary.mkdir()
    log = stage / "log"
    with log.open("wb") as output, _bar(package, progress) as bar:
        process = subprocess.Popen(
            INDEXES[package.index].command(package, stage),
            cwd=out,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(temporary)},
        )
        try:
            while process.poll() is None:
                _advance(bar, min(_bytes_below(temporary, out), package.size))
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL_SECONDS)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        files = [path for path in out.iterdir() if path.is_file()]
        if process.returncode == 0 and len(files) == 1:
            _advance(bar, package.size)
            return files[0]
    raise DownloadError(process.returncode, log.read_text(errors="replace"))


def _pip_command(package, stage):
    requirements = stage / "requirements.txt"
    # With the digest in the requirement pip itself refuses another file, before it
    # would run anything of a source archive.
    requirements.write_text(f"{pin(package)} --hash=sha256:{package.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps"]
    command += ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    return [*command, "--dest", str(stage / "out"), "--requirement", str(requirements)]


def _npm_command(package, stage):
    registry = os.environ.get("NPM_CONFIG_REGISTRY", "https://registry.npmjs.org")
    url = f"{registry.rstrip('/')}/{package.name}/-/{package.filename}"
    code = "import sys, urllib.request as r; r.urlretrieve(*sys.argv[1:])"
    return [sys.executable, "-c", code, url, str(stage / "out" / package.filename)]


def _apt_command(package, stage):
    del stage  # apt writes where it runs
    words = "apt-get was not found: only Debian and its relatives have it"
    if shutil.which("apt-get") is None:
        return [sys.executable, "-c", f"import sys; sys.exit({words!r})"]
    return ["apt-get", "download", pin(package)]


INDEXES: Mapping[str, Index] = {
    "pip": Index(
        pin="==",
        address="`pip config list`",
        command=_pip_command,
        advice=" `pip install --no-deps {pin}` serves as well.",
    ),
    "npm": Index(
        pin="@",
        address="the environment variable NPM_CONFIG_REGISTRY, if set",
        command=_npm_command,
    ),
    "apt": Index(
        pin="=",
        address="`apt-get update`, /etc/apt/sources.list.d",
        command=_apt_command,
    ),
}


def _bytes_below(*folders):
    """Bytes of all files below the folders; pip may remove some while we look."""
    total = 0
    for folder in folders:
        for root, _, names in os.walk(folder):
            for name in names:
                with contextlib.suppress(OSError):
                    total += os.path.getsize(os.path.join(root, name))
    return total


@contextlib.contextmanager
def _bar(package, progress) -> Iterator[tqdm.tqdm]:
    with tqdm.tqdm(
        total=package.size,
        unit="B",
        unit_scale=True,
        desc=f"fetching {package.filename}",
        disable=not progress,
    ) as bar:
        yield bar


def _advance(bar, count):
    bar.update(max(0, count - bar.n))
