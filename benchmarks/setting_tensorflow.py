"""Threads and device of a benchmark; imported before TensorFlow is used."""

import os

import setting

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(setting.THREADS)
tf.config.threading.set_inter_op_parallelism_threads(setting.THREADS)
if setting.GPU and not tf.config.list_physical_devices("GPU"):
    raise RuntimeError(
        "Expected a GPU that TensorFlow can use. Received: none. Install "
        "`tensorflow[and-cuda]`, or leave `--gpu` out"
    )
