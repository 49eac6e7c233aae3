"""The dataset `census_income`: who earns over 50,000 dollars, and who never married."""

from keras_mtl.data.datasets.census_income.builder import CensusIncome
from keras_mtl.data.datasets.census_income.columns import (
    CATEGORICAL,
    INPUTS,
    LEAKS,
    MONEY,
    NUMERIC,
)

__all__ = ["CATEGORICAL", "INPUTS", "LEAKS", "MONEY", "NUMERIC", "CensusIncome"]
