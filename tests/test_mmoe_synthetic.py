"""The synthetic tasks of the MMoE study have the cosine and the noise that they say."""

import importlib.util
import pathlib
import sys

import numpy as np
import pytest

FILE = pathlib.Path(__file__).parents[1] / "examples/mmoe_synthetic.py"
SPEC = importlib.util.spec_from_file_location("mmoe_synthetic", FILE)
study = importlib.util.module_from_spec(SPEC)
sys.modules["mmoe_synthetic"] = study
SPEC.loader.exec_module(study)


def linear_parts(x, labels):
    """Directions of the labels: what a linear fit finds, at length 1."""
    found = [np.linalg.lstsq(x, y, rcond=None)[0] for y in labels.values()]
    return [direction / np.linalg.norm(direction) for direction in found]


@pytest.mark.parametrize("cosine", [0.0, 0.5, 1.0])
def test_directions_have_the_cosine(cosine):
    x, labels = study.make_data(cosine, 50_000, seed=1)
    assert x.shape == (50_000, 100)
    first, second = linear_parts(x, labels)
    assert first @ second == pytest.approx(cosine, abs=0.02)


def test_equal_tasks_differ_by_their_noise():
    _, labels = study.make_data(1.0, 50_000, seed=1)
    difference = labels["first"] - labels["second"]
    assert difference.std() == pytest.approx(np.sqrt(2) * study.NOISE, rel=0.02)


def test_correlation_of_the_labels_falls_with_the_cosine():
    found = [
        np.corrcoef(*study.make_data(cosine, 20_000, seed=0)[1].values())[0, 1]
        for cosine in (0.0, 0.5, 0.9, 1.0)
    ]
    assert found == sorted(found)
    assert found[0] == pytest.approx(0, abs=0.05)
    assert found[-1] > 0.99


def test_the_ways_to_share_have_as_many_parameters():
    sizes = [study.make_model(way).count_params() for way in study.WAYS]
    gates = [0, 800, 1600]
    for size, gate in zip(sizes, gates, strict=True):
        assert size - gate == pytest.approx(13_200, rel=0.01)
