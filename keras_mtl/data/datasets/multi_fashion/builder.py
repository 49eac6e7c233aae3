"""The `tensorflow_datasets` builder of `multi_fashion`."""

import gzip

import numpy as np
import tensorflow_datasets as tfds

from keras_mtl.data import fetcher
from keras_mtl.data.datasets.multi_mnist.builder import OverlappingPairs

_FOLDER = "usr/share/datasets/fashion-mnist"
_FILES = {"train": 60000, "t10k": 10000}
_SIDE = 28

_CARD = """\
Multi-Fashion: two clothes that overlap in one image of 36x36. Two tasks: which of ten
kinds is at the top left ("left"), which at the bottom right ("right").

Source: the 70,000 pictures of Fashion-MNIST that the Debian package
dataset-fashion-mnist ships; nothing else is downloaded. The package is fetched by
apt-get, so on other systems its file has to be put into the cache by hand.

Licence: MIT (Expat), Zalando SE.

How it is made: as `multi_mnist`, with clothes instead of digits: the left picture lies
at the rows and columns 0 to 27 and the right one at 6 to 33; where they meet, the
brighter pixel stays. Every picture is the left one once (twice in train), and its
partner is drawn at random. Lin et al. (2019) made such a set; where its pictures lie is
not written down.

Splits: by source picture, before anything is pasted: train has pairs of the first
50,000 training pictures, validation of the last 10,000, test of the test pictures.
"left_source" and "right_source" are their rows, test pictures after the 60,000 of
training; no row is in two splits.

Leaks and limits: a picture is in four train images on average, so the 100,000 are not
independent. "left_source" and "right_source" identify the pictures; do not use them as
inputs.
"""

_CITATION = """\
@article{xiao2017fashion,
  title={Fashion-{MNIST}: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms},
  author={Xiao, Han and Rasul, Kashif and Vollgraf, Roland},
  journal={arXiv preprint arXiv:1708.07747}, year={2017}
}
@inproceedings{lin2019pareto,
  title={Pareto Multi-Task Learning},
  author={Lin, Xi and Zhen, Hui-Ling and Li, Zhenhua and Zhang, Qing-Fu and Kwong, Sam},
  booktitle={NeurIPS}, year={2019}
}
"""


class MultiFashion(OverlappingPairs):
    """Builder of `multi_fashion`; its card is `builder.info.description`.

    Example (prepares about 100 MB below the data folder of TFDS at the first call, in
    about a minute):

    ```python
    import tensorflow_datasets as tfds
    import keras_mtl.data.datasets

    dataset, info = tfds.load("multi_fashion", split="train", with_info=True)
    ```
    """

    name = "multi_fashion"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Two clothes on 36x36, split by source picture."}
    CARD, CITATION = _CARD, _CITATION
    LICENCE = "MIT (Expat)"

    def load_pictures(self) -> tuple[np.ndarray, np.ndarray]:
        return load_fashion_mnist()


def load_fashion_mnist() -> tuple[np.ndarray, np.ndarray]:
    """Reads Fashion-MNIST, fetching its Debian package if need be.

    Returns:
        Pixels `(70000, 28, 28)` uint8 and classes `(70000,)` int64; the last 10,000 are
        the test pictures.

    Example (downloads 31 MB if the package is not cached):

    ```python
    pixels, labels = load_fashion_mnist()
    ```
    """
    pixels, labels = [], []
    contents = fetcher.read_files("dataset-fashion-mnist", f"{_FOLDER}/*-ubyte.gz")
    for part, count in _FILES.items():
        images = contents[f"{_FOLDER}/{part}-images-idx3-ubyte.gz"]
        kinds = contents[f"{_FOLDER}/{part}-labels-idx1-ubyte.gz"]
        pixels.append(read_idx(images, (count, _SIDE, _SIDE)))
        labels.append(read_idx(kinds, (count,)))
    return np.concatenate(pixels), np.concatenate(labels).astype(np.int64)


def read_idx(content: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Array of bytes in a gzipped file of MNIST's format.

    Args:
        content: The file: 0, 0, 8 for bytes, the number of axes, four bytes per axis,
            big end first, and the values.
        shape: The shape that it should have.

    Returns:
        `shape`, uint8.

    Raises:
        ValueError: If it is another array.

    Example:

    >>> content = bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9])
    >>> read_idx(gzip.compress(content), (2,)).tolist()
    [7, 9]
    """
    content = gzip.decompress(content)
    start = bytes([0, 0, 8, len(shape)])
    start += b"".join(size.to_bytes(4, "big") for size in shape)
    if not content.startswith(start) or len(content) != len(start) + np.prod(shape):
        raise ValueError(
            f"Expected bytes of the shape {shape}. Received: a file of {len(content)} "
            f"bytes that begins with {content[: len(start)]!r}"
        )
    return np.frombuffer(content, np.uint8, offset=len(start)).reshape(shape)
