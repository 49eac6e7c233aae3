"""`keras-mtl evaluate`: the values of a trained model on a split."""

import argparse
import json
import math
import os
import re

from keras_mtl.cli.config import read_config
from keras_mtl.cli.train import add_data_dir, add_strategy
from keras_mtl.utils.config_errors import ConfigError
from keras_mtl.utils.logs import by_task


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        "evaluate",
        help="print the losses and metrics of a trained model",
        description=(
            "Evaluates model.keras of a run, or the given file, on a split of the "
            "run's dataset. Prints a table, and writes evaluate_<split>.json beside "
            "the model (evaluate_<split>_<name>.json for a file of another name)."
        ),
        epilog="example:\n  keras-mtl evaluate runs/digits/best.keras --split test",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model",
        metavar="RUN_DIR|MODEL.keras",
        help="what `keras-mtl train` left, or a model of it",
    )
    parser.add_argument(
        "--split",
        default="test",
        help='train, validation, test, or a split of TFDS such as "test[:100]" '
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--config",
        metavar="CONFIG",
        help="file that names the data (default: config.yaml beside the model)",
    )
    add_strategy(parser)
    add_data_dir(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit status."""
    path = _model_path(args.model)
    config = read_config(
        args.config or os.path.join(os.path.dirname(path), "config.yaml")
    )
    try:
        _evaluate(path, config.data, args)
    except ConfigError as error:
        raise config.source.located(error) from error
    return 0


def _model_path(path):
    if not os.path.isdir(path):
        return path
    last, best = (os.path.join(path, f"{name}.keras") for name in ("model", "best"))
    if os.path.exists(last):
        return last
    hint = ""
    if os.path.exists(best):
        hint = f" Its training has not ended; the best model so far is {best!r}"
    raise ValueError(
        "Expected a .keras file, or a folder that `keras-mtl train` wrote "
        f"model.keras into. Received: {path!r}.{hint}"
    )


def _evaluate(path, config, args):
    from keras_mtl.cli import parts
    from keras_mtl.distribution import strategy

    with strategy(args.strategy).scope():
        model = parts.load_model(path)
    examples = parts.load_split(config, args.split, args.data_dir)
    batches = parts.labelled(examples.batch(config.batch_size), config, model.tasks)
    logs = model.evaluate(batches, return_dict=True)
    values = by_task(logs, model.task_names)
    print(f"\n{parts.results_table(values, args.split)}")
    written = _write(path, args.split, len(examples), values)
    print(f"\nwrote {written}")


def _write(path, split, num_examples, values):
    """Writes the values as JSON beside the model; returns the name of the file."""
    folder, name = os.path.split(path)
    name = name.removesuffix(".keras")
    # Splits of TFDS hold brackets, colons and percent signs.
    stem = f"evaluate_{re.sub(r'[^A-Za-z0-9.]+', '-', split).strip('-')}"
    stem += "" if name == "model" else f"_{name}"
    content = {
        "model": os.path.basename(path),
        "split": split,
        "num_examples": num_examples,
        "values": {
            # JSON has no NaN, which a task without labels has.
            task: {k: v if math.isfinite(v) else None for k, v in metrics.items()}
            for task, metrics in values.items()
        },
    }
    written = os.path.join(folder, f"{stem}.json")
    with open(f"{written}.unfinished", "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
    os.replace(f"{written}.unfinished", written)
    return written
