"""The dataset `river_flow_rf1`: the flow at eight sensors, 48 hours ahead."""

from keras_mtl.data.datasets.river_flow_rf1.builder import (
    LAGS,
    SENSORS,
    RiverFlowRF1,
)

__all__ = ["LAGS", "SENSORS", "RiverFlowRF1"]
