"""`keras-mtl methods`: what balancers and loss weightings do, need and cost."""

import argparse
import inspect
import re
import textwrap

SECTIONS = ("Guarantee", "Needs", "Cost", "When", "Reference")

_HEAD = """\
# How to choose

<!-- Made from the docstrings by `keras-mtl methods --markdown`: do not edit. -->

Start with fixed weights; they are hard to beat when tuned. Then try these, and compare
on validation data. Any loss weighting goes with any balancer:
`model.compile("adam", loss_weighting="uncertainty", balancer="cagrad")`. In the costs,
`num_tasks` is the number of tasks. A balancer of the Gram matrix spends its backward
passes only at the steps that balance; with `BalancingOptions(every=10)` that is every
tenth.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        "methods",
        help="list balancers and loss weightings, explain one",
        description=(
            "Says of every balancer and loss weighting what it does, guarantees, needs "
            "and costs, when it helps, and where it comes from."
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


def sections(cls: type) -> dict[str, str]:
    """The sections of a method's docstring that the page shows.

    Args:
        cls: A balancer or a loss weighting.

    Returns:
        Dict from the names of `SECTIONS` to their texts, each on one line.

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
    missing = [name for name in SECTIONS if not found.get(name)]
    if missing:
        raise ValueError(
            f"Expected the docstring of `{cls.__name__}` to have the sections "
            f"{list(SECTIONS)}. Received: none of {missing}"
        )
    return {name: found[name] for name in SECTIONS}


def page() -> str:
    """The page "How to choose", in Markdown."""
    from keras_mtl.plots.tables import Table, markdown_table

    parts = [_HEAD]
    for argument, kind in _kinds().items():
        rows = []
        for name, cls in kind.items():
            *texts, reference = sections(cls).values()
            papers = ", ".join(re.findall(r"\[[^]]*\]\([^)]*\)", reference))
            rows.append((f'`"{name}"`', idea(cls), *texts, papers))
        header = ("method", "idea", *map(str.lower, SECTIONS[:-1]), "paper")
        table = markdown_table(Table(header, tuple(rows), len(header)))
        parts.append(f"## `{argument}=`\n\n{table}\n")
    return "\n".join(parts)


def _kinds():
    """The registries by the name of the argument of `compile`."""
    from keras_mtl import balancers, weightings

    return {"loss_weighting": weightings.registry, "balancer": balancers.registry}


def _explained(name):
    classes = {n: c for kind in _kinds().values() for n, c in kind.items()}
    if name not in classes:
        raise ValueError(
            f"Unknown method. Expected NAME to be one of {sorted(classes)}. "
            f"Received: NAME={name!r}"
        )
    lines = [f"{name}: {idea(classes[name])}"]
    for section, text in sections(classes[name]).items():
        lines += ["", *textwrap.wrap(f"{section}: {text}", 79, subsequent_indent="  ")]
    return "\n".join(lines)
