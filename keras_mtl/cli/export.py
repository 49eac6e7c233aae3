"""`keras-mtl export`: write, check and try a SavedModel."""

import argparse
import sys

import numpy as np

_TOP_CLASSES = 3


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        "export",
        help="write a model for TensorFlow Serving, check it, predict with it",
        description=(
            "Writes a trained model as a numbered SavedModel; checks and runs one in "
            "a process of its own that does not import Python TensorFlow."
        ),
    )
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    save = commands.add_parser(
        "save", help="write a .keras file as the next version of a SavedModel"
    )
    save.add_argument("model", metavar="MODEL.keras", help="what model.save wrote")
    _add_directory(save, "folder of numbered versions, e.g. saved_models/digits")
    save.add_argument("--version", type=int, help="default: one above the newest")
    save.set_defaults(run=run, action_function=_save)

    verify = commands.add_parser(
        "verify", help="compare every signature with the outputs recorded at export"
    )
    _add_directory(verify)
    verify.add_argument("--version", type=int, help="default: the newest")
    verify.set_defaults(run=run, action_function=_verify)

    predict = commands.add_parser("predict", help="run one signature and print it")
    _add_directory(predict)
    predict.add_argument("--version", type=int, help="default: the newest")
    predict.add_argument(
        "--signature",
        default="serving_default",
        help="name of a task (default: serving_default, all tasks)",
    )
    predict.add_argument(
        "--input",
        metavar="FILE.npz",
        help="arrays by input name (default: the inputs recorded at export)",
    )
    predict.add_argument("--output", metavar="FILE.npz", help="also write the arrays")
    predict.add_argument("--rows", type=int, default=5, help="rows to print (5)")
    predict.set_defaults(run=run, action_function=_predict)


def run(args: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit status."""
    try:
        return args.action_function(args)
    except (OSError, ValueError, TypeError) as error:
        print(f"keras-mtl export {args.action}: {error}", file=sys.stderr)
        return 1


def _add_directory(
    parser, text="folder of numbered versions, or the folder of one version"
):
    parser.add_argument("directory", metavar="DIR", help=text)


def _save(args):
    from keras_mtl.cli.parts import read_keras_file
    from keras_mtl.export import export_saved_model

    model = read_keras_file(args.model, compile=False)
    path = export_saved_model(model, args.directory, version=args.version)
    print(f"wrote {path}")
    return 0


def _verify(args):
    from keras_mtl.export import verify_saved_model
    from keras_mtl.plots.tables import Table, text_table

    report = verify_saved_model(args.directory, version=args.version)
    rows = [
        (
            check.signature,
            check.output,
            "" if check.shape is None else str(tuple(check.shape)),
            check.dtype or "",
            "ok" if check.ok else "WRONG",
            "" if check.difference is None else f"{check.difference:.1e}",
        )
        for check in report.checks
    ]
    header = ("signature", "output", "shape", "dtype", "result", "max difference")
    print(text_table(Table(header, tuple(rows), num_labels=5)))
    for check in report.checks:
        if check.message:
            place = f"{check.signature} {check.output}".strip()
            print(f"{place}: {check.message}", file=sys.stderr)
    print(f"\n{report.folder}: {'all right' if report.ok else 'does not verify'}")
    return 0 if report.ok else 1


def _predict(args):
    from keras_mtl.export import predict_saved_model, version_folder
    from keras_mtl.export.records import (
        read_arrays,
        read_expected,
        read_labels,
        write_arrays,
    )
    from keras_mtl.plots.tables import Table, text_table

    folder = version_folder(args.directory, args.version)
    if args.input is not None:
        inputs = read_arrays(args.input)
    else:
        # An unknown signature gets its message from the model, which lists them.
        inputs = read_expected(folder).get(args.signature, ({}, {}))[0]
    outputs = predict_saved_model(folder, inputs, signature=args.signature)
    if args.output is not None:
        write_arrays(args.output, outputs)
    labels = read_labels(folder)
    total = max((len(array) for array in outputs.values()), default=0)
    shown = min(total, args.rows)
    rows = [
        (str(row), name, _text(array[row], _names(labels, args.signature, name)))
        for row in range(shown)
        for name, array in outputs.items()
    ]
    print(text_table(Table(("row", "output", "value"), tuple(rows), num_labels=3)))
    if shown < total:
        print(f"… and {total - shown} more rows")
    return 0


def _names(labels, signature, output):
    """Class names of the task that an output belongs to, or `None`."""
    if signature in labels:
        return labels[signature]
    # The longest name, since one task's may begin with another's.
    owners = [task for task in labels if output.startswith(f"{task}_")]
    return labels[max(owners, key=len)] if owners else None


def _text(value, names):
    """One row of an output in words."""
    if value.dtype.kind == "U":
        text = ", ".join(value.ravel().tolist())
        return text.encode(errors="replace").decode()
    if names is not None and value.shape == (len(names),) and value.dtype.kind == "f":
        top = np.argsort(-value, kind="stable")[:_TOP_CLASSES]
        return ", ".join(f"{names[index]} {value[index]:.3f}" for index in top)
    if names is not None and value.shape == (len(names),):
        return ", ".join(name for name, on in zip(names, value, strict=True) if on)
    if names is not None and value.shape == () and value.dtype.kind == "i":
        return names[int(value)]
    return np.array2string(value, precision=3, separator=", ", threshold=20)
