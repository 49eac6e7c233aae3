"""CPU time of a step with 95 % of the labels missing, as a ratio to one with all.

    python benchmarks/missing_labels.py           # some minutes
    python benchmarks/missing_labels.py --quick   # does it run?

30 tasks on the MLP of `step_time.py`: real values, where NaN is no label, and classes,
where -1 is none (`Task.missing`; the model with all labels has tasks without it, which
look for no missing label). Without a balancer and with PCGrad. Measured by
`step_time.py`: see `README.md`.
"""

import argparse
import json
import sys

import numpy as np
import step_time
import workloads
from tqdm import tqdm

from keras_mtl.plots import Table, markdown_table

NUM_TASKS = 30
METHODS = ("", "+pcgrad")
GOAL = 1.1


def row(kind: str, method: str, rounds: list[dict]) -> tuple[str, ...]:
    """A row of the table: milliseconds, the ratio and the goal."""
    times = [
        {
            labels: np.array(found["seconds"][labels + method])
            for labels in ("complete", "missing")
        }
        for found in rounds
    ]
    median, low, high = step_time.summary([t["missing"] / t["complete"] for t in times])
    met = "yes" if high <= GOAL else "no" if low > GOAL else "unclear"
    return (
        *(kind, method.lstrip("+") or "none"),
        *(f"{1e3 * np.median([t[labels] for t in times]):.2f}" for labels in times[0]),
        f"{median:.3f} ({low:.3f}–{high:.3f})",
        f"≤ {GOAL}: {met}",
    )


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    step_time.add_turns(parser)
    parser.add_argument("--quick", action="store_true", help="no figures")
    options = parser.parse_args(arguments)
    options.tasks, options.methods = NUM_TASKS, METHODS
    if options.quick:
        options.tasks, options.methods = 2, METHODS[:1]
        options.rounds, options.turns, options.seconds = 1, 2, 0.05
    # What `step_time.measure_round` reads besides.
    options.variants = tuple(
        labels + method
        for method in options.methods
        for labels in ("complete", "missing")
    )
    options.peers = ""
    return options


def main(arguments: list[str] | None = None) -> int:
    """Measures, prints the table, and writes the numbers if asked to."""
    options = parsed(arguments)
    results, rows = {}, []
    count = len(workloads.LABELS) * len(options.variants) * options.rounds
    with tqdm(total=count * (options.turns + 1), unit="turn") as progress:
        for kind in workloads.LABELS:
            results[kind] = [
                step_time.measure_round(f"{kind}-{options.tasks}", options, progress)
                for _ in range(options.rounds)
            ]
            rows += [row(kind, method, results[kind]) for method in options.methods]
            if options.json:
                options.json.write_text(json.dumps(results, indent=1))
    header = (
        *("labels", "balancer", "all there, ms", "5 % there, ms"),
        *("5 % there ÷ all there", "goal"),
    )
    print(markdown_table(Table(header, tuple(rows), num_labels=2)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
