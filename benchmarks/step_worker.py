"""A process that trains one variant of one case on demand; see `step_time.py`.

It reads one command per line and answers with a JSON line:
`measure STEPS` -> {"seconds": CPU seconds per step}, `memory` -> {"megabytes": …}.
"""

import json
import resource
import sys
import time

import one_thread  # noqa: F401 before TensorFlow
import workloads

_SHORT = 2


def peak_megabytes() -> float:
    """The largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def cpu_seconds(model, data, steps: int) -> float:
    """CPU seconds of all threads during a call of `fit`."""
    start = time.process_time()
    model.fit(data, steps_per_epoch=steps, epochs=1, verbose=0, shuffle=False)
    return time.process_time() - start


def main(case: str, variant: str) -> None:
    """Builds, warms up, then answers commands until the input ends."""
    imported = peak_megabytes()
    model = workloads.compiled(case, variant)
    data = workloads.batches(case, variant)
    cpu_seconds(model, data, _SHORT)  # traces
    rough = cpu_seconds(model, data, 4) / 4
    print(json.dumps({"rough": rough}), flush=True)
    for line in sys.stdin:
        command, *arguments = line.split()
        if command == "measure":
            # The difference of two calls is free of what a call costs.
            steps = int(arguments[0])
            short = cpu_seconds(model, data, _SHORT)
            long = cpu_seconds(model, data, _SHORT + steps)
            answer = {"seconds": (long - short) / steps}
        else:
            answer = {"megabytes": peak_megabytes() - imported}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
