"""What the recipes in `examples/` measure with, on cases that are done by hand."""

import itertools
import pathlib
import sys
import zlib

import keras
import numpy as np
import pytest
import tqdm

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"


@pytest.fixture(autouse=True)
def examples(monkeypatch):
    """The folder from which a script of it imports."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield
    for path in EXAMPLES.glob("*.py"):
        sys.modules.pop(path.stem, None)


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


def test_scores_of_classes_by_hand():
    import recipe

    labels = np.array([0, 0, 0, 1, 1, 2])
    predicted = np.array([0, 0, 1, 1, 0, 0])
    found = recipe.class_scores(labels, predicted, 4)
    np.testing.assert_allclose(found[0], [2 / 4, 1 / 2, 0, 0])
    np.testing.assert_allclose(found[1], [2 / 3, 1 / 2, 0, 0])
    f1 = [4 / 7, 1 / 2, 0]
    np.testing.assert_allclose(found[2], [*f1, 0])
    assert found[3].tolist() == [3, 2, 1, 0]
    macro = recipe.f1_score(labels, predicted, 4, "macro")
    assert macro == pytest.approx(sum(f1) / 3)
    weighted = recipe.f1_score(labels, predicted, 4, "weighted")
    assert weighted == pytest.approx((3 * f1[0] + 2 * f1[1]) / 6)
    lines = recipe.classification_report(labels, predicted, ["a", "b", "c", "d"])
    assert "| a | 0.500 | 0.667 | 0.571 | 3 |" in lines
    assert "| weighted mean | 0.417 | 0.500 | 0.452 | 6 |" in lines
    assert "| accuracy |  |  | 0.500 | 6 |" in lines


def test_reports_of_all_tasks_are_shown_and_kept(tmp_path, capsys):
    import recipe

    run = {"a report": "| of a |", "b report": "| of b |", "a accuracy": 0.5}
    recipe.show_reports("shared", run, ("a", "b"), tmp_path)
    text = "Classes, test split, shared, first seed:\n\na\n\n| of a |\n\nb\n\n| of b |"
    assert (tmp_path / "reports.md").read_text().strip() == text
    assert capsys.readouterr().out.strip() == text


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


def test_pieces_of_molecules_by_hand(monkeypatch):
    import molecule_ace

    counts = molecule_ace.piece_counts(["CCO", "C" * 300])
    assert counts.shape == (2, molecule_ace.BUCKETS)
    pieces = {b"C": 2, b"O": 1, b"CC": 1, b"CO": 1, b"CCO": 1}
    expected = np.zeros(molecule_ace.BUCKETS)
    for piece, count in pieces.items():
        expected[zlib.crc32(piece) % molecule_ace.BUCKETS] += count
    assert counts[0].tolist() == expected.tolist()
    # 300 to 296 times a piece of one to five characters: a byte holds 255.
    assert set(counts[1].tolist()) == {0, 255}


def test_errors_leave_out_what_is_not_labelled():
    import molecule_ace

    labels = np.array([[1.0, np.nan], [3.0, 0.0]])
    found = molecule_ace.errors(np.array([[1.0, 7.0], [1.0, 1.0]]), labels, [1.0, 3.0])
    np.testing.assert_allclose(found, [np.sqrt(2.0), 3.0])


def few_molecules(num_buckets, num_targets):
    """Random splits in which each molecule has a label with probability 0.6."""
    random = np.random.default_rng(0)
    splits = {}
    for split, size in (("train", 40), ("validation", 12), ("test", 20)):
        counts = random.poisson(1.0, (size, num_buckets)).astype("uint8")
        noise = random.normal(size=(size, num_targets))
        labels = counts[:, :num_targets] - 1.0 + 0.3 * noise
        labels[random.random(labels.shape) > 0.6] = np.nan
        scale = np.linspace(0.5, 2.0, num_targets)
        splits[split] = {"counts": counts, "labels": labels, "scale": scale}
    return splits


def test_ridge_of_molecules_solves_the_normal_equations():
    import molecule_ace

    splits = few_molecules(num_buckets=20, num_targets=2)
    data = {
        split: (np.log1p(counts.astype("float64")), labels)
        for split, columns in splits.items()
        for counts, labels in [molecule_ace.of_target(columns, 1)]
    }
    x, y = data["train"]
    found = []
    for penalty in molecule_ace.PENALTIES:
        centred = x - x.mean(axis=0)
        normal = centred.T @ centred + penalty * np.eye(20)
        w = np.linalg.solve(normal, centred.T @ (y - y.mean()))
        found.append(
            [
                2.0 * np.sqrt(np.mean(((i - x.mean(axis=0)) @ w + y.mean() - j) ** 2))
                for i, j in (data["validation"], data["test"])
            ]
        )
    best = min(found)  # by the error on validation
    assert 0 < found.index(best) < len(found) - 1
    np.testing.assert_allclose(molecule_ace.ridge_of_target(splits, 1), best, rtol=1e-4)


def test_models_of_single_targets_know_nothing_of_each_other(monkeypatch):
    import molecule_ace

    splits = few_molecules(num_buckets=16, num_targets=2)
    monkeypatch.setattr(molecule_ace, "BUCKETS", 16)
    monkeypatch.setattr(molecule_ace, "TARGETS", ("a", "b"))
    turned = {
        split: columns
        | {"labels": columns["labels"][:, ::-1], "scale": columns["scale"][::-1]}
        for split, columns in splits.items()
    }
    found = []
    for data in (splits, turned):
        keras.utils.set_random_seed(0)
        bar = tqdm.tqdm(disable=True)
        found.append(molecule_ace.train_alone(4, data, seed=0, epochs=2, bar=bar))
    assert found[0]["test"] == pytest.approx(found[1]["test"][::-1], rel=1e-5)
    assert found[0]["parameters"] == 2 * (16 * 4 + 4 + 4 + 1)


def test_table_of_molecules_counts_the_targets_that_gain(monkeypatch):
    import molecule_ace

    errors = {"ridge": [2.0, 2.0, 2.0], molecule_ace.ALONE: [3.0, 1.0, 3.0]}
    errors["shared"] = [1.0, 1.5, 2.5]
    rows = {
        name: [{"test": test, "parameters": 1000, "seconds": 1.0}] * 2
        for name, test in errors.items()
    }
    lines = molecule_ace.table(rows).splitlines()
    assert lines[-1] == "| shared | 1.6667 ± 0.0000 | 2 | 2 | 1,000 | 1 ± 0 |"
    assert lines[2].startswith("| ridge | 2.0000 ± 0.0000 | 2 |  |")


def test_lenet_has_the_layers_of_the_paper():
    import multi_mnist

    model = multi_mnist.build(multi_mnist.TASKS)
    shared = (25 + 1) * 10 + (250 + 1) * 20 + (6 * 6 * 20 + 1) * 50
    assert model.count_params() == shared + 2 * ((50 + 1) * 50 + (50 + 1) * 10)


def test_nearest_messages_by_hand():
    import translation

    known = np.array(["delete page", "save", "delete image"], object)
    texts = np.array(["Delete this image", "saved", "delete page"], object)
    assert translation.nearest_texts(texts, known).tolist() == [2, 1, 0]


def test_batches_of_messages_have_the_tokens_of_their_decoders():
    import translation

    pieces = np.zeros((3, translation.LENGTH), np.int32)
    pieces[0, :3], pieces[1, :8] = [7, 8, translation.END], [*range(5, 12), 3]
    columns = {
        "english": np.array(["a", "b", ""], object),
        "german": np.array(["a", "b", ""], object),
        "application": np.array([4, 5, 6]),
        "pieces": {"english": pieces, "german": pieces},
    }
    found = {}
    for inputs, labels in translation.batches(columns, ("german", "application")):
        assert inputs["source"].shape == labels["german"].shape
        assert (inputs["german_tokens"][:, 0] == translation.START).numpy().all()
        shifted = inputs["german_tokens"][:, 1:]
        np.testing.assert_array_equal(shifted, labels["german"][:, :-1])
        for application, row in zip(
            labels["application"], labels["german"], strict=True
        ):
            found[int(application)] = [int(piece) for piece in row]
    # Batches are of one length: short messages are not as long as the longest.
    assert found == {4: [7, 8, 3], 6: [0, 0, 0], 5: [*range(5, 12), 3]}
    [(inputs, _), _] = translation.batches(columns, ("application",))
    assert inputs.shape == (2, 3)


def test_sentences_are_padded_and_unknown_words_known_as_such():
    import intents

    rows = [{"tokens": np.array([b"turn", b"off"]), "slots": [0, 3], "intent": 5}]
    made = intents.columns(rows, {b"turn": 2})
    assert made["words"][0, :3].tolist() == [2, intents.UNKNOWN, intents.PADDING]
    assert made["slots"][0, :3].tolist() == [0, 3, -1]
    assert made["word_mask"].sum() == 2
    assert made["intent"].tolist() == [5]


def test_a_sentence_is_right_if_both_models_are():
    import intents

    shared = {"parameters": 10, "seconds": 1.0, "epoch": 2}
    parts = [
        shared | {"intent": 0.5, "intent_right": [1, 1, 0, 0]},
        shared | {"slots": 0.7, "slots_right": [1, 0, 1, 0]},
    ]
    expected = {"intent": 0.5, "slots": 0.7, "both": 0.25}
    assert intents.together(parts) == expected | {"parameters": 20, "seconds": 2.0}


def test_scores_of_intents_leave_padding_out():
    import intents

    place = intents.SLOT_TAGS.index("B-area")
    slots = np.full((2, 4), -1)
    slots[0, 0], slots[1, :2] = place, [place, place]
    split = {"words": slots, "slots": slots, "intent": np.array([1, 1])}
    split["word_mask"] = slots >= 0
    tags = np.full(slots.shape, "B-area", object)
    tags[:, 1] = ""
    served = {"slots": {"label": tags}, "intent": {"label": np.array([1, 0])}}
    found = intents.scores(served, split, reports=True)
    assert found["intent"] == 0.5
    assert found["intent_right"].tolist() == [True, False]
    assert found["slots"] == pytest.approx(0.8)  # two of two, and one is missed
    assert found["slots_right"].tolist() == [True, False]
    assert "| area | 1.000 | 0.667 | 0.800 | 3 |" in found["slots report"]
    assert "| all slots | 1.000 | 0.667 | 0.800 | 3 |" in found["slots report"]
    assert "| floor | 0.000 | 0.000 | 0.000 | 0 |" in found["slots report"]
    assert "| accuracy |  |  | 0.500 | 2 |" in found["intent report"]


def test_stored_answers_are_each_there_once():
    import assistant

    blocks = {
        "On": [("lights", ["light up", "lights on"]), ("default", ["turn it on"])],
        "Start": [("default", ["start it"])],
    }
    grammar = {
        "intents": {
            intent: {"data": [{"response": r, "sentences": s} for r, s in parts]}
            for intent, parts in blocks.items()
        },
        "responses": {
            "intents": {
                "On": {"lights": "Lights are on", "default": "Done"},
                "Start": {"default": "Done"},
            }
        },
    }
    answers, of_template = assistant.stored_answers(grammar)
    assert answers == ["Lights are on", "Done"]
    assert of_template.tolist() == [0, 0, 1, 1]


def test_answers_are_spoken_with_their_slots():
    import assistant

    answer = (
        "{% if\n a %}{# now #} Added {{ slots.item | lower }} {% endif %} at {{ now }}"
    )
    assert assistant.words_of(answer) == [
        "added",
        "slots",
        "item",
        "lower",
        "at",
        "now",
    ]
    assert assistant.spoken(answer, {"item": "green tea"}) == "Added green tea at …"
    assert assistant.spoken(answer, {}) == "Added … at …"
    assert assistant.spoken("For {{ hours }} {{ name }}.", {}) == "For …."
    assert assistant.spoken("{% if a %}Yes{% else %}No{% endif %}", {}) == "Yes / No"


def test_nearest_items_of_every_answer():
    import assistant

    items = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]], "float32")
    found = assistant.by_neighbour(np.eye(2) * 5, items, np.array([2, 0, 2]), 4)
    expected = [[0.0, -1.0, 1.0, -1.0], [1.0, -1.0, 0.8, -1.0]]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_threshold_answers_as_many_as_are_right_enough(monkeypatch):
    import assistant

    monkeypatch.setattr(assistant, "PRECISION", 0.75)
    confidence = np.array([0.5, 0.9, 0.7, 0.7, 0.6, 0.8])
    right = np.array([False, True, True, False, True, True])
    # Down to 0.7 three of four are right, to 0.6 four of five, to 0.5 four of six.
    assert assistant.threshold_of(confidence, right) == 0.6
    right[:] = False
    assert assistant.threshold_of(confidence, right) == np.inf
    # Of two that are equally sure both are answered, or none.
    right = np.array([True, False])
    assert assistant.threshold_of(np.array([0.7, 0.7]), right) == np.inf


def test_hand_over_is_measured_on_test_with_the_threshold_of_validation():
    import assistant

    scores = np.array([[0.9, 0.1], [0.3, 0.7], [0.4, 0.6]])
    splits = {
        "train": {"answer": np.array([0])},
        "validation": {"answer": np.array([0, 1, 0])},
        "test": {"answer": np.array([1, 1, 0])},
    }
    others = np.array([True, False, True])
    found = {"validation": scores, "test": scores}
    numbers = assistant.measured(found, splits, others)
    assert numbers["threshold"] == 0.7
    assert numbers["answered"] == pytest.approx(2 / 3)
    assert (numbers["right"], numbers["whole"]) == (0.5, 0.0)
    assert (numbers["new"], numbers["new right"]) == (2, 1)
    assert numbers["recall_at_1"] == pytest.approx(1 / 3)


def test_tail_is_that_of_fishers_exact_test():
    import opinion_monitor
    import scipy.stats

    for negative, size, bad, total in [(7, 20, 30, 200), (0, 5, 3, 9), (9, 9, 60, 61)]:
        table = [[negative, size - negative], [bad - negative]]
        table[1].append(total - size - table[1][0])
        if min(table[1]) < 0:
            expected = 1.0 if negative == 0 else 0.0
        else:
            expected = scipy.stats.fisher_exact(table, "greater").pvalue
        found = opinion_monitor.tail(negative, size, bad, total)
        assert found == pytest.approx(expected, rel=1e-9)


def reviews_of_one_topic(num_reviews, every):
    """Reviews of topic 1, every so many of them negative."""
    negative = (np.arange(num_reviews) % every == 0).astype(int)
    return {"topic": np.ones(num_reviews, int), "negative": negative}


def test_monitor_finds_a_jump_and_keeps_it_out_of_the_baseline():
    import opinion_monitor

    sizes, negatives = np.full((5, 2), 100), np.full((5, 2), 20)
    negatives[2:4, 1] = 45
    before = (np.array([300, 300]), np.array([60, 60]))
    alerts, limits = opinion_monitor.monitor(before, sizes, negatives, limits=True)
    assert np.argwhere(alerts).tolist() == [[2, 1], [3, 1]]
    level = opinion_monitor.ALPHA / 10
    for row, total in ((0, 300), (2, 500), (3, 500), (4, 500)):
        k, bad = round(limits[row, 1] * 100), total // 5
        assert opinion_monitor.tail(k, 100, bad + k, total + 100) < level
        assert opinion_monitor.tail(k - 1, 100, bad + k - 1, total + 100) >= level
    assert before[0].tolist() == [300, 300]


def test_planted_jumps_are_of_their_topic_window_and_size():
    import opinion_monitor

    labels = reviews_of_one_topic(2200, every=10)
    labels["topic"][1::2] = 0
    labels["topic"][5::100] = -1
    order = opinion_monitor.plant(labels, 1, 4, 3.0, np.random.default_rng(0))
    assert sorted(order) == list(range(2200))
    changed = opinion_monitor.in_order(labels, order)
    np.testing.assert_array_equal(changed["topic"], labels["topic"])
    sizes, negatives = opinion_monitor.windows_of(changed)
    assert sizes[:, 1].tolist() == [50] * 22
    assert negatives[:4, 1].tolist() == [10] * 4
    assert negatives[4:7, 1].sum() == 90  # a fifth of 150, three times
    assert negatives[:, 1].sum() == labels["negative"][labels["topic"] == 1].sum()
    # In the last windows no negative reviews come later.
    rng = np.random.default_rng(0)
    assert opinion_monitor.plant(labels, 1, 19, 3.0, rng) is None


def test_answers_to_questions_about_digits():
    import questions

    rng = np.random.default_rng(0)
    left, right = rng.integers(0, 10, (2, 500))
    texts, answers, topics = questions.ask(left, right, rng)
    rules = {
        "left": lambda a, b: a,
        "right": lambda a, b: b,
        "larger": max,
        "smaller": min,
        "sum": lambda a, b: a + b,
        "difference": lambda a, b: abs(a - b),
    }
    names = list(questions.TOPICS)
    for text, answer, topic, a, b in zip(
        texts, answers, topics, left, right, strict=True
    ):
        assert text in questions.TOPICS[names[topic]][0]
        assert answer == rules[names[topic]](int(a), int(b))
    assert set(topics) == set(range(len(names)))
    assert answers.max() < len(questions.CLASSES["answer"])
    longest = max(len(text.split()) for text in texts)
    assert longest <= questions.WORDS


def sentences_of(*rows):
    """Sentences of `brown_corpus`, from the document, the words and their tags."""
    return [
        {"document": document, "tokens": words.split(), "tags": tags, "genre": 3}
        for document, words, tags in rows
    ]


def test_chunks_hold_whole_sentences_of_one_document():
    import brown

    sentences = sentences_of(
        (b"a", "a b", [1, 2]),
        (b"a", "c d", [3, 4]),
        (b"a", "b b b b b", [5, 6, 7, 8, 9]),
        (b"b", "a", [10]),
    )
    pieces = {"a": 1, "b": 1, "c": 2, "d": 1}
    chunks = brown.in_chunks(sentences, pieces, room=4)
    words = ["a b", "c d", "b b b b", "b", "a"]  # the long sentence is divided
    assert [" ".join(chunk["words"]) for chunk in chunks] == words
    tags = [tag for chunk in chunks for tag in chunk["tags"]]
    assert tags == list(range(1, 11))
    assert [chunk["document"] for chunk in chunks] == [b"a"] * 4 + [b"b"]


def test_how_a_word_is_written():
    import brown

    words = ("the", "The", "U.S.", "I", "1961", "--", "McKay", "it's")
    assert [brown.shape_of(word) for word in words] == [2, 3, 4, 3, 5, 1, 3, 2]


def test_genre_of_a_document_is_that_of_its_chunks_together():
    import brown

    genres = np.full((4, len(brown.GENRES)), -9.0)
    genres[:, 0], genres[:, 1] = [-1, -1, -5, -1], [-2, -2, -1, -3]
    split = {"document": np.array([0, 0, 0, 1]), "genre": np.array([1, 1, 1, 0])}
    found = brown.genre_scores(genres, split)
    # Two of three chunks say 0; the mean of the first document is -7/3 against -5/3.
    assert found["genre accuracy"] == 1.0
    assert found["chunk accuracy"] == 0.5
    whole = np.eye(len(brown.GENRES))[[0, 0]]
    assert brown.genre_scores(genres, split, whole)["genre accuracy"] == 0.5


def test_most_frequent_tags_by_hand():
    import brown

    train = {"words": [["a", "a", "b"], ["a", "c", "d"]]}
    train["tags"] = np.array([[1, 1, -1, 2], [3, 4, 4, -1]])
    test = {"words": [["a", "b", "new", "A"]], "tags": np.array([[1, 2, 4, 3]])}
    # Words seen once, b, c and d, are mostly of tag 4; so are "new" and "A".
    found = brown.tag_of_word({"train": train, "test": test})
    assert found == {"tags accuracy": 0.75}


@pytest.mark.parametrize("of_documents", [True, False])
def test_logistic_baseline_of_genres_is_chosen_on_validation(of_documents):
    import brown

    def split(seed):
        random = np.random.default_rng(seed)
        genre = np.repeat([2, 7, 7, 2], 3)
        words = [
            [f"{'x' if random.random() < 0.7 else 'y'}{g}" for _ in range(6)] + ["the"]
            for g in genre
        ]
        return {"genre": genre, "document": np.arange(12) // 3, "words": words}

    splits = {name: split(seed) for seed, name in enumerate(brown.SPLITS)}
    found = brown.tfidf_logistic(splits, of_documents)
    assert found["genre accuracy"] == found["chunk accuracy"] == 1.0
    assert 1 / found["penalty"] in brown.PENALTIES
    # Labels of the test split choose nothing.
    turned = splits | {"test": splits["test"] | {"genre": 9 - splits["test"]["genre"]}}
    again = brown.tfidf_logistic(turned, of_documents)
    assert (again["words"], again["penalty"]) == (found["words"], found["penalty"])
    assert again["genre accuracy"] == 0.0


def test_options_of_a_row_go_before_those_of_the_recipe():
    import recipe

    plain, balanced = {"loss_weighting": "dwa"}, {"balancer": "mgda"}
    assert recipe.with_options(plain, scale="sum") == plain
    found = recipe.with_options({**balanced, "balancing": {"every": 5}}, scale="sum")
    options = recipe.BalancingOptions(scale="sum", every=5)
    assert found == {**balanced, "balancing": options}
