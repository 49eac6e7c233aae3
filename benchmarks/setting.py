"""Threads, device and clock of a benchmark; imported before TensorFlow or PyTorch.

`step_time.py` sets the environment of its workers; without it, one thread of the CPU.
"""

import os
import resource
import time

THREADS = int(os.environ.get("BENCHMARK_THREADS", "1"))
GPU = os.environ.get("BENCHMARK_DEVICE") == "gpu"

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = str(THREADS)
if not GPU:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def seconds() -> float:
    """CPU seconds of the process, or wall seconds with several threads or a GPU.

    What a GPU was asked for has to be awaited before.
    """
    return time.perf_counter() if GPU or THREADS > 1 else time.process_time()


def peak_megabytes() -> float:
    """The largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
