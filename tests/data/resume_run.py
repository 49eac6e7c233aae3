"""A small training run in a process of its own, for the tests of kill and resume.

Usage: python resume_run.py FOLDER [--kill EPOCH STEP] [--strategy mirrored]
[--steps-per-execution N]. Writes FOLDER/weights.npy when it ends by itself; backs up to
FOLDER/backup and resumes from there.
"""

import argparse
import os
import pathlib
import signal

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import keras
import numpy as np
import tensorflow as tf

from keras_mtl.data import EpochOrder

EPOCHS, SIZE, BATCH = 4, 50, 8


class Kill(keras.callbacks.Callback):
    """Ends the process as a machine does that loses its power."""

    def __init__(self, epoch, step):
        super().__init__()
        self.at = (epoch, step)
        self.epoch = None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--kill", type=int, nargs=2)
    parser.add_argument("--strategy")
    parser.add_argument("--steps-per-execution", type=int, default=1)
    args = parser.parse_args()
    strategy = tf.distribute.get_strategy()
    if args.strategy == "mirrored":
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * 2,
        )
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    x = random.normal(size=(SIZE, 3)).astype("float32")
    y = random.normal(size=(SIZE, 1)).astype("float32")
    with strategy.scope():
        order = EpochOrder(seed=5)
        train = order.batches((x, y), BATCH)
        model = keras.Sequential(
            [
                keras.layers.Input((3,)),
                keras.layers.Dense(4, activation="tanh"),
                keras.layers.Dense(1),
            ]
        )
        # Momentum and a large step, so that the order of the batches shows.
        model.compile(
            keras.optimizers.SGD(0.1, momentum=0.9),
            "mse",
            steps_per_execution=args.steps_per_execution,
        )
    callbacks = [order, keras.callbacks.BackupAndRestore(args.folder / "backup")]
    if args.kill:
        callbacks.append(Kill(*args.kill))
    model.fit(train, epochs=EPOCHS, callbacks=callbacks, verbose=0, shuffle=False)
    weights = [weight.ravel() for weight in model.get_weights()]
    np.save(args.folder / "weights.npy", np.concatenate(weights))


if __name__ == "__main__":
    main()
