"""Backbone for tables of numeric and categorical columns."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_mtl.backbones.backbone import Backbone, dense_stack, registry
from keras_mtl.utils.checks import check_count


@registry.register("tabular")
class Tabular(Backbone):
    """Normalised numbers and embedded categories, then dense layers.

    Takes a dict with one input of shape `(batch, 1)` (or `(batch,)`) per column
    and gives the feature `"pooled"`. Strings are looked up inside the model, so an
    export takes them as they are; categories that the vocabulary lacks share one
    embedding.

    Args:
        numeric: Dict from column name to its `[mean, variance]`.
        categorical: Dict from column name to its vocabulary, a list of strings or
            of integers.
        embedding_dim: Width of the embedding of each categorical column.
        units: Widths of the dense layers; `()` for none, where a mixture of experts
            reads the columns itself.
        dropout: Dropout rate after each dense layer.

    Raises:
        ValueError: If there is no column, or one is named in both dicts.

    Example:
    >>> table = {"age": np.array([20.0, 40.0]), "job": np.array(["cook", "nurse"])}
    >>> backbone = Tabular.for_table(table, units=(4,))
    >>> backbone({k: v[:, None] for k, v in table.items()})["pooled"].shape
    TensorShape([2, 4])
    """

    def __init__(
        self,
        *,
        numeric: Mapping[str, Any] | None = None,
        categorical: Mapping[str, list] | None = None,
        embedding_dim: int = 8,
        units: tuple[int, ...] = (128, 64),
        dropout: float = 0.0,
        name: str = "tabular",
        **kwargs,
    ):
        numeric, categorical = dict(numeric or {}), dict(categorical or {})
        both = sorted(set(numeric) & set(categorical))
        if both or not (numeric or categorical):
            raise ValueError(
                "Expected every column in one of `numeric` and `categorical`, and at "
                f"least one column. Received: numeric={sorted(numeric)}, "
                f"categorical={sorted(categorical)}"
            )

        check_count("embedding_dim", embedding_dim)

        # === Functional model ===
        inputs, columns = {}, []
        for column, (mean, variance) in numeric.items():
            inputs[column] = keras.Input((1,), name=column)
            scale = layers.Normalization(
                mean=mean, variance=variance, name=f"{column}_scale"
            )
            columns.append(scale(inputs[column]))
        for column, vocabulary in categorical.items():
            inputs[column], embedded = self._embed(column, vocabulary, embedding_dim)
            columns.append(embedded)
        x = columns[0]
        if len(columns) > 1:
            x = layers.Concatenate(name="columns")(columns)
        x = dense_stack(x, units, "relu", dropout)
        super().__init__(inputs, {"pooled": x}, name=name, **kwargs)

        # === Config ===
        self.stages = tuple(f"dense_{index}" for index in range(len(units)))
        self._arguments = {
            "numeric": {k: [float(v) for v in pair] for k, pair in numeric.items()},
            "categorical": {k: list(v) for k, v in categorical.items()},
            "embedding_dim": embedding_dim,
            "units": list(units),
            "dropout": dropout,
        }

    @staticmethod
    def _embed(column, vocabulary, embedding_dim):
        vocabulary = list(vocabulary)
        if all(isinstance(entry, str) for entry in vocabulary):
            inputs = keras.Input((1,), name=column, dtype="string")
            lookup = layers.StringLookup(vocabulary=vocabulary, name=f"{column}_lookup")
        else:
            inputs = keras.Input((1,), name=column, dtype="int64")
            lookup = layers.IntegerLookup(
                vocabulary=vocabulary, name=f"{column}_lookup"
            )
        x = layers.Embedding(
            len(vocabulary) + 1, embedding_dim, name=f"{column}_embedding"
        )(lookup(inputs))
        return inputs, layers.Flatten(name=f"{column}_flat")(x)

    @classmethod
    def for_table(cls, table: Mapping[str, np.ndarray], **kwargs) -> "Tabular":
        """A backbone whose statistics and vocabularies are read from a table.

        Args:
            table: Dict or data frame of columns, each of shape `(rows,)`. Floats
                become numeric columns (missing values left out of the mean),
                strings and integers categorical ones.
            **kwargs: Other arguments of `Tabular`.
        """
        numeric, categorical = {}, {}
        for column in table:
            values = np.asarray(table[column])
            if np.issubdtype(values.dtype, np.floating):
                numeric[column] = [float(np.nanmean(values)), float(np.nanvar(values))]
            elif np.issubdtype(values.dtype, np.integer):
                categorical[column] = np.unique(values).tolist()
            else:
                categorical[column] = sorted({str(value) for value in values})
        return cls(numeric=numeric, categorical=categorical, **kwargs)

    def get_config(self):
        return {**super().get_config(), **self._arguments}
