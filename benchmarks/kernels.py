"""How fast TensorFlow and PyTorch compute what most of a step consists of.

    python benchmarks/kernels.py                                  # TensorFlow
    .venv-peers/bin/python benchmarks/kernels.py --library torch
    python benchmarks/kernels.py --quick                          # does it run?

Convolutions and matrix products with the sizes of the CNN and the transformer of
`step_time.py`, forward and for both gradients, on one thread. What a step of several
tasks can gain over a peer's ends where these are nearly all of it.
"""

import argparse
import statistics
from collections.abc import Callable

import setting

# Batch, size of the map, channels of the input and of the output; 3×3.
CONVOLUTIONS = [(64, 32, 3, 32), (64, 16, 32, 64), (64, 8, 64, 128), (64, 4, 128, 128)]
# Rows, columns of the input and of the output.
PRODUCTS = [(2048, 128, 128), (2048, 128, 512), (2048, 512, 128)]


def tensorflow_convolution(batch: int, size: int, wide: int, out: int) -> list:
    """Forward, gradient of the filter, gradient of the input."""
    import tensorflow as tf

    x, y = (tf.random.normal([batch, size, size, c]) for c in (wide, out))
    w = tf.random.normal([3, 3, wide, out])
    same = {"strides": [1, 1, 1, 1], "padding": "SAME"}
    filter_gradient = tf.raw_ops.Conv2DBackpropFilter
    input_gradient = tf.raw_ops.Conv2DBackpropInput
    return [
        tf.function(lambda: tf.nn.conv2d(x, w, **same)),
        tf.function(
            lambda: filter_gradient(
                input=x, filter_sizes=w.shape, out_backprop=y, **same
            )
        ),
        tf.function(
            lambda: input_gradient(
                input_sizes=x.shape, filter=w, out_backprop=y, **same
            )
        ),
    ]


def tensorflow_product(rows: int, wide: int, out: int) -> list:
    """Forward, gradient of the kernel, gradient of the input."""
    import tensorflow as tf

    x, w, y = (tf.random.normal(s) for s in ([rows, wide], [wide, out], [rows, out]))
    return [
        tf.function(lambda: tf.matmul(x, w)),
        tf.function(lambda: tf.matmul(x, y, transpose_a=True)),
        tf.function(lambda: tf.matmul(y, w, transpose_b=True)),
    ]


def torch_convolution(batch: int, size: int, wide: int, out: int) -> list:
    """The same in PyTorch, channels last."""
    import torch

    shapes = ((batch, wide, size, size), (out, wide, 3, 3), (batch, out, size, size))
    last = torch.channels_last
    x, w, y = (torch.randn(shape).contiguous(memory_format=last) for shape in shapes)

    def gradient(*wanted):
        one = [1, 1]
        return torch.ops.aten.convolution_backward(
            y, x, w, None, one, one, one, False, [0, 0], 1, wanted
        )

    return [
        lambda: torch.nn.functional.conv2d(x, w, padding=1),
        lambda: gradient(False, True, False),
        lambda: gradient(True, False, False),
    ]


def torch_product(rows: int, wide: int, out: int) -> list:
    """The same in PyTorch, whose kernels are transposed."""
    import torch

    x, w, y = (torch.randn(s) for s in ((rows, wide), (out, wide), (rows, out)))
    return [lambda: x @ w.T, lambda: y.T @ x, lambda: y @ w]


LIBRARIES = {
    "tensorflow": (tensorflow_convolution, tensorflow_product),
    "torch": (torch_convolution, torch_product),
}


def milliseconds(compute: Callable, turns: int) -> float:
    """Median CPU time of one computation."""
    found = []
    for turn in range(turns + 3):
        start = setting.seconds()
        compute()
        if turn >= 3:  # tracing, and the first memory
            found.append(1e3 * (setting.seconds() - start))
    return statistics.median(found)


def prepare(library: str) -> None:
    """Sets the threads of a library."""
    if library == "torch":
        import torch

        torch.set_num_threads(setting.THREADS)
    else:
        import setting_tensorflow  # noqa: F401


def main(arguments: list[str] | None = None) -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", choices=list(LIBRARIES), default="tensorflow")
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--quick", action="store_true", help="two turns: no figures")
    options = parser.parse_args(arguments)
    turns = 2 if options.quick else options.turns
    prepare(options.library)
    convolution, product = LIBRARIES[options.library]
    print(f"{options.library}, ms (GFLOP/s): forward, kernel's and input's gradient\n")
    print("| computation | forward | kernel | input |\n| :--- | ---: | ---: | ---: |")
    cases = [
        (f"convolution {size}×{size}, {wide} → {out}", (batch, size, wide, out))
        for batch, size, wide, out in CONVOLUTIONS
    ] + [
        (f"product {rows}×{wide}×{out}", (rows, wide, out))
        for rows, wide, out in PRODUCTS
    ]
    for name, sizes in cases:
        makes = convolution if len(sizes) == 4 else product
        multiplications = 9 * sizes[1] if len(sizes) == 4 else 1
        for size in sizes:
            multiplications *= size
        cells = []
        for compute in makes(*sizes):
            spent = milliseconds(compute, turns)
            cells.append(f"{spent:.2f} ({2e-6 * multiplications / spent:.0f})")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
