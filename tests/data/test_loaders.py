"""One's own files: each format gives the same examples, in the file's order."""

import json
import pathlib
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from keras_mtl.data.loaders import load_split, read_schema

SCHEMA = """\
inputs:
  text: {kind: text, columns: Review Text}
  measures: {kind: number, columns: [age, price], default: 0}
  visits: {kind: integer, range: [0, 9]}
labels:
  rating: {kind: class, classes: [low, mid, high]}
  bought: {kind: class, classes: 2}
  helpful: {kind: number, range: [0, 100], missing: n/a}
"""
CSV = """\
Review Text,age,price,visits,rating,bought,helpful,unused
"nice, really",30,1.5,0,high,1,10,x
"two
lines",,2.5,9,low,0,n/a,x
,20,3,1,,,5,x
"""
ROWS = [
    {
        "Review Text": "nice, really",
        "age": 30,
        "price": 1.5,
        "visits": 0,
        "rating": "high",
        "bought": True,
        "helpful": 10,
    },
    {
        "Review Text": "two\nlines",
        "price": 2.5,
        "visits": 9,
        "rating": "low",
        "bought": 0,
        "helpful": "n/a",
    },
    {"Review Text": "", "age": 20, "price": 3, "visits": 1, "helpful": 5.0},
]
EXPECTED = {
    "text": [b"nice, really", b"two\nlines", b""],
    "measures": [[30, 1.5], [0, 2.5], [20, 3]],
    "visits": [0, 9, 1],
    "rating": [2, 0, -1],
    "bought": [1, 0, -1],
    "helpful": [10, np.nan, 5],
}
UNSEEN = "ignore:.*no row has 'rating' of the classes .'mid'"


def feature(value):
    if isinstance(value, str):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
    if isinstance(value, float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[int(value)]))


def write_records(path, rows):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in rows:
            features = {name: feature(value) for name, value in row.items()}
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())


@pytest.fixture
def schema(request, tmp_path, write):
    """The same three rows in a format."""
    if request.param == "tfrecord":
        write_records(tmp_path / "a.tfrecord", ROWS)
    text = CSV if request.param == "csv" else "\n".join(map(json.dumps, ROWS))
    files = {} if request.param == "tfrecord" else {f"a_{request.param}": text}
    head = f"format: {request.param}\nsplits: {{train: 'a.*'}}"
    return write(head, SCHEMA, **files)


@pytest.mark.filterwarnings(UNSEEN)
@pytest.mark.parametrize("schema", ["csv", "jsonl", "tfrecord"], indirect=True)
def test_formats_give_the_same_examples(schema):
    dataset = mtl.data.load(schema, "train")
    assert len(dataset) == 3
    for _ in range(2):
        x, y = dataset.batch(3).get_single_element()
        assert (set(x), set(y)) == (
            {"text", "measures", "visits"},
            {"rating", "bought", "helpful"},
        )
        for name, value in (x | y).items():
            np.testing.assert_array_equal(value, EXPECTED[name], err_msg=name)
    assert (x["visits"].dtype, x["measures"].dtype) == (tf.int64, tf.float32)
    assert (y["rating"].dtype, y["helpful"].dtype) == (tf.int64, tf.float32)


@pytest.mark.filterwarnings(UNSEEN)
@pytest.mark.parametrize("schema", ["jsonl", "tfrecord"], indirect=True)
def test_epoch_order_takes_them(schema):
    """In memory and streamed: every example once, in batches."""
    data = mtl.data.load(schema)
    for buffer_size in (None, 2):
        batches = mtl.data.EpochOrder(1).batches(data, 2, buffer_size=buffer_size)
        visits = [x["visits"].numpy() for x, _ in batches]
        assert [len(batch) for batch in visits] == [2, 1]
        assert sorted(np.concatenate(visits)) == [0, 1, 9]


def test_missing_labels_count_for_nothing(write):
    """The loss of a task is that of its labelled rows alone."""
    body = """\
inputs: {x: {kind: number, columns: [a, b]}}
labels:
  kind: {kind: class, classes: 2}
  size: {kind: number}
"""
    text = "a,b,kind,size\n1,2,0,\n3,4,,1\n5,6,1,2\n"
    head = "format: csv\nsplits: {train: a.csv}"
    data = mtl.data.load(write(head, body, a_csv=text)).batch(3)
    tasks = [
        mtl.Task("kind", mtl.heads.Classification(2), missing=-1),
        mtl.Task("size", mtl.heads.Regression()),
    ]
    model = mtl.build_model(mtl.backbones.MLP(input_shape=(2,), units=(3,)), tasks)
    model.compile("sgd")
    logs = model.evaluate(data, return_dict=True, verbose=0)
    x, _ = data.get_single_element()
    outputs = model.predict(x, verbose=0)
    log_probabilities = keras.ops.log_softmax(outputs["kind"]).numpy()
    by_hand = -(log_probabilities[0, 0] + log_probabilities[2, 1]) / 2
    np.testing.assert_allclose(logs["kind_loss"], by_hand, rtol=1e-5)
    sizes = outputs["size"].ravel()[1:]
    np.testing.assert_allclose(
        logs["size_loss"], np.mean((sizes - [1, 2]) ** 2), rtol=1e-5
    )


CONLL = """\
-DOCSTART- X O

Ann NNP B
sings VBZ O

He PRP O
said VBD O
so RB O
"""
SEQUENCES = """\
inputs: {words: {kind: tokens, columns: word, shape: [2]}}
labels:
  pos: {kind: tags, classes: [NNP, VBZ, PRP, VBD, RB], shape: [2]}
  entity: {kind: tags, classes: [O, B], shape: [4], missing: "?"}
"""


@pytest.mark.filterwarnings("ignore:.*no row has 'pos' of the classes .'RB'")
@pytest.mark.parametrize("form", ["conll", "jsonl"])
def test_sequences_are_cut_and_padded(write, form):
    head = f"format: {form}\nsplits: {{train: a.{form}}}"
    text = CONLL.replace("so RB O", "so RB ?")
    if form == "conll":
        head += "\ncolumns: [word, pos, entity]"
    else:
        sentences = [block.split("\n") for block in text.strip().split("\n\n")[1:]]
        columns = [zip(*map(str.split, lines), strict=True) for lines in sentences]
        names = ("word", "pos", "entity")
        text = "\n".join(
            json.dumps(dict(zip(names, map(list, parts), strict=True)))
            for parts in columns
        )
    data = mtl.data.load(write(head, SEQUENCES, **{f"a_{form}": text}))
    x, y = data.batch(2).get_single_element()
    assert x.numpy().tolist() == [[b"Ann", b"sings"], [b"He", b"said"]]
    assert y["pos"].numpy().tolist() == [[0, 1], [2, 3]]
    assert y["entity"].numpy().tolist() == [[1, 0, -1, -1], [0, 0, -1, -1]]


@pytest.mark.parametrize("form", ["images", "csv", "tfrecord"])
def test_images_by_folder_path_and_bytes(tmp_path, write, form):
    pixels = np.arange(12, dtype="uint8").reshape(2, 2, 3) * 20
    raw = tf.io.encode_png(pixels).numpy()
    for folder in ("cat", "dog"):
        (tmp_path / "pictures" / folder).mkdir(parents=True)
        (tmp_path / "pictures" / folder / "1.png").write_bytes(raw)
    places = {"images": "pictures", "csv": "list.csv", "tfrecord": "a.tfrecord"}
    columns = ("path", "folder") if form != "tfrecord" else ("raw", "kind")
    body = f"""\
inputs: {{image: {{kind: image, columns: {columns[0]}, shape: [2, 2, 3]}}}}
labels: {{kind: {{kind: class, columns: {columns[1]}, classes: [cat, dog]}}}}
"""
    head = f"format: {form}\nsplits: {{train: {places[form]}}}"
    text = "path,folder\npictures/cat/1.png,cat\npictures/dog/1.png,dog\n"
    path = write(head, body, list_csv=text)
    bytes_of = tf.train.Feature(bytes_list=tf.train.BytesList(value=[raw]))
    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord")) as writer:
        for kind in ("cat", "dog"):
            features = {"raw": bytes_of, "kind": feature(kind)}
            features = tf.train.Features(feature=features)
            writer.write(tf.train.Example(features=features).SerializeToString())
    x, y = mtl.data.load(path).batch(2).get_single_element()
    np.testing.assert_allclose(x, np.stack([pixels, pixels]) / 255.0, atol=1e-6)
    assert y["kind"].numpy().tolist() == [0, 1]


def test_many_files_keep_their_order_and_one_input_is_a_tensor(write):
    body = "inputs: {x: {kind: number}}\nlabels: {y: {kind: number}}\n"
    head = "format: csv\nsplits: {train: [c.csv, '[ab].csv']}\ndelimiter: ;"
    files = {f"{n}_csv": f"\ufeffx;y\n{i};0\n" for i, n in enumerate("abc")}
    data = mtl.data.load(write(head, body, **files))
    assert [float(x) for x, _ in data] == [2, 0, 1]


def test_what_is_never_seen_is_told(write):
    body = """\
inputs: {x: {kind: number}}
labels: {kind: {kind: class, classes: [a, b, c]}, size: {kind: number}}
"""
    head = "format: jsonl\nsplits: {train: a.jsonl}"
    path = write(head, body, a_jsonl='{"x": 1, "kind": "b"}\n')
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mtl.data.load(path)
    told = [str(warning.message) for warning in caught]
    assert any("no row has 'kind' of the classes ['a', 'c']" in text for text in told)
    assert any("no row has the label 'size'" in text for text in told)


def test_labels_of_a_split(write):
    head = "format: csv\nsplits: {train: a.csv}"
    split = load_split(read_schema(write(head, SCHEMA, a_csv=CSV)), "train")
    assert len(split) == 3
    for name, values in split.labels.items():
        np.testing.assert_array_equal(values, EXPECTED[name])


def test_the_schema_of_the_documentation_is_one(tmp_path):
    page = pathlib.Path(mtl.__file__).parents[1] / "docs" / "own-files.md"
    path = tmp_path / "reviews.yaml"
    path.write_text(page.read_text().split("```yaml\n")[1].split("```")[0])
    schema = read_schema(path)
    assert schema.inputs["measures"].shape == (2,)
    assert schema.labels["rating"].classes == ("bad", "fair", "good")
