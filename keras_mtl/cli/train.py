"""`keras-mtl train`: from a configuration file to a trained model."""

import argparse
import contextlib
import glob
import os

from keras_mtl.cli.config import Config, read_config
from keras_mtl.utils.config_errors import ConfigError, at
from keras_mtl.utils.logs import by_task

_EXAMPLE = """\
The run leaves in RUN_DIR: config.yaml (with every change and default), event files for
TensorBoard, best.keras (lowest validation loss), model.keras (the last epoch), and
backup/. A run that was interrupted, or that shall have more epochs, goes on when the
same command is given again.

example:
  keras-mtl train examples/digits.yaml --set compile.balancer=cagrad \\
      --set compile.balancer.c=0.5 --set tasks.box.loss_weight=2 --output runs/cagrad
"""

# What a run writes, apart from event files. Only these are ever deleted.
_FILES = ("best.keras", "model.keras", "evaluate_*.json", "backup/*.weights.h5")
_EVENTS = ("train/*.tfevents.*", "validation/*.tfevents.*")

# May differ when a run goes on.
_FREE = ("fit.epochs", "fit.verbose")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        "train",
        help="train the model that a configuration file describes",
        description=(
            "Builds, compiles and fits the model that a YAML or TOML file describes."
        ),
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "config", metavar="CONFIG", help="a .yaml or .toml file, see examples/"
    )
    parser.add_argument(
        "--set",
        dest="settings",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="change a value of the file, e.g. fit.epochs=3 (may be repeated)",
    )
    parser.add_argument(
        "--output", metavar="RUN_DIR", help="folder of the run (default: runs/<name>)"
    )
    parser.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="go on where RUN_DIR ends (default), or delete its run and start afresh",
    )
    add_strategy(parser)
    add_data_dir(parser)
    parser.set_defaults(run=run)


def add_strategy(parser: argparse.ArgumentParser) -> None:
    """Adds `--strategy`."""
    parser.add_argument(
        "--strategy",
        choices=("auto", "mirrored", "default"),
        default="auto",
        help=(
            "auto: all GPUs if there are several, else one device; mirrored: all GPUs "
            "or logical CPUs; default: one device (default: %(default)s)"
        ),
    )


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """Adds `--data-dir`."""
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        help="folder of the prepared datasets (default: that of tensorflow_datasets)",
    )


def run(args: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit status."""
    config = read_config(args.config, args.settings)
    try:
        _train(config, args)
    except ConfigError as error:
        raise config.source.located(error) from error
    return 0


def _train(config, args):
    import keras

    from keras_mtl.callbacks import EpochBackup
    from keras_mtl.cli import parts
    from keras_mtl.data import EpochOrder
    from keras_mtl.distribution import strategy

    folder = args.output or os.path.join("runs", config.name)
    if args.resume:
        check_same_run(folder, config)
    keras.utils.set_random_seed(config.seed)
    with _dtype_policy(config.dtype_policy):
        with strategy(args.strategy).scope():
            model = parts.make_model(config)
        order = EpochOrder(config.seed)
        train, validation = _pipelines(config, model, order, args.data_dir)
        backup = EpochBackup(os.path.join(folder, "backup"))
        if not args.resume or not backup.epochs():
            _clear(folder, keep_model=args.resume)
        claim(folder, config)
        done = backup.restore(model)
        print(
            f"{config.name}: {len(model.tasks)} tasks, {model.count_params():,} "
            f"weights, {len(train):,} steps per epoch, {_progress(config, done)}"
        )
        model.fit(
            train,
            validation_data=validation,
            epochs=config.fit.epochs,
            initial_epoch=done,
            shuffle=False,
            verbose=config.fit.verbose,
            # Best model, event files, backup: a run that is killed in between does
            # the epoch again, and what is left of it must not count as earlier.
            callbacks=[order, *_recorders(folder, validation is not None), backup],
        )
        _save(model, os.path.join(folder, "model.keras"))
    if validation is not None:
        logs = model.evaluate(validation, return_dict=True, verbose=0)
        values = by_task(logs, model.task_names)
        print(f"\n{parts.results_table(values, 'validation')}")
    print(f"\n{folder}: epochs done: {max(done, config.fit.epochs)}")


def _pipelines(config, model, order, data_dir):
    """Training and validation data; the latter may be `None`."""
    from keras_mtl.cli import parts

    of_train = parts.load_split(config.data, "train", data_dir)
    batches = order.batches(
        parts.features_of(of_train, config.data, model.tasks),
        config.data.batch_size,
        buffer_size=config.data.buffer_size,
        steps_per_epoch=config.fit.steps_per_epoch,
    )
    train = parts.labelled(batches, config.data, model.tasks)
    if config.data.splits["validation"] is None:
        return train, None
    validation = parts.load_split(config.data, "validation", data_dir)
    validation = validation.batch(config.data.batch_size)
    return train, parts.labelled(validation, config.data, model.tasks)


def _recorders(folder, validated):
    """The callbacks that keep the best model and write the event files."""
    import keras

    from keras_mtl.callbacks import TaskTensorBoard

    best = os.path.join(folder, "best.keras")
    checkpoint = keras.callbacks.ModelCheckpoint(
        best,
        monitor="val_loss" if validated else "loss",
        mode="min",
        save_best_only=True,
        initial_value_threshold=_best_loss(folder, validated, best),
    )
    return [checkpoint, TaskTensorBoard(folder)]


def _best_loss(folder, validated, path):
    """The lowest loss of the epochs so far, which a better model has to beat."""
    from keras_mtl.analysis.event_files import read_scalars

    if not os.path.exists(path):
        return None
    split = "validation" if validated else "train"
    losses = read_scalars(os.path.join(folder, split)).get("epoch_loss", {})
    return min((loss for loss in losses.values() if loss == loss), default=None)


def _progress(config, done):
    epochs = config.fit.epochs
    if done >= epochs:
        return f"{done} epochs are done already (fit.epochs={epochs})"
    return f"epochs {done + 1} to {epochs}" + (", going on" if done else "")


@contextlib.contextmanager
def _dtype_policy(name):
    """Keras' policy for what is built inside; the one before is put back."""
    import keras

    before = keras.config.dtype_policy()
    with at("dtype_policy"):
        keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _save(model, path):
    """Saves the model; the file gets its name when it is complete."""
    unfinished = f"{path.removesuffix('.keras')}.unfinished.keras"
    model.save(unfinished)
    os.replace(unfinished, path)


# === The folder of the run ===


def claim(folder: str | os.PathLike, config: Config) -> None:
    """Writes `config.yaml` into the folder of a run.

    Args:
        folder: The folder; it is made if need be.
        config: The configuration.
    """
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "config.yaml")
    with open(f"{path}.unfinished", "w", encoding="utf-8") as file:
        file.write(config.to_yaml())
    os.replace(f"{path}.unfinished", path)


def check_same_run(folder: str | os.PathLike, config: Config) -> None:
    """Raises a `ValueError` if a folder holds a trained run of another configuration.

    Args:
        folder: The folder, which need not exist.
        config: The configuration; the number of epochs may differ.
    """
    path = os.path.join(folder, "config.yaml")
    trained = any(glob.glob(os.path.join(_plain(folder), name)) for name in _FILES)
    if not os.path.exists(path) or not trained:
        return
    there, here = _flat(read_config(path).to_dict()), _flat(config.to_dict())
    differ = [
        key
        for key in dict.fromkeys([*here, *there])
        if key not in _FREE and there.get(key) != here.get(key)
    ]
    if differ:
        rows = "".join(
            f"\n  {key}: {there.get(key)!r} there, {here.get(key)!r} now"
            for key in differ
        )
        raise ValueError(
            f"Expected {folder!r} to hold no run, or one of this configuration. "
            f"Received: another one, in which differ{rows}\nChoose another folder "
            "with --output, or start afresh with --no-resume, which deletes that run"
        )


def _flat(tree, path=()):
    """The values of nested dicts and lists by dotted path."""
    if isinstance(tree, dict | list) and tree:
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        flat: dict = {}
        for key, value in items:
            flat |= _flat(value, (*path, str(key)))
        return flat
    return {".".join(path): tree}


def _clear(folder, keep_model):
    """Deletes what an earlier run left, and nothing that is not a run's."""
    if not os.path.exists(os.path.join(folder, "config.yaml")):
        return
    model = os.path.join(folder, "model.keras")
    if keep_model and os.path.exists(model):
        raise ValueError(
            "Expected the backup of a run that is to go on. Received: "
            f"{folder!r}, which has a trained model but no backup. Choose another "
            "folder with --output, or start afresh with --no-resume, which deletes "
            "that run"
        )
    for pattern in (*_FILES, *_EVENTS):
        for path in glob.glob(os.path.join(_plain(folder), pattern)):
            os.remove(path)


def _plain(folder):
    return glob.escape(os.fspath(folder))
