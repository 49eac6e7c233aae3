"""Arrays survive the C API, and signatures are read as TensorFlow reads them."""

import resource

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from keras_mtl.export import c_loader
from keras_mtl.export.c_loader import SavedModel
from keras_mtl.export.c_tensor import dtype_name
from keras_mtl.export.signatures import read_signatures

NUMBERS = ["float32", "float64", "float16", "bool"]
NUMBERS += [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
STRINGS = [b"", b"a", b"x" * 22, b"x" * 23, b"y" * 1000, b"\x00\xff", "ß".encode()]


@pytest.fixture(scope="module")
def echo(tmp_path_factory):
    """A SavedModel with one signature per dtype, which returns its input."""

    def make(dtype):
        spec = tf.TensorSpec(None, dtype, name="value")
        return tf.function(lambda value: {"out": tf.identity(value)}, [spec])

    module = tf.Module()
    path = str(tmp_path_factory.mktemp("echo"))
    signatures = {name: make(name) for name in [*NUMBERS, "string", "bfloat16"]}
    tf.saved_model.save(module, path, signatures)
    with SavedModel(path) as model:
        yield model


@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 0, 3), (2, 3)])
@pytest.mark.parametrize("dtype", NUMBERS)
def test_numbers(echo, dtype, shape):
    values = (np.random.default_rng(0).normal(size=shape) * 100).astype(dtype)
    out = echo.run(dtype, {"value": values})["out"]
    assert out.dtype == values.dtype
    np.testing.assert_array_equal(out, values)


@pytest.mark.parametrize("shape", [(7,), (7, 1), (0,), ()])
def test_strings(echo, shape):
    values = np.array(STRINGS[: max(1, np.prod(shape, dtype=int))], dtype="S")
    values = values.reshape(shape) if values.size == np.prod(shape) else values[:0]
    out = echo.run("string", {"value": values})["out"]
    assert out.tolist() == values.tolist()
    assert out.shape == values.shape


def test_text_is_sent_as_utf8(echo):
    for values in (np.array(["ß", "a"]), np.array(["ß", b"a"], dtype=object)):
        out = echo.run("string", {"value": values})["out"]
        assert out.tolist() == ["ß".encode(), b"a"]


def test_casts_lose_precision_only(echo):
    assert echo.run("float32", {"value": np.ones(2)})["out"].dtype == "float32"
    assert echo.run("int32", {"value": np.ones(2, "int64")})["out"].dtype == "int32"
    assert echo.run("float32", {"value": [1, 2]})["out"].tolist() == [1.0, 2.0]
    for dtype, value in [
        ("int32", 1.5),
        ("float32", "text"),
        ("string", 1.0),
        ("bfloat16", 1.0),
    ]:
        with pytest.raises(ValueError, match="the input 'value' to be of dtype"):
            echo.run(dtype, {"value": value})


def test_no_memory_is_lost(echo):
    """100 runs on 2 MB of strings, after the highest point was reached before."""

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    values = np.array([b"z" * 100_000] * 20)
    echo.run("string", {"value": values})
    before = peak()
    for _ in range(100):
        echo.run("string", {"value": values})
    assert peak() - before < 50_000_000


def test_signatures_as_protobuf_reads_them(exported):
    def described(info):
        return info.name, info.dtype, tuple(d.size for d in info.tensor_shape.dim)

    with open(f"{exported}/saved_model.pb", "rb") as file:
        meta_graph = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs[0]
    expected = {
        name: tuple(
            {key: described(info) for key, info in part.items()}
            for part in (signature.inputs, signature.outputs)
        )
        for name, signature in meta_graph.signature_def.items()
        if not name.startswith("__")
    }
    found = {
        name: tuple(
            {key: (i.tensor, i.dtype, i.shape) for key, i in part.items()}
            for part in (signature.inputs, signature.outputs)
        )
        for name, signature in read_signatures(meta_graph.SerializeToString()).items()
    }
    assert found == expected
    assert len(found) == 4


def test_other_wire_types_are_skipped():
    graph = meta_graph_pb2.MetaGraphDef()
    info = graph.signature_def["a"].inputs["x"]
    info.name, info.dtype = "x:0", 1
    info.tensor_shape.unknown_rank = True
    content = graph.SerializeToString() + b"\x51" + b"8bytes.." + b"\x55" + b"4byt"
    signature = read_signatures(content)["a"]
    assert signature.inputs["x"].shape is None
    assert signature.outputs == {}


@pytest.mark.parametrize("content", [b"\x0b", b"\x2a\x05abc", b"\x80", b"\x55ab"])
def test_no_protocol_buffer(content):
    with pytest.raises(ValueError, match="Expected a protocol buffer"):
        read_signatures(content)


def test_sparse_tensors_are_refused():
    graph = meta_graph_pb2.MetaGraphDef()
    graph.signature_def["a"].inputs["x"].coo_sparse.values_tensor_name = "v:0"
    with pytest.raises(ValueError, match="dense"):
        read_signatures(graph.SerializeToString())


def test_names_of_dtypes():
    assert [dtype_name(n) for n in (1, 7, 9, 14)] == [
        *("float32", "string", "int64", "TF_DataType 14")
    ]


def test_tensorflow_is_not_installed(monkeypatch):
    monkeypatch.setattr(c_loader.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OSError, match="installed TensorFlow"):
        c_loader.load_library()
