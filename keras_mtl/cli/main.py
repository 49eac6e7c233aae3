"""The command `keras-mtl`: finds the subcommand and words its errors."""

import argparse
import importlib
import sys
import traceback
from collections.abc import Sequence

COMMANDS = ("train", "evaluate", "report", "export", "data", "methods")

_EXAMPLE = """\
example:
  keras-mtl data prepare digits_on_canvas
  keras-mtl train examples/digits.yaml --set fit.epochs=3 --output runs/digits
  keras-mtl evaluate runs/digits --split test
  keras-mtl report runs/digits
  keras-mtl export save runs/digits/model.keras saved_models/digits

`keras-mtl COMMAND --help` explains a command.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: The words after `keras-mtl`; those of the process by default.

    Returns:
        Exit status: 0 if all went well, 1 after an error that was told to the
        user, 130 after Ctrl-C. (`argparse` ends the process with 2 for words it
        does not know, and with 0 for `--help`.)

    Example:

    ```python
    main(["train", "examples/digits.yaml", "--set", "fit.epochs=1"])
    ```
    """
    args = _parser().parse_args(argv)
    try:
        return args.run(args)
    except KeyboardInterrupt:
        print("\nkeras-mtl: interrupted", file=sys.stderr)
        return 130
    except (OSError, TypeError, ValueError) as error:
        if args.traceback:
            traceback.print_exc()
        else:
            print(f"keras-mtl: error: {error}", file=sys.stderr)
        return 1


def _parser():
    parser = argparse.ArgumentParser(
        prog="keras-mtl",
        description="Multi-task learning for Keras: train, evaluate, look, export.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--traceback",
        action="store_true",
        help="show where an error comes from in the code",
    )
    subparsers = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True
    )
    for name in COMMANDS:
        importlib.import_module(f"keras_mtl.cli.{name}").add_parser(subparsers)
    for subparser in subparsers.choices.values():
        # Also after the command. Without a default, which would undo the one before.
        subparser.add_argument(
            "--traceback",
            action="store_true",
            default=argparse.SUPPRESS,
            help=argparse.SUPPRESS,
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
