"""What a training step spends its time on, by TensorFlow's profiler.

    python benchmarks/profile_step.py cnn-2 pcgrad
    python benchmarks/profile_step.py transformer-2 fast:plain --steps 50

Cases and variants are those of `step_time.py`. One thread runs all operations, so their
times add up; what lies between them is not in the table: TensorFlow's executor, Keras,
Python, and the profiler itself.
"""

import argparse
import collections
import pathlib
import re
import sys
import tempfile

import numpy as np
import setting_tensorflow  # noqa: F401 before TensorFlow
import tensorflow as tf
import workloads
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from keras_mtl.plots import Table, markdown_table

# What an operation is for, by the start of its type; the first that fits counts.
KINDS = {
    "convolutions": ("Conv2D", "FusedConv2D", "DepthwiseConv"),
    "matrix products": ("MatMul", "BatchMatMul", "FusedMatMul", "Einsum"),
    "normalisation": ("FusedBatchNorm",),
    "pooling": ("MaxPool", "AvgPool"),
    "optimizer": ("ResourceApply", "AssignVariable", "AssignAddVariable"),
    "compiled by XLA": ("Xla",),
    "sums and means": ("Sum", "Mean", "BiasAddGrad"),
    "layout and copies": ("Transpose", "Concat", "Split", "Pack", "Gather", "Slice"),
}
OTHERS = "elementwise and others"


def operations(folder: pathlib.Path, steps: int) -> dict[str, float]:
    """Milliseconds of a step by type of operation, from the profile in a folder.

    An operation counts with its median, so that what interrupts one run of it does not.
    """
    runs: dict[tuple[str, str], list[float]] = collections.defaultdict(list)
    for path in folder.rglob("*.xplane.pb"):
        space = xplane_pb2.XSpace()
        space.ParseFromString(path.read_bytes())
        for plane in space.planes:
            for line in plane.lines:
                for event in line.events:
                    # The profiler calls an operation "name:Type", and shows its type.
                    known = plane.event_metadata[event.metadata_id]
                    kind = known.display_name
                    if kind and known.name.endswith(f":{kind}"):
                        runs[known.name, kind].append(event.duration_ps / 1e9)
    found: dict[str, float] = collections.Counter()
    for (_, kind), durations in runs.items():
        found[kind] += float(np.median(durations)) * len(durations) / steps
    return found


def kind_of(operation: str) -> str:
    """What an operation of this type is for, whoever's kernel it is."""
    plain = re.sub("^_?(Mkl)?(Native)?", "", operation)
    fits = (k for k, starts in KINDS.items() if plain.startswith(starts))
    return next(fits, OTHERS)


def profile(case: str, variant: str, steps: int) -> dict[str, float]:
    """Milliseconds of a step by type of operation."""
    model = workloads.compiled(case, variant)
    data = workloads.batches(case, variant)
    settings = {"epochs": 1, "verbose": 0, "shuffle": False}
    model.fit(data, steps_per_epoch=5, **settings)
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            model.fit(data, steps_per_epoch=steps, **settings)
        return operations(pathlib.Path(folder), steps)


def table(found: dict[str, float]) -> str:
    """Shares of the operations' time by kind, and the dearest types in each."""
    by_kind: dict[str, dict[str, float]] = collections.defaultdict(dict)
    for operation, spent in found.items():
        by_kind[kind_of(operation)][operation] = spent
    whole = sum(found.values())
    rows = []
    for kind, inside in sorted(by_kind.items(), key=lambda k: -sum(k[1].values())):
        total = sum(inside.values())
        dearest = sorted(inside, key=inside.__getitem__, reverse=True)[:3]
        shown = ", ".join(f"{name} {inside[name]:.2f}" for name in dearest)
        rows.append((kind, f"{total:.2f}", f"{total / whole:.1%}", shown))
    rows.append(("all", f"{whole:.2f}", "", ""))
    header = ("kind", "ms per step", "share", "dearest, ms")
    return markdown_table(Table(header, tuple(rows)))


def main(arguments: list[str] | None = None) -> int:
    """Profiles some steps and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", nargs="?", default="mlp-2")
    parser.add_argument("variant", nargs="?", default="pcgrad")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--quick", action="store_true", help="few steps: no figures")
    options = parser.parse_args(arguments)
    steps = 2 if options.quick else options.steps
    print(f"{options.case}, {options.variant}\n")
    print(table(profile(options.case, options.variant, steps)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
