"""The toy landscapes: their fronts by other means, and the ends of all methods."""

import dataclasses
import functools
import importlib.util
import pathlib
import sys

import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl

FILE = pathlib.Path(__file__).parents[1] / "examples/toy_landscapes.py"
SPEC = importlib.util.spec_from_file_location("toy_landscapes", FILE)
toys = importlib.util.module_from_spec(SPEC)
sys.modules["toy_landscapes"] = toys
SPEC.loader.exec_module(toys)

KNOWN = ["equal", *mtl.balancers.registry.names(), *mtl.weightings.registry.names()]
METHODS = [name for name in toys.METHODS if name in KNOWN]
EACH = pytest.mark.parametrize("name", toys.LANDSCAPES)


def losses(landscape, points):
    return np.stack(landscape.losses(*np.transpose(points), np), axis=-1)


def slopes(landscape, points):
    """Central differences, shape `(points, tasks, 2)`."""
    steps = 1e-6 * np.eye(2)
    return np.stack(
        [
            (losses(landscape, points + h) - losses(landscape, points - h)) / 2e-6
            for h in steps
        ],
        axis=2,
    )


def faster(name):
    """The landscape with steps so long that a few thousand reach the front."""
    landscape = toys.LANDSCAPES[name]
    if name == "starts":  # without those that a longer rate leaves in a ravine
        starts = ((0.0, 0.0), (-7.5, -0.5), (9.0, -1.0))
        return dataclasses.replace(landscape, rate=0.005, starts=starts)
    return landscape


@functools.cache
def paths_of(name, method, steps):
    return toys.trajectories(faster(name), method, steps, jit=True)


# === The landscapes ===


@EACH
def test_gradients_are_opposite_on_the_front(name):
    landscape = toys.LANDSCAPES[name]
    first, second = np.moveaxis(slopes(landscape, landscape.front()), 1, 0)
    scale = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cross = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    assert np.abs(cross[1:-1] / scale[1:-1]).max() < 1e-4
    assert ((first * second).sum(axis=1)[1:-1] < 0).all()


@EACH
def test_no_point_is_better_in_both_losses_than_one_of_the_front(name):
    landscape = toys.LANDSCAPES[name]
    rng = np.random.default_rng(1)
    points = rng.uniform(-landscape.box, landscape.box, (20_000, 2))
    near = landscape.front()[rng.integers(0, len(landscape.front()), 20_000)]
    others = np.concatenate([points, near + 0.05 * rng.normal(size=near.shape)])
    found = losses(landscape, others)
    for value in losses(landscape, landscape.front()[::20]):
        assert not (found < value - 1e-9).all(axis=1).any()


@pytest.mark.parametrize(
    ("name", "point", "expected"),
    [
        ("concave", (2**-0.5, 2**-0.5), (0.0, 1 - np.exp(-4))),
        ("convex", (1.0, 1.0), (0.0, 14.0)),
        # Below zero the logarithms are off: (49 / 10 - 20) times tanh(4), twice.
        ("starts", (0.0, -8.0), (-1.51 * np.tanh(4), -15.1 * np.tanh(4))),
        # Where one argument of a logarithm is 0 it counts 5e-6.
        ("starts", (-7 + 2 * np.tanh(1), 1.0), (0.1 * (np.log(5e-6) + 6), None)),
        ("starts", (7 - 2 * np.tanh(1), 1.0), (None, np.log(5e-6) + 6)),
    ],
)
def test_losses_by_hand(name, point, expected):
    found = losses(toys.LANDSCAPES[name], np.array([point]))[0]
    share = np.tanh(point[1] / 2) if name == "starts" and point[1] > 0 else 1.0
    for value, wanted in zip(found, expected, strict=True):
        if wanted is not None:
            assert value == pytest.approx(share * wanted, abs=1e-9)


def test_the_middle_of_the_front_of_the_five_starts_is_the_published_one():
    """The authors of CAGrad draw the front at the height -8.3552."""
    front = toys.starts_front()
    assert front[len(front) // 2] == pytest.approx([0, -8.3552], abs=1e-4)


def test_distances():
    landscape = toys.LANDSCAPES["concave"]
    end = 2**-0.5
    points = np.array([[0, 0], [end, end], [end + 3, end + 4], [-0.3, 0.3]])
    expected = [0, 0, 5, 0.3 * 2**0.5]
    np.testing.assert_allclose(landscape.distance(points), expected, atol=1e-9)


# === The methods ===


@EACH
@pytest.mark.parametrize("method", METHODS)
def test_every_method_ends_on_the_front(name, method):
    landscape = faster(name)
    steps = 20_000 if name == "starts" else 4_000
    paths = paths_of(name, method, steps)
    assert paths.shape == (len(landscape.starts), steps + 1, 2)
    distance = landscape.distance(paths[:, 0])
    assert distance.max() > 10 * landscape.tolerance, "started there already"
    assert landscape.distance(paths[:, -1]).max() <= landscape.tolerance


def test_equal_weights_miss_the_middle_of_a_concave_front():
    """No weighted sum has its minimum there; the min-norm point stops where it is."""
    ends = {
        method: paths_of("concave", method, 4_000)[:, -1]
        for method in ("equal", "mgda")
    }
    assert (np.abs(ends["equal"]) > 0.6).all()
    assert (np.abs(ends["mgda"]) < 0.3).all(axis=1).sum() >= 3


def test_equal_weights_stay_in_the_ravine_of_the_third_start():
    landscape = dataclasses.replace(toys.LANDSCAPES["starts"], starts=((9.0, 9.0),))
    ends = {
        method: toys.trajectories(landscape, method, 30_000, jit=True)[:, -1]
        for method in ("equal", "mgda")
    }
    assert landscape.distance(ends["equal"]) > 10
    assert landscape.distance(ends["mgda"]) <= landscape.tolerance


@EACH
@pytest.mark.parametrize("method", METHODS)
def test_one_trace_serves_all_starts_and_steps(name, method):
    landscape = toys.LANDSCAPES[name]
    run = toys.make_run(landscape, toys.make_method(method, landscape), 30, jit=False)
    for start in landscape.starts:
        assert np.isfinite(run(tf.constant(start))).all()
    assert run.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("method", ["pcgrad", "cagrad"])
def test_compiled_runs_are_those_of_the_graph(method):
    landscape = toys.LANDSCAPES["convex"]
    plain, compiled = (
        toys.trajectories(landscape, method, 50, jit) for jit in (False, True)
    )
    np.testing.assert_allclose(compiled, plain, atol=1e-4)


def test_the_example_draws_a_picture(tmp_path, capsys):
    path = tmp_path / "toy.png"
    words = ["--smoke", "--methods", "equal,pcgrad", "--output", str(path)]
    assert toys.main(words) == 0
    shown = capsys.readouterr().out
    for name in toys.LANDSCAPES:
        for method in ("equal", "pcgrad"):
            assert f"\n{name:<9}  {method}" in shown
    assert path.read_bytes().startswith(b"\x89PNG")


def test_unknown_names_are_told(capsys):
    with pytest.raises(SystemExit):
        toys.main(["--methods", "equal,pgcrad"])
    assert "pgcrad" in capsys.readouterr().err
