"""CPU time of MMoE's step, as a ratio to an MLP with the same FLOPs.

    python benchmarks/experts.py           # some minutes
    python benchmarks/experts.py --quick   # does it run?

16 experts of two layers straight on the input, two tasks, batches of 256; the MLP has
two layers as well, as wide as it takes. `loop` is the same mixture with its experts as
dense layers one after the other. Measured by `step_time.py`: see `README.md`.
"""

import argparse
import json
import sys

import numpy as np
import step_time
import workloads
from tqdm import tqdm

import keras_mtl as mtl
from keras_mtl.analysis import forward_flops
from keras_mtl.plots import Table, markdown_table

VARIANTS = ("mmoe", "dense", "loop")
GOAL = 1.5


def flops(case: str, variant: str) -> int:
    """Floating-point operations of the forward pass of one example."""
    _, num_tasks = workloads.parts(case)
    tasks = [
        mtl.Task(f"task_{index}", mtl.heads.Regression()) for index in range(num_tasks)
    ]
    return forward_flops(workloads.experts_model(case, variant, tasks))


def row(case: str, rounds: list[dict]) -> tuple[str, ...]:
    """A row of the table: the ratio, the goal, memory."""
    times = [
        {variant: np.array(found) for variant, found in r["seconds"].items()}
        for r in rounds
    ]
    median, low, high = step_time.summary([t["mmoe"] / t["dense"] for t in times])
    of_loop = step_time.summary([t["mmoe"] / t["loop"] for t in times])
    met = "yes" if high <= GOAL else "no" if low > GOAL else "unclear"
    memory = [
        f"{np.median([r['megabytes'][variant] for r in rounds]):.0f}"
        for variant in VARIANTS
    ]
    columns, units = workloads.EXPERTS[workloads.parts(case)[0]]
    return (
        f"{columns} → {units[0]} → {units[1]}",
        f"{flops(case, 'mmoe'):,} : {flops(case, 'dense'):,}",
        f"{1e3 * np.median([t['mmoe'] for t in times]):.2f}",
        f"{median:.3f} ({low:.3f}–{high:.3f})",
        f"≤ {GOAL}: {met}",
        f"{of_loop[0]:.3f} ({of_loop[1]:.3f}–{of_loop[2]:.3f})",
        " / ".join(memory),
    )


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cases = ",".join(f"{name}-2" for name in workloads.EXPERTS)
    parser.add_argument(
        "--only", default=cases, help="by commas (default: %(default)s)"
    )
    step_time.add_turns(parser)
    parser.add_argument("--quick", action="store_true", help="no figures")
    options = parser.parse_args(arguments)
    if options.quick:
        options.only = "experts_small-2"
        options.rounds, options.turns, options.seconds = 1, 2, 0.05
    options.only = options.only.split(",")
    unknown = [c for c in options.only if c.split("-")[0] not in workloads.EXPERTS]
    if unknown:
        parser.error(f"unknown: {unknown}; expected some of {cases}")
    # What `step_time.measure_round` reads besides.
    options.variants, options.peers = VARIANTS, ""
    return options


def main(arguments: list[str] | None = None) -> int:
    """Measures, prints the table, and writes the numbers if asked to."""
    options = parsed(arguments)
    results = {}
    count = len(options.only) * len(VARIANTS) * options.rounds
    with tqdm(total=count * (options.turns + 1), unit="turn") as progress:
        for case in options.only:
            results[case] = [
                step_time.measure_round(case, options, progress)
                for _ in range(options.rounds)
            ]
            if options.json:
                options.json.write_text(json.dumps(results, indent=1))
    header = (
        *("one expert", "FLOPs, MMoE : MLP", "MMoE, ms"),
        *("MMoE ÷ MLP", "goal", "MMoE ÷ loop", "MB over import, MMoE / MLP / loop"),
    )
    rows = tuple(row(case, rounds) for case, rounds in results.items())
    print(markdown_table(Table(header, rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
