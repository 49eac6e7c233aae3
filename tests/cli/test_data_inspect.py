"""`keras-mtl data inspect`, and training on one's own files."""

import json

import numpy as np
import pytest
import yaml

from keras_mtl.cli.main import main
from tests.cli.conftest import CONFIG

SCHEMA = {
    "format": "csv",
    "splits": {"train": "train.csv", "validation": "valid.csv", "test": "valid.csv"},
    "inputs": {"point": {"kind": "number", "columns": ["a", "b", "c", "d"]}},
    "labels": {
        "kind": {"kind": "class", "classes": 4},
        "total": {"kind": "number", "missing": "?"},
    },
}


@pytest.fixture
def schema(tmp_path):
    """The tiny points as files of one's own; half of the sums are missing."""
    rng = np.random.default_rng(0)
    for split, rows in (("train", 40), ("valid", 16)):
        lines = ["a,b,c,d,kind,total"]
        for row, point in enumerate(rng.normal(size=(rows, 4)).round(3)):
            total = "?" if row % 2 else point.sum().round(3)
            lines.append(",".join(map(str, [*point, point.argmax(), total])))
        (tmp_path / f"{split}.csv").write_text("\n".join(lines))
    path = tmp_path / "points.yaml"
    path.write_text(yaml.safe_dump(SCHEMA))
    return path


def test_inspect_a_schema(schema, tmp_path, capsys):
    picture = tmp_path / "relevance.png"
    assert main(["data", "inspect", str(schema), "--out", str(picture)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == (
        ["task", "task", "common", "rows", "correlation", "information", "inputs"]
    )
    cells = shown[2].split()
    assert cells[:3] == ["kind", "total", "20"]
    assert cells[5] == "0.500"  # of 40 points with a kind, 20 have a sum
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_inspect_datasets_and_schemas(schema, data_dir, capsys):
    words = ["data", "inspect", "tiny_points", str(schema), "--data-dir", str(data_dir)]
    assert main([*words, "--labels", "kind,total", "--inputs", "point"]) == 0
    shown = capsys.readouterr().out
    rows = [line.split() for line in shown.splitlines()[2:]]
    assert len(rows) == 6
    # Every third sum is masked.
    assert ["tiny_points/kind", "tiny_points/total", "26"] in [row[:3] for row in rows]
    # The two have 40 points each, none in common.
    assert ["tiny_points/kind", "points/total", "0", "–", "–", "0.000"] in rows


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tiny_point"], "Did you mean"),
        (["tiny_points", "--labels", "knd,total"], "Did you mean 'kind'"),
        (["tiny_points", "--labels", "kind,unused"], "classes or numbers"),
        (["tiny_points"], "two tasks or more"),
    ],
)
def test_what_cannot_be_inspected(words, message, data_dir, capsys):
    assert main(["data", "inspect", *words, "--data-dir", str(data_dir)]) == 1
    assert message in capsys.readouterr().err


def test_train_and_evaluate_on_own_files(schema, tmp_path, capsys):
    config = CONFIG | {"data": {"schema": str(schema), "batch_size": 16}}
    config["fit"] = {"epochs": 1, "verbose": 0}
    config["tasks"] = [CONFIG["tasks"][0] | {"missing": -1}, CONFIG["tasks"][1]]
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    run = tmp_path / "run"
    assert main(["train", str(path), "--output", str(run)]) == 0
    assert "3 steps per epoch" in capsys.readouterr().out
    assert main(["evaluate", str(run), "--split", "test"]) == 0
    result = json.loads((run / "evaluate_test.json").read_text())
    assert result["num_examples"] == 16
    assert set(result["values"]) == {"kind", "total", "(all)"}

    train = tmp_path / "train.csv"
    train.write_text(train.read_text() + "\n1,2,3,4,9,0\n")
    again = ["train", str(path), "--output", str(tmp_path / "again")]
    assert main(again) == 1
    shown = capsys.readouterr().err
    assert "(data.splits.train)" in shown
    assert "train.csv, row 41 (line 42): 'kind': Expected one of" in shown
    assert main([*again, "--set", "data.skip_bad_rows=true"]) == 0
    assert "left out 1 of 41 rows" in capsys.readouterr().out


@pytest.mark.parametrize("data", [{}, {"dataset": "tiny_points", "schema": "x.yaml"}])
def test_one_source_of_data(data, tmp_path, capsys):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(CONFIG | {"data": data}))
    assert main(["train", str(path)]) == 1
    assert "one of the keys `dataset` and `schema`" in capsys.readouterr().err
