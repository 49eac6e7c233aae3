"""Imports compiled modules that packages ship, without installing the packages.

An installed copy of the right version is imported where it lies. Otherwise the module
is taken out of the pinned archive into the cache folder, and loaded from there once its
sha256 is right.
"""

import functools
import importlib.machinery
import importlib.util
import os
import pathlib
import sys
from types import ModuleType

from keras_mtl.data import fetcher
from keras_mtl.data.catalogue import Package
from keras_mtl.data.unpacking import is_whole, write_whole


def load_extension(
    package: str | Package,
    module: str,
    *,
    cache_dir: str | os.PathLike | None = None,
    progress: bool = True,
) -> ModuleType:
    """Imports a compiled module of a package.

    Args:
        package: Name or `Package`.
        module: Name of the module, which lies at the top of the package.
        cache_dir: Cache folder; `cache_folder()` when `None`.
        progress: Show a progress bar if the package has to be downloaded.

    Returns:
        The module. Unless the package is installed, `import` does not find it.

    Raises:
        ValueError: If the package is not known to ship such a module.
        ChecksumError: If the module is not the one the package is known to ship.
        FetchError: If the package could not be downloaded, is compiled for another
            machine, or the system cannot load it.

    Example (downloads 103 MB if pybullet is neither installed nor cached):

    ```python
    pybullet = load_extension("pybullet", "pybullet")
    ```
    """
    package = fetcher.get_package(package)
    if fetcher.state(package, cache_dir=cache_dir) == "installed":
        return importlib.import_module(module)
    paths = [path for path in package.modules if path.split(".")[0] == module]
    if not paths:
        known = sorted(path.split(".")[0] for path in package.modules)
        raise ValueError(
            f"Expected `module` to be one of {known}, the compiled modules of "
            f"{package.name} {package.version}. Received: module={module!r}"
        )
    fetcher.check_machine(package)
    folder = pathlib.Path(cache_dir or fetcher.cache_folder())
    target = folder / f"{package.name}-{package.version}" / paths[0]
    if not is_whole(target, package.modules[paths[0]]):
        content = fetcher.open_file(
            package, paths[0], cache_dir=cache_dir, progress=progress
        )
        write_whole(target, content.getbuffer())
    try:
        return _loaded(module, str(target.resolve()))
    except ImportError as error:
        raise fetcher.FetchError(
            f"The system cannot load {target}: {error}. It belongs to {package.name} "
            f"{package.version}. Install it, which compiles it if need be: `pip "
            f"install {package.name}=={package.version}`"
        ) from error


@functools.cache
def _loaded(module, path):
    # Modules of the old kind enter themselves in `sys.modules`, where another version
    # may be or may be looked for.
    before = sys.modules.get(module)
    loader = importlib.machinery.ExtensionFileLoader(module, path)
    spec = importlib.util.spec_from_file_location(module, path, loader=loader)
    if spec is None:
        raise ImportError(f"No module {module!r} in {path}")
    loaded = importlib.util.module_from_spec(spec)
    loader.exec_module(loaded)
    sys.modules.pop(module, None)
    if before is not None:
        sys.modules[module] = before
    return loaded
