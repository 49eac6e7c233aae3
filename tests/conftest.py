"""One TensorFlow process per worker: two virtual CPUs, fixed seeds."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import pytest
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)


@pytest.fixture(autouse=True)
def seed():
    """Every test draws the same numbers, alone or among others."""
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True, scope="module")
def frozen_heap():
    """What is alive by now is not searched for garbage again and again.

    TensorFlow keeps the graphs of replicas for good.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture
def float64():
    """Everything that a test builds is in double precision."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="session")
def two_replicas():
    """One strategy for the whole process: two of them collide in the collective."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
