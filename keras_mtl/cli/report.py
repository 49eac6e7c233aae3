"""`keras-mtl report`: what a run looks like, as a PNG and as a table."""

import argparse
import os
import sys


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        "report",
        help="draw a run's curves, weights and cosine heat-map, print its values",
        description=(
            "Reads the event files that callbacks.TaskTensorBoard wrote, draws a PNG "
            "with the curves of every task, the weights and the cosine heat-map, and "
            "prints the last and the best values."
        ),
    )
    parser.add_argument(
        "run_dir", metavar="RUN_DIR", help="the callback's log_dir, e.g. runs/digits"
    )
    parser.add_argument(
        "--output",
        metavar="PNG",
        help="the file to write (default: RUN_DIR/report.png)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit status."""
    from keras_mtl.analysis.runs import read_run, run_figure, values_table
    from keras_mtl.plots.figure import save_png
    from keras_mtl.plots.tables import text_table

    output = args.output or os.path.join(args.run_dir, "report.png")
    try:
        found = read_run(args.run_dir)
        print(text_table(values_table(found)))
        save_png(run_figure(found), output)
    except (ImportError, OSError, ValueError) as error:
        print(f"keras-mtl report: {error}", file=sys.stderr)
        return 1
    print(f"\nwrote {output}")
    return 0
