"""Bad data: each kind is an error with file and row, or left out and counted."""

import json

import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from keras_mtl.cli.main import main
from keras_mtl.data.loaders import load_split, read_schema

BODY = """\
inputs:
  age: {kind: number}
  visits: {kind: integer}
labels:
  kind: {kind: class, classes: [a, b]}
  size: {kind: number, range: [0, 10]}
"""
GOOD = {"age": 1, "visits": 2, "kind": "a", "size": 3}
NAMES = ("age", "visits", "kind", "size")

# What the row has, and what the message says.
BAD_VALUES = [
    ({"age": "old"}, "'age': Expected a number. Received: 'old'"),
    ({"age": "1_0"}, "'age': Expected a number. Received: '1_0'"),
    ({"age": ""}, "'age': Expected a value. Received: none"),
    ({"age": "nan"}, "'age': Expected a finite number. Received: 'nan'"),
    ({"age": "1e39"}, "'age': Expected a finite number. Received: '1e39'"),
    ({"visits": "2.5"}, "'visits': Expected an integer. Received: '2.5'"),
    ({"visits": str(2**63)}, "'visits': Expected an integer"),
    ({"kind": "c"}, "'kind': Expected one of the classes ['a', 'b']. Received: 'c'"),
    ({"size": "11"}, "'size': Expected a number in [0, 10]. Received: 11.0"),
]
BAD_JSON = [
    ({"age": True}, "'age': Expected a number. Received: True"),
    ({"age": None}, "'age': Expected a value"),
    ({"age": [1, 2]}, "'age': Expected a number. Received: [1, 2]"),
    ({"visits": 2.0}, "'visits': Expected an integer. Received: 2.0"),
    ({"kind": 0}, "'kind': Expected one of the classes"),
]


def csv_of(rows):
    lines = [NAMES, *([row[name] for name in NAMES] for row in rows)]
    return "".join(",".join(map(str, line)) + "\n" for line in lines)


def check(write, head, text, *, body=BODY, match):
    """Row 2 of three is bad: an error that names it, or two rows are left."""
    name = f"a_{head.split()[1]}"
    path = write(head.replace("FILE", name.replace("_", ".")), body, **{name: text})
    with pytest.raises(ValueError) as error:
        mtl.data.load(path)
    for part in (str(path.with_name(name.replace("_", "."))), *match):
        assert part in str(error.value)
    folder = path.parent / "rejected"
    split = load_split(
        read_schema(path), "train", skip_bad_rows=True, rejected_dir=folder
    )
    assert (len(split), len(split.bad_rows)) == (2, 1)
    assert len(list(split.dataset)) == 2
    (line,) = (folder / f"{name.replace('_', '.')}.rejected.jsonl").open()
    rejected = json.loads(line)
    assert rejected["place"] == split.bad_rows[0].place
    assert rejected["reason"] in str(error.value)
    return rejected


@pytest.mark.parametrize(("change", "message"), BAD_VALUES)
def test_wrong_values_in_csv(write, change, message):
    text = csv_of([GOOD, GOOD | change, GOOD])
    match = ("row 2 (line 3)", message, "skip_bad_rows=True")
    rejected = check(write, "format: csv\nsplits: {train: FILE}", text, match=match)
    assert rejected["values"] == {k: str(v) for k, v in (GOOD | change).items()}


@pytest.mark.parametrize(("change", "message"), BAD_VALUES + BAD_JSON)
def test_wrong_values_in_jsonl(write, change, message):
    text = "\n".join(map(json.dumps, [GOOD, GOOD | change, GOOD]))
    head = "format: jsonl\nsplits: {train: FILE}"
    rejected = check(write, head, text, match=("line 2", message))
    assert rejected["values"] == GOOD | change


@pytest.mark.parametrize(
    ("form", "good", "bad", "match"),
    [
        ("csv", "1,2,a,3\n", "1,2,a\n", ("row 2 (line 3)", "Expected 4 fields")),
        ("csv", "1,2,a,3\n", "1,2,a,3,4\n", ("row 2", "Received: 5")),
        ("csv", "1,2,a,3\n", '1,"2"x,a,3\n', ("row 2", "no CSV")),
        ("csv", "1,2,a,3\n", b"1,2,\xff,3\n", ("row 2", "not UTF-8")),
        ("jsonl", json.dumps(GOOD) + "\n", '{"age": 1', ("line 2", "no JSON")),
        ("jsonl", json.dumps(GOOD) + "\n", "[1]", ("line 2", "a JSON object")),
        ("jsonl", json.dumps(GOOD) + "\n", "[" * 9999, ("line 2", "no JSON")),
        ("jsonl", json.dumps(GOOD) + "\n", "9" * 5000, ("line 2", "no JSON")),
        ("jsonl", json.dumps(GOOD) + "\n", b'{"a": "\xff"}', ("line 2", "UTF-8")),
    ],
)
def test_rows_that_cannot_be_read(write, form, good, bad, match):
    bad = bad if isinstance(bad, bytes) else bad.encode()
    header = "age,visits,kind,size\n" if form == "csv" else ""
    text = f"{header}{good}".encode() + bad.rstrip(b"\n") + b"\n" + good.encode()
    check(write, f"format: {form}\nsplits: {{train: FILE}}", text, match=match)


def test_a_quote_that_is_never_closed(write):
    text = 'age,visits,kind,size\n1,2,a,3\n1,2,b,3\n1,"2,a,3\n1,2,a,3\n'
    head = "format: csv\nsplits: {train: FILE}"
    match = ("row 3 (line 4)", "a quote is never closed")
    rejected = check(write, head, text, match=match)
    assert rejected["values"]["text"] == '1,"2,a,3\n1,2,a,3\n'


CONLL = "Ann N\nsings V\n\n{bad}\nsaid V\n\nHe N\n"
TAGS = """\
inputs: {words: {kind: tokens, columns: word, shape: [2]}}
labels: {pos: {kind: tags, classes: [N, V], shape: [2]}}
"""


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        ("He N B", ("lines 4 to 5", "line 4: Expected 2 fields")),
        ("He X", ("lines 4 to 5", "'pos': Expected one of the classes")),
    ],
)
def test_bad_sentences(write, bad, match):
    head = "format: conll\nsplits: {train: FILE}\ncolumns: [word, pos]"
    check(write, head, CONLL.format(bad=bad), body=TAGS, match=match)


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        (
            {"word": "a b", "pos": ["N"]},
            ("as many tags as tokens", "{'words': 2, 'pos': 1}"),
        ),
        ({"word": ["a", ""], "pos": "N V"}, ("'words': Expected tokens", "empty")),
        # Also behind the two that are used.
        ({"word": "a b c", "pos": "N V X"}, ("'pos': Expected one of", "'X'")),
    ],
)
def test_bad_tokens_and_tags(write, bad, match):
    rows = [{"word": "a b", "pos": "N V"}] * 3
    rows[1] = bad
    text = "\n".join(map(json.dumps, rows))
    head = "format: jsonl\nsplits: {train: FILE}"
    check(write, head, text, body=TAGS, match=("line 2", *match))


def records(rows):
    """Serialized examples of numbers and text."""
    for row in rows:
        features = {
            name: tf.train.Feature(
                bytes_list=tf.train.BytesList(value=[value.encode()])
            )
            if isinstance(value, str)
            else tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
            for name, value in row.items()
        }
        features = tf.train.Features(feature=features)
        yield tf.train.Example(features=features).SerializeToString()


def tfrecord(path, examples):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in examples:
            writer.write(example)
    return path.read_bytes()


TFRECORD = "format: tfrecord\nsplits: {train: FILE}"


@pytest.mark.parametrize("cut", ["torn", "flipped"])
def test_a_torn_tfrecord(write, tmp_path, cut):
    """The records before the tear are right; what follows is lost and counted."""
    raw = tfrecord(tmp_path / "whole", records([GOOD, GOOD, GOOD]))
    start = 2 * len(raw) // 3
    torn = raw[:-5] if cut == "torn" else raw[: start + 20] + b"?" + raw[start + 21 :]
    check(write, TFRECORD, torn, match=("record 3", "torn or damaged"))


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        (b"\xff\xff", ("record 2", "no tf.train.Example")),
        (next(records([GOOD | {"kind": "c"}])), ("record 2", "'kind': Expected one")),
        (next(records([{"age": 1}])), ("record 2", "'visits': Expected a value")),
        (
            next(records([GOOD | {"age": "x"}])),
            ("record 2", "'age': Expected a number"),
        ),
    ],
    ids=["no_example", "no_class", "no_value", "no_number"],
)
def test_bad_records(write, tmp_path, bad, match):
    good = next(records([GOOD]))
    raw = tfrecord(tmp_path / "whole", [good, bad, good])
    check(write, TFRECORD, raw, match=match)


def test_a_damaged_image(write, tmp_path):
    raw = tf.io.encode_png(np.zeros((2, 2, 3), "uint8")).numpy()
    for name, content in (("a/1", raw), ("b/1", b"no image"), ("b/2", raw)):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / f"{name}.png").write_bytes(content)
    body = """\
inputs: {image: {kind: image, columns: path, shape: [2, 2, 3]}}
labels: {kind: {kind: class, columns: folder, classes: [a, b]}}
"""
    path = write("format: images\nsplits: {train: images}", body)
    match = r"images, image b/1\.png: 'image': Expected a BMP, GIF, JPEG or PNG"
    with pytest.raises(ValueError, match=match):
        mtl.data.load(path)
    split = load_split(read_schema(path), "train", skip_bad_rows=True)
    assert (len(split), len(split.bad_rows)) == (2, 1)
    assert split.labels["kind"].tolist() == [0, 1]


CSV = "format: csv\nsplits: {train: a.csv}"


@pytest.mark.parametrize(
    ("head", "text", "error", "match"),
    [
        (CSV, "age,visits,kind\n1,2,a\n", ValueError, r"a\.csv.*lack \['size'\]"),
        (CSV, "age,visits,kind,size,age\n", ValueError, r"\['age'\] occur more"),
        (CSV, "age,visits,kind,size\n", ValueError, "at least one good row"),
        (CSV, "", ValueError, "at least one good row.*0 bad rows"),
        (CSV.replace("csv", "jsonl", 1), "", ValueError, "at least one good row"),
        (CSV.replace("csv", "tfrecord", 1), "", ValueError, "at least one good row"),
        (CSV.replace("csv", "images", 1), "", ValueError, "Expected a folder"),
        (CSV.replace("a.csv", "b-*.csv"), "", FileNotFoundError, r"b-\*\.csv"),
    ],
)
def test_files_without_data(write, head, text, error, match):
    with pytest.raises(error, match=match):
        mtl.data.load(write(head, BODY, a_csv=text), skip_bad_rows=True)


def test_only_bad_rows(write):
    path = write(CSV, BODY, a_csv=csv_of([GOOD | {"kind": "c"}]))
    with pytest.raises(ValueError, match="1 bad rows and no other"):
        mtl.data.load(path, skip_bad_rows=True)


def test_a_split_that_is_not_there(write):
    path = write(CSV, BODY, a_csv=csv_of([GOOD]))
    with pytest.raises(ValueError, match=r"one of \['train'\].*split='test'"):
        mtl.data.load(path, "test")


def test_rows_left_out_are_told(write):
    path = write(CSV, BODY, a_csv=csv_of([GOOD, GOOD | {"kind": "c"}]))
    with (
        pytest.warns(UserWarning, match=r"left out 1 of 2 rows.*row 2 \(line 3\)"),
        pytest.warns(UserWarning, match=r"the classes \['b'\]"),
    ):
        mtl.data.load(path, skip_bad_rows=True)


def test_data_check(write, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [GOOD, GOOD | {"kind": ""}, GOOD | {"size": 11}]
    head = CSV.replace("a.csv", "a.csv, test: b.csv")
    write(head, BODY, a_csv=csv_of(rows), b_csv=csv_of(rows[:1]))
    assert main(["data", "check", "schema.yaml"]) == 1
    assert "a.csv, row 3 (line 4): 'size'" in capsys.readouterr().err
    assert main(["data", "check", "schema.yaml", "--skip-bad-rows"]) == 0
    shown = capsys.readouterr().out
    table = [line.split() for line in shown.splitlines()[2:6]]
    assert table == [
        ["train", "kind", "1", "50.0%", "2", "1"],
        ["train", "size", "2", "0.0%", "2", "1"],
        ["test", "kind", "1", "0.0%", "1", "0"],
        ["test", "size", "1", "0.0%", "1", "0"],
    ]
    assert "left out 1 of 3 rows" in shown
    assert "no row has 'kind' of the classes ['b']" in shown
    assert (tmp_path / "rejected" / "a.csv.rejected.jsonl").exists()


@pytest.mark.parametrize(
    ("line", "wrong", "message"),
    [
        ("format: csv", "format: xml", "line 1 (format): Expected `format` to be one"),
        ("format: csv", "form: csv", "Unknown key"),
        ("splits: {train: a.csv}", "splits: {}", "at least one split"),
        ("splits: {train: a.csv}", "splits: {train: 3}", "a path, a glob"),
        ("kind: integer", "kind: int", "line 5 (inputs.visits.kind): Expected"),
        ("kind: integer", "kind: integer, shape: [2]", "(inputs.visits.shape)"),
        ("kind: integer", "kind: integer, columns: [a, b]", "names of numbers"),
        ("kind: integer", "kind: tokens", "such as [length]"),
        ("kind: integer", "kind: image, shape: [2]", "[height, width, channels]"),
        ("[a, b]", "[a, a]", "line 7 (labels.kind.classes): Expected"),
        ("[a, b]", "[no, yes]", "in quotes, if need be"),
        ("[a, b]", "1", "(labels.kind.classes): Expected `classes`"),
        (", classes: [a, b]", "", "(labels.kind.classes): Expected `classes`"),
        ("range: [0, 10]", "range: [10, 0]", "in order"),
        ("range: [0, 10]", "range: 10", "[lowest, highest]"),
        ("range: [0, 10]", "classes: 3", "a number to have no `classes`"),
        ("  size:", "  age:", "(labels.age): Expected inputs and labels"),
        ("format: csv", "format: conll", "the names of CoNLL's columns"),
        ("format: csv", "format: csv\ncolumns: [age]", "lack ['visits', 'kind'"),
        ("format: csv", "format: csv\ndelimiter: ab", "one character"),
    ],
)
def test_schemas_that_are_wrong(write, line, wrong, message):
    head, body = CSV.replace(line, wrong), BODY.replace(line, wrong)
    assert (head, body) != (CSV, BODY)
    path = write(head, body)
    with pytest.raises(ValueError) as error:
        read_schema(path)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)
