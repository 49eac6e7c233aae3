"""A process that trains one variant of one case on demand; see `step_time.py`.

It reads one command per line and answers with a JSON line:
`measure STEPS` -> {"seconds": seconds per step}, `memory` -> {"megabytes": …}.
"""

import json
import sys

import setting
import setting_tensorflow  # noqa: F401 before TensorFlow
import tensorflow as tf
import workloads

_SHORT = 2


def peak_megabytes() -> float:
    """The largest memory of this process so far, on the GPU if that is what works."""
    if setting.GPU:
        return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20
    return setting.peak_megabytes()


def seconds(model, data, steps: int) -> float:
    """Seconds of a call of `fit`, which ends when its losses have been read."""
    start = setting.seconds()
    model.fit(data, steps_per_epoch=steps, epochs=1, verbose=0, shuffle=False)
    return setting.seconds() - start


def main(case: str, variant: str) -> None:
    """Builds, warms up, then answers commands until the input ends."""
    imported = peak_megabytes()
    model = workloads.compiled(case, variant)
    data = workloads.batches(case, variant)
    seconds(model, data, _SHORT)  # traces
    rough = seconds(model, data, 4) / 4
    print(json.dumps({"rough": rough}), flush=True)
    for line in sys.stdin:
        command, *arguments = line.split()
        if command == "measure":
            # The difference of two calls is free of what a call costs.
            steps = int(arguments[0])
            short = seconds(model, data, _SHORT)
            long = seconds(model, data, _SHORT + steps)
            answer = {"seconds": (long - short) / steps}
        else:
            answer = {"megabytes": peak_megabytes() - imported}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
