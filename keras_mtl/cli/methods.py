"""`keras-mtl methods`: what balancers, weightings and architectures do."""

import argparse
import inspect
import re
import textwrap

SECTIONS = ("Guarantee", "Needs", "Cost", "When", "Reference")
# By the argument that takes the kind, what its docstrings say on the page.
_SECTIONS = {
    "loss_weighting": SECTIONS,
    "balancer": SECTIONS,
    "architecture": ("Reference",),
}

_HEAD = """\
# How to choose

<!-- Made from the docstrings by `keras-mtl methods --markdown`: do not edit. -->

Start with fixed weights; they are hard to beat when tuned. Then try these, and compare
on validation data. Any loss weighting goes with any balancer:
`model.compile("adam", loss_weighting="uncertainty", balancer="cagrad")`. In the costs,
`num_tasks` is the number of tasks. A balancer of the Gram matrix spends its backward
passes only at the steps that balance; with `BalancingOptions(every=10)` that is every
tenth.

The last table has the architectures, `build_model(…, architecture="mmoe")`; their
docstrings draw who shares what.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        "methods",
        help="list balancers, loss weightings and architectures, explain one",
        description=(
            "Says of every balancer and loss weighting what it does, guarantees, needs "
            "and costs, when it helps, and where it comes from; and how tasks share in "
            "every architecture."
        ),
    )
    parser.add_argument(
        "name", metavar="NAME", nargs="?", help="the method to explain, e.g. cagrad"
    )
    parser.add_argument(
        "--markdown", action="store_true", help="print the page docs/how-to-choose.md"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit status."""
    if args.markdown:
        print(page(), end="")
    elif args.name is None:
        for argument, kind in _kinds().items():
            width = max(map(len, kind.names()))
            print(f"{argument}=")
            for name, cls in kind.items():
                print(f"  {name:{width}}  {idea(cls)}")
    else:
        print(_explained(args.name))
    return 0


def idea(cls: type) -> str:
    """The first line of a class's docstring.

    Example:
    >>> idea(argparse.Namespace)
    'Simple object for storing attributes.'
    """
    return (inspect.getdoc(cls) or "").partition("\n")[0]


def sections(cls: type, names: tuple[str, ...] = SECTIONS) -> dict[str, str]:
    """The sections of a method's docstring that the page shows.

    Args:
        cls: A balancer, a loss weighting or an architecture.
        names: Names of the sections.

    Returns:
        Dict from the names to their texts, each on one line.

    Raises:
        ValueError: If there is none of a name, or it is empty.
    """
    found: dict[str, str] = {}
    name = ""
    for line in (inspect.getdoc(cls) or "").splitlines():
        start = re.match(r"([A-Z][a-z]+):(?: |$)", line)
        if start:
            name, line = start[1], line[start.end() :]
        elif line and not line.startswith(" "):
            name = ""
        found[name] = f"{found.get(name, '')} {line.strip()}".strip()
    missing = [name for name in names if not found.get(name)]
    if missing:
        raise ValueError(
            f"Expected the docstring of `{cls.__name__}` to have the sections "
            f"{list(names)}. Received: none of {missing}"
        )
    return {name: found[name] for name in names}


def page() -> str:
    """The page "How to choose", in Markdown."""
    from keras_mtl.plots.tables import Table, markdown_table

    parts = [_HEAD]
    for argument, kind in _kinds().items():
        names = _SECTIONS[argument]
        rows = []
        for name, cls in kind.items():
            *texts, reference = sections(cls, names).values()
            papers = ", ".join(re.findall(r"\[[^]]*\]\([^)]*\)", reference))
            rows.append((f'`"{name}"`', idea(cls), *texts, papers))
        header = ("method", "idea", *map(str.lower, names[:-1]), "paper")
        table = markdown_table(Table(header, tuple(rows), len(header)))
        parts.append(f"## `{argument}=`\n\n{table}\n")
    return "\n".join(parts)


def _kinds():
    """The registries by the argument of `compile`, the last of `build_model`."""
    from keras_mtl import architectures, balancers, weightings

    return {
        "loss_weighting": weightings.registry,
        "balancer": balancers.registry,
        "architecture": architectures.registry,
    }


def _explained(name):
    found = {
        known: (cls, _SECTIONS[argument])
        for argument, kind in _kinds().items()
        for known, cls in kind.items()
    }
    if name not in found:
        raise ValueError(
            f"Unknown method. Expected NAME to be one of {sorted(found)}. "
            f"Received: NAME={name!r}"
        )
    cls, names = found[name]
    lines = [f"{name}: {idea(cls)}"]
    for section, text in sections(cls, names).items():
        lines += ["", *textwrap.wrap(f"{section}: {text}", 79, subsequent_indent="  ")]
    return "\n".join(lines)
