"""Tables of any package: columns in the file's order, missing values, clear errors."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from keras_mtl.data import fetcher, tables


@pytest.fixture
def file(monkeypatch):
    """Lets the fetcher give the content that a test sets."""
    content = {}
    monkeypatch.setattr(
        fetcher, "open_file", lambda package, suffix: io.BytesIO(content[suffix])
    )
    return content


@pytest.mark.parametrize("compression", ["brotli", "snappy", "none"])
def test_parquet_columns(file, compression):
    written = {"a": [3, 1, 2], "b": ["x", None, "z"], "c": [1, None, 3], "d": [0.5] * 3}
    sink = io.BytesIO()
    pa.parquet.write_table(pa.table(written), sink, compression=compression)
    file["t.parquet"] = sink.getvalue()
    table = tables.read_parquet("any", "t.parquet", ["b", "a", "c"])
    assert list(table) == ["b", "a", "c"]
    assert table["a"].dtype == np.int64 and table["a"].tolist() == [3, 1, 2]
    assert table["b"].tolist() == ["x", None, "z"]
    np.testing.assert_array_equal(table["c"], [1.0, np.nan, 3.0])


def test_parquet_errors_name_file_and_columns(file):
    sink = io.BytesIO()
    pa.parquet.write_table(pa.table({"a": [1]}), sink)
    file["t.parquet"] = sink.getvalue()
    with pytest.raises(ValueError, match=r"t\.parquet.*'a'.*lack \['b'\]"):
        tables.read_parquet("any", "t.parquet", ["a", "b"])
    file["t.parquet"] = sink.getvalue()[:-9]
    with pytest.raises(ValueError, match=r"Expected t\.parquet to be a Parquet file"):
        tables.read_parquet("any", "t.parquet", ["a"])


def test_csv_without_header_keeps_marks_of_missing_values(file):
    file["t.csv"] = b" 1, NA, 0.5\n2, a b ,1\n3,,2\n"
    table = tables.read_csv("any", "t.csv", ["i", "s", "x"])
    assert table["i"].dtype == np.int64 and table["i"].tolist() == [1, 2, 3]
    assert table["s"].tolist() == ["NA", "a b", ""]
    assert table["x"].dtype == np.float64 and table["x"].tolist() == [0.5, 1.0, 2.0]


def test_csv_error_names_the_row(file):
    file["t.csv"] = b"1,2\n1,2\n1,2,3\n"
    with pytest.raises(ValueError, match=r"Expected 2 columns.*t\.csv(.|\n)*#3"):
        tables.read_csv("any", "t.csv", ["a", "b"])
