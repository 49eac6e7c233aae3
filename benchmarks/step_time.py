"""Time of a training step, as ratios to stock Keras and to a lower limit.

    python benchmarks/step_time.py                      # all cases, about an hour
    python benchmarks/step_time.py --only mlp-2,mlp-32  # some
    python benchmarks/step_time.py --quick              # does it run?
    python benchmarks/step_time.py --only mlp-8 --peers .venv-peers/bin/python
    python benchmarks/step_time.py --gpu --json gpu.json

See `README.md` beside this file for what is measured and how to read it.
"""

import argparse
import json
import math
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable

import numpy as np
from tqdm import tqdm

_HERE = pathlib.Path(__file__).resolve().parent
CASES = (
    *("mlp-2", "mlp-8", "mlp-32"),
    *("cnn-2", "cnn-3", "cnn-8"),
    *("transformer-2", "transformer-4"),
)
VARIANTS = (
    *("stock", "plain", "pcgrad", "mgda", "cagrad"),
    *("every_10", "features", "limit", "limit_update"),
)
# Numerator, denominator, and the goal for the upper end of the interval.
RATIOS = (
    ("plain", "stock", 1.03),
    *((balancer, "limit", 1.10) for balancer in ("pcgrad", "mgda", "cagrad")),
    ("limit_update", "limit", None),
    ("every_10", "plain", None),
    ("features", "plain", 1.25),
)
# The same with `keras_mtl`'s faster layers; any of the others may have the prefix.
FAST = ("fast:plain", "fast:pcgrad")
# Variants of `peer_worker.py`, where an interpreter with these libraries is given.
PEERS = (
    *("torch:plain", "libmtl:pcgrad", "libmtl:mgda", "libmtl:cagrad"),
    *("torchjd:pcgrad", "torchjd-parallel:pcgrad", "torchjd-gram:pcgrad"),
    *("torchjd:mgda", "torchjd:cagrad"),
)
_MODULES = {"libmtl": "LibMTL"}
_OTHER_BALANCER_GOAL = 1.10  # of any other balancer's step to that of PCGrad
_CASE = r"(mlp|cnn|transformer|bert)-\d+"
# glibc gives freed memory back to the system in the middle of a step and faults it in
# again in the next: a tenth of a small step, at random. Not while steps are compared.
_KEEP_MEMORY = {
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TOP_PAD_": str(2**27),
}
_SCHEDULE = {"every_10": 10}  # Measured steps are a multiple of it.
_FEWEST_STEPS = 4


class Worker:
    """A fresh process that trains one variant when it is told to."""

    def __init__(self, case: str, variant: str, options: argparse.Namespace):
        self.variant = variant
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 closed in `close`
        foreign = of_peer(variant)
        script = _HERE / ("peer_worker.py" if foreign else "step_worker.py")
        python = options.peers if foreign else sys.executable
        setting = {"BENCHMARK_THREADS": str(options.threads)}
        if options.gpu:
            setting["BENCHMARK_DEVICE"] = "gpu"
        if not options.system_malloc:
            setting |= _KEEP_MEMORY
        self._process = subprocess.Popen(
            [python, str(script), case, variant],
            env=os.environ | setting,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        try:
            self.rough = self._answer()["rough"]
        except BaseException:
            self.close()
            raise

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            raise RuntimeError(
                f"The worker of {self.variant!r} stopped:\n{self._errors.read()}"
            )
        return json.loads(line)

    def steps(self, seconds: float) -> int:
        """How many steps take about so much time."""
        cycle = _SCHEDULE.get(self.variant.removeprefix("fast:"), 1)
        fewest = max(_FEWEST_STEPS, math.ceil(seconds / self.rough))
        return math.ceil(fewest / cycle) * cycle

    def ask(self, command: str) -> float:
        """Sends a command and waits for the number that it asks for."""
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return next(iter(self._answer().values()))

    def close(self) -> None:
        """Ends the process."""
        if self._process.poll() is None:
            self._process.terminate()
        self._process.communicate()
        self._errors.close()


def of_peer(variant: str) -> bool:
    """Whether it is a variant of `peer_worker.py`."""
    return ":" in variant and not variant.startswith("fast:")


def installed(peers: str, variant: str) -> bool:
    """Whether the interpreter has the library of a peer's variant; says so if not."""
    library = re.split("[:-]", variant)[0]
    module = _MODULES.get(library, library)
    search = f"importlib.util.find_spec({module!r})"
    code = f"import sys, torch, importlib.util; sys.exit({search} is None)"
    command = [peers, "-c", code]
    try:
        found = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        print(f"Skipped {variant}: {error}")
        return False
    if found.returncode:
        print(f"Skipped {variant}: {peers} has no {module}, or no torch")
    return found.returncode == 0


def measure_round(case: str, options: argparse.Namespace, progress: tqdm) -> dict:
    """One process per variant; they work in turns, one at a time.

    A variant of a peer that fails on this case is left out, and it says so.

    Returns:
        Dict with `"seconds"` (per step, by variant, one per turn) and
        `"megabytes"` (by variant).
    """
    workers = []
    try:
        for variant in options.variants:
            progress.set_postfix_str(f"{case} {variant}")
            try:
                workers.append(Worker(case, variant, options))
            except RuntimeError as error:
                if not of_peer(variant):
                    raise
                progress.write(f"{case}: {str(error).strip()}")
            progress.update()
        found: dict[str, list[float]] = {worker.variant: [] for worker in workers}
        for turn in range(options.turns):
            # There and back, so that a drift hits all alike.
            for worker in workers if turn % 2 == 0 else reversed(workers):
                steps = worker.steps(options.seconds)
                found[worker.variant].append(worker.ask(f"measure {steps}"))
                progress.update()
        memory = {worker.variant: worker.ask("memory") for worker in workers}
    finally:
        for worker in workers:
            worker.close()
    return {"seconds": found, "megabytes": memory}


def summary(rounds: list[np.ndarray], draws: int = 4000) -> list[float]:
    """Median of paired ratios and its 95 % interval.

    The bootstrap draws rounds (fresh processes), then turns within them.

    Args:
        rounds: Per round, the ratio in every turn.
    """
    rng = np.random.default_rng(0)
    values = np.stack(rounds)
    number, turns = values.shape
    rows = rng.integers(0, number, (draws, number, 1))
    columns = rng.integers(0, turns, (draws, number, turns))
    medians = np.median(values[rows, columns], axis=(1, 2))
    low, high = np.quantile(medians, [0.025, 0.975])
    return [float(np.median(values)), float(low), float(high)]


def goals(variants: Iterable[str]) -> dict[tuple[str, str], float | None]:
    """Ratios of these variants, with their goals."""
    known = {(above, below): goal for above, below, goal in RATIOS}
    for name in variants:
        method = name.partition(":")[2]
        if name.startswith("fast:"):
            others = (method, "stock", f"torchjd:{method}")
            known |= {(name, other): None for other in others}
        elif of_peer(name):
            known["stock" if method == "plain" else method, name] = None
        elif name in ("mgda", "cagrad") or name not in VARIANTS:
            known[name, "pcgrad"] = _OTHER_BALANCER_GOAL
    return {pair: goal for pair, goal in known.items() if set(pair) <= set(variants)}


def ratios(rounds: list[dict]) -> dict[str, list[float]]:
    """Summaries by `"numerator/denominator"`, of those that were measured."""
    found = {}
    for above, below in goals(rounds[0]["seconds"]):
        found[f"{above}/{below}"] = summary(
            [
                np.array(r["seconds"][above]) / np.array(r["seconds"][below])
                for r in rounds
            ]
        )
    return found


def table(results: dict[str, dict]) -> str:
    """The ratios and the memory of all cases, as Markdown."""
    lines = [
        "| case | ratio of time per step | median | 95 % interval | goal |",
        "|---|---|---|---|---|",
    ]
    memory = [result["megabytes"] for result in results.values()]
    variants = list(dict.fromkeys(variant for row in memory for variant in row))
    goal_of = {"/".join(pair): goal for pair, goal in goals(variants).items()}
    for case, result in results.items():
        for name, (median, low, high) in result["ratios"].items():
            goal = goal_of[name]
            verdict = ""
            if goal is not None:
                met = "yes" if high <= goal else "no" if low > goal else "unclear"
                verdict = f"≤ {goal:.2f}: {met}"
            shown = name.replace("/", " ÷ ")
            lines.append(
                f"| {case} | {shown} | {median:.3f} | {low:.3f} – {high:.3f} "
                f"| {verdict} |"
            )
    lines += ["", "Peak memory over import, MB (median over rounds):", ""]
    lines.append("| case | " + " | ".join(variants) + " |")
    lines.append("|---" * (len(variants) + 1) + "|")
    for case, result in results.items():
        found = result["megabytes"]
        cells = [f"{found[name]:.0f}" if name in found else "" for name in variants]
        lines.append(f"| {case} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def add_turns(parser: argparse.ArgumentParser) -> None:
    """What `measure_round` is told, but for variants and peers; and the output."""
    parser.add_argument("--rounds", type=int, default=3, help="of fresh processes")
    parser.add_argument("--turns", type=int, default=8, help="per round")
    parser.add_argument(
        "--seconds", type=float, default=0.6, help="about the CPU time of one turn"
    )
    parser.add_argument("--json", type=pathlib.Path, help="file for all numbers")
    parser.add_argument(
        "--threads", type=int, default=1, help="several are timed by the wall clock"
    )
    parser.add_argument(
        "--gpu", action="store_true", help="on the first GPU, by the wall clock"
    )
    parser.add_argument(
        "--system-malloc",
        action="store_true",
        help="leave freed memory to glibc's defaults (noisier, see README.md)",
    )


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", help=f"cases by commas, such as {', '.join(CASES)}; any task number"
    )
    parser.add_argument(
        "--variants",
        help=f"by commas, of {', '.join(VARIANTS + FAST + PEERS)}, or any balancer",
    )
    parser.add_argument(
        "--peers",
        default=str(_HERE.parent / ".venv-peers" / "bin" / "python"),
        help="interpreter of an environment with requirements-peers.txt",
    )
    add_turns(parser)
    parser.add_argument(
        "--quick", action="store_true", help="one small case, one round: no figures"
    )
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.turns, options.seconds = 1, 2, 0.1
    default_cases = ("mlp-2",) if options.quick else CASES
    default_variants = VARIANTS + FAST + PEERS
    if options.quick:
        default_variants = ("stock", "plain", "pcgrad", "limit")
    options.only = tuple(options.only.split(",")) if options.only else default_cases
    unknown = [c for c in options.only if not re.fullmatch(_CASE, c)]
    if unknown:
        parser.error(f"unknown: {unknown}; expected some like {', '.join(CASES)}")
    wanted = options.variants.split(",") if options.variants else default_variants
    options.variants = tuple(
        name for name in wanted if not of_peer(name) or installed(options.peers, name)
    )
    return options


def main(arguments: list[str] | None = None) -> int:
    """Measures, prints the table, and writes the numbers if asked to."""
    options = parsed(arguments)
    count = len(options.only) * len(options.variants) * options.rounds
    results: dict[str, dict] = {}
    with tqdm(total=count * (options.turns + 1), unit="turn") as progress:
        for case in options.only:
            rounds = [
                measure_round(case, options, progress) for _ in range(options.rounds)
            ]
            results[case] = {
                "ratios": ratios(rounds),
                "megabytes": {
                    variant: float(np.median([r["megabytes"][variant] for r in rounds]))
                    for variant in rounds[0]["megabytes"]
                },
                "rounds": rounds,
            }
            if options.json:
                options.json.write_text(json.dumps(results, indent=1))
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
