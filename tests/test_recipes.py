"""What the recipes in `examples/` measure with, on cases that are done by hand."""

import itertools
import pathlib
import sys

import keras
import numpy as np
import pytest

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"


@pytest.fixture(autouse=True)
def examples(monkeypatch):
    """The folder from which a script of it imports."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield
    for name in ("recipe", "movielens", "river_flow", "scenes", "digits_sharing"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("ties", [False, True])
def test_area_under_curve_counts_the_pairs_in_order(ties):
    import recipe

    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 60)
    scores = random.integers(0, 7, 60) if ties else random.normal(size=60)
    pairs = itertools.product(scores[labels == 1], scores[labels == 0])
    won = [(a > b) + 0.5 * (a == b) for a, b in pairs]
    area = recipe.area_under_curve(labels, scores)
    assert area == pytest.approx(np.mean(won), abs=1e-12)


def test_codes_of_unknown_values_are_minus_one():
    import recipe

    known = recipe.vocabulary(np.array(["b", "a", "b"], object))
    assert known == ["a", "b"]
    assert recipe.codes(np.array(["b", "c", "a"]), known).tolist() == [1, -1, 0]


def test_mean_and_sample_deviation():
    import recipe

    assert recipe.mean_std([1.0, 3.0], 2) == "2.00 ± 1.41"
    assert recipe.mean_std([1.0], 2) == "1.00"


def test_best_epoch_is_kept_and_ends_the_training():
    import recipe

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    scores, seen = [0.1, 0.5, 0.2, 0.3, 0.9], []

    def score(model):
        seen.append(model.get_weights()[0].item())
        return scores[len(seen) - 1]

    best = recipe.BestEpoch(score, patience=2)
    x = np.ones((4, 1))
    model.fit(x, 3 * x, epochs=5, callbacks=[best], verbose=0)
    assert len(seen) == 4 and (best.epoch, best.best) == (2, 0.5)
    assert model.get_weights()[0].item() == seen[1]


def test_results_are_kept_and_other_settings_refused(tmp_path):
    import recipe

    path = tmp_path / "runs" / "results.json"
    for _ in range(2):
        results = recipe.Results(path, {"epochs": 2})
        runs = iter([{"score": 1.0}])
        assert results.get("a", lambda runs=runs: next(runs))["score"] == 1.0
    recipe.Results(path, {"epochs": 2}).get("a", lambda: pytest.fail("ran again"))
    with pytest.raises(SystemExit, match="other settings"):
        recipe.Results(path, {"epochs": 3})


def test_compare_adds_up_the_costs_of_single_models(tmp_path):
    import recipe

    def train(architecture, methods, tasks, seed, bar):
        return dict.fromkeys(tasks, seed + 0.5) | {"parameters": 10}

    rows = {"alone": ("single", {}), "shared": ("hard", {})}
    results = recipe.Results(tmp_path / "results.json", {})
    found = recipe.compare(rows, ("a", "b"), 2, results, train)
    assert [run["parameters"] for run in found["alone"]] == [20, 20]
    assert [run["parameters"] for run in found["shared"]] == [10, 10]
    for runs in found.values():
        assert [(run["a"], run["b"]) for run in runs] == [(0.5, 0.5), (1.5, 1.5)]


def test_ranking_by_hand():
    import movielens

    scores = np.tile(np.arange(20.0, 0.0, -1.0), (3, 1))
    known = np.zeros((3, 20), int)
    known[0, 0] = 1
    lists = movielens.top_films(scores, known)
    assert lists[0].tolist() == list(range(1, 11))
    assert lists[1].tolist() == list(range(10))
    relevant = np.zeros((3, 20), int)
    relevant[0, [2, 15]] = 1  # second place of the list, and not in it
    relevant[1, :12] = 1  # more than the list has places
    found = movielens.ranking(lists, relevant)  # the third user has none
    first = (1 / np.log2(3)) / (1 / np.log2(2) + 1 / np.log2(3))
    assert found["ndcg"] == pytest.approx((first + 1) / 2)
    assert found["recall"] == pytest.approx((1 / 2 + 10 / 12) / 2)


def test_relative_errors_by_hand():
    import river_flow

    columns = {"flow_48h": np.array([[1.0, 2.0], [3.0, 2.0]])}
    forecast = np.array([[1.0, 3.0], [2.0, 2.0]])
    found = river_flow.errors(forecast, columns, np.array([1.0, 4.0]))
    np.testing.assert_allclose(found, [np.sqrt(1 / 4), np.sqrt(1 / 8)])


def test_scenes_without_their_image_by_hand():
    import scenes

    train = {
        "surface": np.array([[[0], [1]], [[0], [1]], [[1], [2]]])[:, None],
        "depth": np.array([[[1.0, 2.0]], [[2.0, 2.0]], [[3.0, 8.0]]]),
        "count": np.array([1, 2, 6]),
    }
    test = {
        "surface": np.array([[[0], [1]], [[1], [1]]])[:, None],
        "depth": np.array([[[4.0, 2.0]], [[2.0, 1.0]]]),
        "count": np.array([3, 1]),
    }
    found = scenes.without_image(train, test)
    # Found are [0, 1] twice: class 0 has 1 of 2 pixels in common, class 1 has 2 of 3.
    assert found["surface mean_iou"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found["depth mae"] == pytest.approx((2 + 0 + 0 + 1) / 4)
    assert found["depth relative_error"] == pytest.approx((2 / 4 + 0 + 0 + 1) / 4)
    assert found["count mae"] == 1.0


@pytest.mark.parametrize("tasks", [("surface", "depth", "count"), ("depth",)])
def test_score_of_scenes_is_the_mean_over_the_tasks_there_are(monkeypatch, tasks):
    import scenes

    columns = {"depth": np.array([1.0, 3.0]), "count": np.array([0, 8])}
    logs = {"surface mean_iou": 0.4, "depth mae": 0.1, "count mae": 1.0}
    monkeypatch.setattr(scenes, "measure", lambda *_: logs)
    model = type("Model", (), {"task_names": tasks})
    expected = {"surface": 0.4, "depth": 1 - 0.1 / 1.0, "count": 1 - 1.0 / 4.0}
    mean = np.mean([expected[task] for task in tasks])
    assert scenes.score(model, columns) == pytest.approx(mean)


def test_table_of_scenes_has_tasks_below_each_other(tmp_path):
    import scenes

    run = {
        f"{task} {metric}": 0.5
        for task, metrics in scenes.METRICS.items()
        for metric in metrics
    }
    made = scenes.table(
        {"no image": [run], "MTAN": [run | {"parameters": 1234, "seconds": 5.0}] * 2}
    )
    assert made.header == ("task", "metric", "no image", "MTAN")
    assert ("surface", "mean IoU ↑", "0.500", "0.500 ± 0.000") in made.rows
    assert made.rows[-2:] == (
        ("all", "parameters", "0", "1,234"),
        ("all", "seconds", "0", "5 ± 0"),
    )


def test_digits_take_the_rate_that_is_better_on_validation(monkeypatch, tmp_path):
    import digits_sharing

    validation = {1e-3: 0.7, 3e-3: 0.6}

    def train(architecture, methods, tasks, splits, rate, seed, arguments, bar):
        numbers = {"validation": validation[rate], "parameters": 10}
        return numbers | dict.fromkeys(tasks, 100 * rate)

    monkeypatch.setattr(digits_sharing, "train", train)
    monkeypatch.setattr(digits_sharing, "prepare", lambda *_: None)
    monkeypatch.setattr(digits_sharing, "load", lambda *_: {})
    monkeypatch.setattr(sys, "argv", ["digits_sharing.py", "--runs", str(tmp_path)])
    assert digits_sharing.main() == 0
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert len(lines) == 2 + len(digits_sharing.ROWS)
    assert lines[2].startswith("| single-task | 0.100 ± 0.000 | 0.100 ± 0.000 |")
